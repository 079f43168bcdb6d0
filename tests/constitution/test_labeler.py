"""Labels by a constitution: a principle a prompt, both orders, and no more certainty than the paper allows."""

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.constitution import Constitution, ConstitutionalLabeler, Principle

ROWS = [{"prompt": f"Q{n}?", "responses": [f"good {n}", f"bad {n}"]} for n in range(30)]
TWO = Constitution(
    [Principle("kind", "Is it unkind?", "r", weight=3), Principle("true", "Is it untrue?", "r", weight=1)]
)


def judge(p=0.99):
    def probs(prompt, choices):
        is_good = "good" in prompt[0]["content"].split("Answer 1: ")[1].split("\n")[0]
        return [p, 1 - p] if is_good else [1 - p, p]

    return ScriptedGenerator([], choice_probs=probs)


def shown(generator):
    return ["kind" if "unkind" in prompt[0]["content"] else "true" for prompt, _ in generator.calls]


def test_probabilities_are_clamped_as_in_the_paper():
    result = ConstitutionalLabeler(judge(), TWO).label(ROWS[:2])
    assert [row["preference_strength"] for row in result.preferences] == [pytest.approx(0.6)] * 2
    assert result.preferences[0]["chosen"] == "good 0"
    loose = ConstitutionalLabeler(judge(0.55), TWO, clamp=0.9).label(ROWS[:1])
    assert loose.preferences[0]["preference_strength"] == pytest.approx(0.55)


def test_a_principle_is_drawn_for_each_prompt_and_kept_for_both_orders():
    generator = judge()
    ConstitutionalLabeler(generator, TWO, seed=1).label(ROWS)
    names = shown(generator)
    assert names[::2] == names[1::2]
    assert 15 <= names[::2].count("kind") <= 29, "by weight, three to one"
    again = judge()
    ConstitutionalLabeler(again, TWO, seed=1).label(ROWS)
    assert shown(again) == names


def test_or_the_judge_sees_all_of_them():
    generator = judge()
    labeler = ConstitutionalLabeler(generator, TWO, one_principle=False)
    labeler.label(ROWS[:1])
    assert all("unkind" in p[0]["content"] and "untrue" in p[0]["content"] for p, _ in generator.calls)


@pytest.mark.parametrize("clamp", [0.5, 1.1, 0.55])
def test_a_clamp_that_leaves_no_label_is_refused(clamp):
    with pytest.raises(ValueError, match=r"`clamp` should be in \(0.5, 1\] and at least `min_confidence`"):
        ConstitutionalLabeler(judge(), TWO, clamp=clamp, min_confidence=0.58)
