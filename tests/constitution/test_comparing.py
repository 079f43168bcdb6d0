import pytest

from rlhf_ext.constitution import Constitution, Principle, clamp_probability, pair_question

from .helpers import named


def test_one_principle_is_asked_about():
    constitution = Constitution.default()
    principle = constitution.drawn("row", 0)
    question = pair_question(constitution, principle)
    assert " ".join(principle.rule.split()) in question
    assert sum(" ".join(p.rule.split()) in question for p in constitution) == 1
    assert question == pair_question(constitution, principle.name)
    filled = question.format(prompt="[P]", first="[A]", second="[B]")
    assert filled.index("[P]") < filled.index("[A]") < filled.index("[B]") < filled.index("Which of the two")
    assert "{" not in filled


def test_or_all_of_them_the_weightiest_first():
    light, heavy = Principle("l", "Light {a}?", "r", weight=1), Principle("h", "Heavy\nthings?", "r", weight=2)
    question = pair_question(Constitution([light, heavy])).format(prompt="P", first="A", second="B")
    assert "- Heavy things?\n- Light {a}?\n" in question


def test_a_principle_of_another_constitution_is_refused():
    with pytest.raises(ValueError, match="constitution has no principle 'taste'"):
        pair_question(named("tone"), "taste")


@pytest.mark.parametrize(
    ("p", "highest", "clamped"),
    [
        (0.0, 0.6, 0.4),
        (1.0, 0.6, 0.6),
        (0.5, 0.6, 0.5),
        (0.45, 0.6, 0.45),
        (0.99, 1, 0.99),
        (0.9, 0.5, 0.5),
        (None, 0.6, None),
    ],
)
def test_probabilities_are_clamped(p, highest, clamped):
    assert clamp_probability(p, highest) == clamped


def test_what_is_no_probability_is_refused():
    for p, highest in ((1.1, 0.6), (-0.1, 0.6), (float("nan"), 0.6), (0.5, 0.4), (None, 1.1)):
        with pytest.raises(ValueError, match=r"should be in \[0.5, 1\]|lies in \[0, 1\]"):
            clamp_probability(p, highest)
