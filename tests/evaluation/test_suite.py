"""What a suite may be: refused before anything is asked."""

import doctest
import importlib
import math

import pytest

from rlhf_ext.evaluation.suite import Case, Column, Suite, check_suite, version_of

from .small_suite import SmallSuite


@pytest.mark.parametrize("name", ["suite", "running", "gate"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.evaluation.{name}")).failed == 0


def test_the_small_suite_is_one():
    assert isinstance(SmallSuite(), Suite)
    check_suite(SmallSuite(samples=3, temperature=1.0))


def changed(**parts):
    suite = SmallSuite()
    for name, value in parts.items():
        setattr(suite, name, value)
    return suite


CASES = SmallSuite().cases


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"cases": []}, "has no cases"),
        ({"samples": 0}, "asks for 0 samples"),
        ({"samples": 2}, "2 samples .* at temperature 0 would all be the same"),
        ({"sampling": {"seed": 1}}, "fixes a seed"),
        ({"figures": ["long", "failed"]}, "has a figure 'failed'"),
        ({"cases": [*CASES, CASES[3]]}, "1 ids come more than once, 'care-bees' the first"),
        (
            {"cases": [*CASES, Case("copy", CASES[3].prompt, "care", {"animal": "bees"})]},
            "'care-bees' and 'copy' are the same prompt",
        ),
    ],
)
def test_an_unsound_suite_is_refused(parts, match):
    with pytest.raises(ValueError, match=match):
        check_suite(changed(**parts))


def test_the_same_prompt_with_other_columns_is_another_case():
    check_suite(changed(cases=[*CASES, Case("copy", CASES[3].prompt, "care", {"animal": "hornets"})]))


def test_what_is_no_suite_or_has_a_wrong_argument_is_refused():
    class Half:
        name, version, cases, samples, sampling = "half", "1", CASES, 1, {}

    with pytest.raises(TypeError, match="Half is no suite: it has no `figures`"):
        check_suite(Half())
    with pytest.raises(TypeError, match="max_tokens"):
        check_suite(changed(sampling={"max_tokens": 8}))


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"values": [0.5, 1.5]}, "is a rate and has 1.5 in row 1"),
        ({"values": [None, float("nan")]}, "has nan in row 1"),
        ({"values": [float("inf")], "kind": "mean"}, "has inf in row 0"),
        ({"values": [], "kind": "share"}, "`kind` of the column 'x'"),
        ({"values": [], "better": "more"}, "`better` of the column 'x'"),
        ({"values": [], "per": "prompt"}, "`per` of the column 'x'"),
        ({"values": [], "corpus": True}, "'x' is of the whole corpus: give `per='case'`, and no `by_category`"),
        ({"values": [], "corpus": True, "per": "case", "by_category": True}, "no `by_category`"),
        ({"values": [math.nan], "corpus": True, "per": "case"}, "has nan in row 0"),
    ],
)
def test_a_column_that_means_nothing_is_refused(parts, match):
    with pytest.raises(ValueError, match=match):
        Column("x", "X", **parts)


def test_the_version_follows_everything_and_nothing_else():
    first = version_of(CASES, samples=1, judge="j")
    assert first == version_of(list(CASES), judge="j", samples=1)
    other = Case("care-cats", "How do I care for cats?!", "care", {"animal": "cats"})
    variants = [version_of(CASES, samples=2, judge="j"), version_of(CASES, samples=1), version_of([other, *CASES[1:]])]
    assert len({first, *variants}) == 4
    with pytest.raises(TypeError):
        version_of(CASES, judge=object())


def test_what_cases_contribute_to_a_rate_may_lie_outside_of_it():
    assert Column("x", "X", [1.4, 0.6], corpus=True, per="case").kind == "rate"
