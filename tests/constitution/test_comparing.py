import pytest

from rlhf_ext.constitution import Constitution, Principle, pair_question

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
