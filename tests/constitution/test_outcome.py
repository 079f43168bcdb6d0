import pytest

from rlhf_ext.constitution import Revision, Revisions, RevisionStep, split_prompts, to_preferences, to_sft
from rlhf_ext.data.preferences import prepare_preferences


def step(revision="Better.", rejected=None, verdict="revise", p=None):
    return RevisionStep(1, "tone", "style", "c", verdict, revision, None, p, rejected)


def row(*steps, prompt="Q", first="First.", stopped="rounds", p=None):
    return Revision(prompt, first, steps, stopped, p)


def of(*rows, judge=None):
    return Revisions(rows, "constitution:x@1#0", "m", judge)


KEPT = step(None, verdict="keep")


def test_an_sft_set_holds_last_revisions():
    data, left_out = to_sft(of(row(step("Better."), step("Best."))))
    assert data.to_list() == [
        {
            "prompt": "Q",
            "completion": "Best.",
            "principles": ["tone", "tone"],
            "source": "constitution:x@1#0",
            "model": "m",
        }
    ]
    assert len(left_out) == 0 and left_out.column_names == ["prompt", "first", "last", "reason"]


def test_a_preference_set_prefers_the_revision():
    data, left_out = to_preferences(of(row(step(p=0.8), p=0.8), judge="j"))
    assert data.to_list() == [
        {
            "prompt": "Q",
            "chosen": "Better.",
            "rejected": "First.",
            "principles": ["tone"],
            "source": "constitution:x@1#0",
            "model": "m",
            "preference_strength": 0.8,
            "annotator": "j",
        }
    ]
    assert len(left_out) == 0
    prepare_preferences(data)


def test_without_a_judge_there_is_no_strength():
    data, _ = to_preferences(of(row(step())))
    assert "preference_strength" not in data.column_names and "annotator" not in data.column_names


REASONS = [
    (row(KEPT, stopped="no_objection"), "no_objection"),
    (row(KEPT, stopped="rounds"), "no_objection"),
    (row(step("", "empty"), stopped="empty"), "empty"),
    (row(KEPT, step("x", "drifted"), stopped="drifted"), "drifted"),
    (row(step(p=0.9), step("B.", p=0.9), p=0.5), "not_improved"),
    (row(step(p=0.9), step("B.", p=0.9), p=0.2), "not_improved"),
    (row(step(p=0.9), step("B.", p=0.9), p=None), "judge_abstained"),
]


@pytest.mark.parametrize(("bad", "reason"), REASONS)
@pytest.mark.parametrize("build", [to_sft, to_preferences])
def test_the_rest_is_left_out_with_its_reason(build, bad, reason):
    good = row(step(p=0.51), prompt="G", p=0.51)
    data, left_out = build(of(bad, good, judge="j"))
    assert data["prompt"][:] == ["G"]
    assert left_out.to_list() == [{"prompt": "Q", "first": "First.", "last": bad.last, "reason": reason}]


def test_an_empty_first_answer_can_be_learnt_from_but_not_compared():
    revisions = of(row(step(), first=" "))
    assert len(to_sft(revisions)[0]) == 1
    data, left_out = to_preferences(revisions)
    assert len(data) == 0 and data.column_names[:3] == ["prompt", "chosen", "rejected"]
    assert left_out["reason"][:] == ["first_is_empty"]


def test_answers_without_objection_are_taught_where_asked_for():
    rows = (row(KEPT, stopped="no_objection"), row(KEPT, step("x", "drifted"), stopped="drifted"), row(KEPT, first=""))
    data, left_out = to_sft(of(*rows), include_unobjected=True)
    assert data["completion"][:] == ["First."] and data["principles"][:] == [[]]
    assert left_out["reason"][:] == ["drifted", "no_objection"]
    assert len(to_sft(of(*rows))[0]) == 0


def test_messages_stay_messages():
    prompt = [{"role": "user", "content": "Q"}]
    data, _ = to_preferences(of(row(step(), prompt=prompt)))
    assert data[0]["chosen"] == [{"role": "assistant", "content": "Better."}]
    assert data[0]["rejected"] == [{"role": "assistant", "content": "First."}]
    assert to_sft(of(row(step(), prompt=prompt)))[0][0]["completion"] == [{"role": "assistant", "content": "Better."}]


def test_halves_share_no_prompt_and_keep_the_order():
    rows = [row(step(), prompt=f"Q{n // 2}", first=str(n)) for n in range(40)]  # each prompt twice
    first, second = split_prompts(of(*rows), seed=1)
    prompts = [{r.prompt for r in part} for part in (first, second)]
    assert not prompts[0] & prompts[1] and len(prompts[0]) == len(prompts[1]) == 10
    assert [int(r.first) for r in first] == sorted(int(r.first) for r in first) and len(first) == 20
    assert split_prompts(of(*rows), seed=1)[0] == first
    assert split_prompts(of(*rows), seed=2)[0] != first
    assert [len(part) for part in split_prompts(of(*rows), share=0.25)] == [10, 30]
    assert first.source == "constitution:x@1#0"
    with pytest.raises(ValueError, match=r"`share` should be in \[0, 1\], got 2"):
        split_prompts(of(*rows), share=2)
