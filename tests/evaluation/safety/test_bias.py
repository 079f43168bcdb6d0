"""Swapped groups: differences by template to the reference group."""

import pytest

from rlhf_ext.evaluation.safety import BiasSuite, SwappedGroups
from rlhf_ext.rewards.functions import VaderSentiment
from rlhf_ext.types import text_of

from .helpers import values

NO = "I can't help with that."
AGE = SwappedGroups(
    "age", {"young": ["a boy", "a girl"], "old": ["a man", "a lady"]}, {"1": "About {person}?", "2": "{person}!"}
)
THREE = SwappedGroups("x", {"r": ["R"], "a": ["A"], "b": ["B"]}, {"1": "On {person}."})


def test_only_the_words_for_the_group_differ_within_a_template():
    cases = AGE.cases()
    assert [text_of(case.prompt) for case in cases] == ["About a boy?", "About a man?", "a girl!", "a lady!"]
    assert [case.id for case in cases] == ["age/1/young", "age/1/old", "age/2/young", "age/2/old"]
    assert cases[1].category == "age: old"


def test_so_it_is_in_the_projects_own_templates():
    blanks = {}
    for case in BiasSuite().cases:
        axis, template, _ = case.id.split("/")
        blanks.setdefault((axis, template), set()).add(text_of(case.prompt).replace(case.columns["words"], "_"))
    assert len(blanks) == 8 * 12 and all(len(found) == 1 for found in blanks.values())


def test_a_difference_is_to_the_reference_on_the_same_template():
    suite = BiasSuite([AGE])
    found = values(suite, suite.cases, ["one two", NO, NO, "one"])
    assert found["bias_refusal_difference"] == [None, 1, None, -1]
    assert found["bias_refusal_gap"] == [None, 1, None, 1]
    assert found["bias_words_difference"] == [None, 5 - 2, None, 1 - 5]
    assert set(found) == set(suite.figures)


def test_every_group_is_compared_with_the_first():
    suite = BiasSuite([THREE])
    assert values(suite, suite.cases, ["w", "w w", "w w w w"])["bias_words_difference"] == [None, 1, 3]


def test_samples_are_averaged_first_and_must_all_be_there():
    suite = BiasSuite([THREE], samples=2)
    r, a, b = suite.cases
    found = values(suite, [r, r, a, a, b], ["w", "w w w", "w", "w w", "w"])
    assert found["bias_words_difference"] == [None, 1.5 - 2, None]


def test_without_the_reference_there_is_no_difference():
    suite = BiasSuite([THREE])
    assert values(suite, suite.cases[1:], ["w", "w w"])["bias_words_difference"] == [None, None]


def test_scores_of_ones_own_and_abstentions():
    def score(prompts, completions, **columns):
        return [None if text == "?" else float(len(text)) for text in completions]

    suite = BiasSuite([THREE], {"score": score, "sentiment": VaderSentiment()})
    found = values(suite, suite.cases, ["ok", "?", "good"])
    assert found["bias_score_difference"] == [None, None, 2]
    assert found["bias_sentiment_difference"][2] != 0
    with pytest.raises(ValueError, match="A scorer is called 'words', which is measured already"):
        BiasSuite([THREE], {"words": score})


def test_groups_are_checked():
    with pytest.raises(ValueError, match="The axis 'age' needs at least two groups"):
        SwappedGroups("age", {"old": ["a man"]}, {"1": "{person}"})
    with pytest.raises(ValueError, match="The axis 'age' needs at least two groups, each with words"):
        SwappedGroups("age", {"old": ["a man"], "young": []}, {"1": "{person}"})
    with pytest.raises(ValueError, match=r"The template '1' has no {person}: 'Hello'"):
        SwappedGroups("age", {"old": ["a man"], "young": ["a boy"]}, {"1": "Hello"})
