"""Loose readings: what they forgive, and what they do not."""

import pytest

from rlhf_ext.evaluation.instructions import Constraint, loose_readings

SURE, BYE = "Sure, here it is:\n", "\nI hope this helps!"


def test_the_eight_readings():
    assert loose_readings("a*\nb\nc") == ["a*\nb\nc", "b\nc", "a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b"]
    assert loose_readings("a") == ["a", "", "", "", "a", "", "", ""]


@pytest.mark.parametrize(
    ("kind", "settings", "answer"),
    [
        ("json_object", {"keys": ["a"]}, SURE + '{"a": 1}'),
        ("json_object", {"keys": ["a"]}, SURE + '{"a": 1}' + BYE),
        ("lower_case", {}, SURE + "all small\n" + BYE),
        ("ends_with", {"phrase": "The end."}, "It was so. The end." + BYE),
        ("starts_with", {"phrase": "Dear"}, SURE + "Dear all, hello"),
        ("starts_with", {"phrase": "Dear"}, "**Dear** all, hello"),
        ("one_of", {"options": ["Yes", "No"]}, "**Yes**"),
        ("postscript", {"mark": "P.S."}, "Hello.\n**P.S.** More"),
    ],
)
def test_frames_and_asterisks_are_forgiven_loosely_alone(kind, settings, answer):
    constraint = Constraint(kind, settings)
    assert not constraint.followed(answer) and constraint.followed(answer, loose=True)


@pytest.mark.parametrize("answer", ["Some Capitals", SURE + "Some Capitals" + BYE, "One\nTwo\nThree\nFour"])
def test_a_mistake_in_the_middle_is_not(answer):
    assert not Constraint("lower_case").followed(answer, loose=True)


def test_what_is_followed_strictly_is_followed_loosely():
    for kind, settings, answer in (("bold_parts", {"least": 1}, "**a**"), ("line_count", {"count": 1}, "a")):
        assert Constraint(kind, settings).followed(answer) and Constraint(kind, settings).followed(answer, loose=True)
