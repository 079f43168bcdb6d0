"""A prompt that gets no answer ends there; the others go on."""

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.constitution import Constitution, Principle, critique_and_revise, to_sft
from rlhf_ext.generation import Unanswered

KIND = Constitution([Principle("kind", "Say where it is unkind.", "Make it kind.")])


def model(fails):
    """Answers, objects, revises; `fails(stage, text)` says what it gives no answer to."""

    def respond(prompt, sampling):
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        stage = "critique" if "Verdict" in text else "revision" if "Make it kind" in text else "answer"
        if fails(stage, str(prompt)):
            raise Unanswered("refused by the provider")
        return {"answer": "Look it up.", "critique": "Curt. Verdict: REVISE", "revision": "Gladly, here it is."}[stage]

    return ScriptedGenerator(respond)


@pytest.mark.parametrize("stage", ["answer", "critique", "revision"])
def test_one_failure_leaves_its_prompt_out_alone(stage, tmp_path):
    def fails(at, text):
        return at == stage and "Q1?" in text

    def run(generator):
        return critique_and_revise(
            generator, ["Q0?", "Q1?", "Q2?"], KIND, rounds=1, store=tmp_path / "s", progress=False
        )

    revisions = run(model(fails))
    assert [row.stopped for row in revisions] == ["rounds", "unanswered", "rounds"]
    assert [row.last for row in revisions][::2] == ["Gladly, here it is."] * 2
    data, left_out = to_sft(revisions)
    assert len(data) == 2 and left_out["reason"] == ["unanswered"]
    again = ScriptedGenerator([])
    assert [row.to_dict() if hasattr(row, "to_dict") else row for row in run(again)] == [
        row.to_dict() if hasattr(row, "to_dict") else row for row in revisions
    ]
    assert not again.calls


def test_where_nothing_is_answered_it_is_not_the_prompts(tmp_path):
    with pytest.raises(Unanswered, match="refused by the provider"):
        critique_and_revise(
            model(lambda *_: True), ["Q0?", "Q1?"], KIND, rounds=1, store=tmp_path / "s", progress=False
        )
    revisions = critique_and_revise(
        model(lambda *_: False), ["Q0?", "Q1?"], KIND, rounds=1, store=tmp_path / "s", progress=False
    )
    assert [row.stopped for row in revisions] == ["rounds", "rounds"], "nothing of the failure was kept"


@pytest.mark.parametrize("stage", ["answer", "critique", "revision"])
def test_what_got_no_answer_is_asked_again_if_that_is_asked_for(stage, tmp_path):
    prompts = ["Q0?", "Q1?", "Q2?"]

    def run(fails, **options):
        generator = model(fails)
        options |= {"rounds": 1, "store": tmp_path / "s", "progress": False}
        return critique_and_revise(generator, prompts, KIND, **options), generator.calls

    def fails(at, text):
        return at == stage and ("Q1?" in text or "Q2?" in text)

    run(fails)
    again, calls = run(fails, retry_failed=True)
    assert [row.stopped for row in again] == ["rounds", "unanswered", "unanswered"], "it fails again: no error of all"
    assert len(calls) == 2, "of the prompt that was answered nothing is asked"
    mended, calls = run(lambda at, text: at == stage and "Q2?" in text, retry_failed=True)
    assert [row.stopped for row in mended] == ["rounds", "rounds", "unanswered"]
    assert mended[1].last == "Gladly, here it is."
    kept, calls = run(lambda *_: True)
    assert kept == mended and not calls, "what came is kept"


def test_the_last_prompt_on_its_way_ends_alone():
    def fails(at, text):
        return at == "critique" and "Gladly" in text

    revisions = critique_and_revise(model(fails), ["Q0?"], KIND, rounds=2, progress=False, min_relevance=None)
    assert (revisions[0].stopped, revisions[0].last) == ("unanswered", "Gladly, here it is.")
