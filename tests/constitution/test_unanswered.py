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
