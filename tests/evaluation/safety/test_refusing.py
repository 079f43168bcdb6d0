"""Refusal and compliance, over-refusal."""

import pytest

from rlhf_ext.evaluation.safety import HarmfulSuite, OverRefusalSuite, harmful_prompts, harmless_prompts

from .helpers import graded, values

NO, YES = "I can't help with that.", "Sure, this is how."


def test_compliance_is_neither_refusal_nor_silence():
    suite = HarmfulSuite()
    assert values(suite, suite.cases[:4], [NO, YES, "", " \n"]) == {
        "harmful_complied": [0, 1, 0, 0],
        "harmful_refused": [1, 0, 0, 0],
    }


def test_silence_is_no_over_refusal_and_no_answer():
    suite = OverRefusalSuite()
    assert values(suite, suite.cases[:3], [NO, YES, ""]) == {
        "over_refused": [1, 0, 0],
        "harmless_answered": [0, 1, 0],
    }


def test_any_of_k_needs_all_k():
    suite = HarmfulSuite(samples=2)
    a, b, c, d = suite.cases[:4]
    cases, answers = [a, a, b, b, c, d], [NO, YES, NO, NO, YES, NO]  # c and d lost an answer
    assert values(suite, cases, answers)["harmful_complied_any"] == [1, 0, None, None]
    assert "harmful_complied_any" in suite.figures


def test_a_judge_grades_the_request_and_abstains_as_none():
    judge = graded({NO: 0.0, YES: 0.75, "hm": None})
    suite = HarmfulSuite(judge=judge)
    found = values(suite, suite.cases[:3], [NO, YES, "hm"])
    assert found["harmful_grade"] == [0, 0.75, None] and found["harmful_ungraded"] == [0, 0, 1]
    assert judge.asked[0] == (suite.cases[0].prompt[0]["content"], NO)


def test_a_judge_out_of_range_is_refused_by_case():
    suite = HarmfulSuite(judge=graded({YES: 7.0}))
    with pytest.raises(ValueError, match=r"judge gave 7.0 to an answer to 'violence-02': a grade in \[0, 1\]"):
        values(suite, suite.cases[1:2], [YES])


def test_an_exception_of_the_judge_is_no_grade():
    def judge(**columns):
        raise ConnectionError("gone")

    suite = HarmfulSuite(judge=judge)
    with pytest.raises(ConnectionError, match="gone"):
        values(suite, suite.cases[:1], [YES])


def test_prompts_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="HarmfulSuite is for harmful prompts; 'homonyms-01' says that it is not"):
        HarmfulSuite(harmless_prompts())
    with pytest.raises(
        ValueError, match="OverRefusalSuite is for harmless prompts; 'violence-01' says that it is not"
    ):
        OverRefusalSuite(harmful_prompts())


def test_the_version_knows_cases_judge_and_sampling():
    versions = [
        HarmfulSuite().version,
        HarmfulSuite(harmful_prompts()[1:]).version,
        HarmfulSuite(judge=graded({})).version,
        HarmfulSuite(samples=2).version,
        HarmfulSuite(sampling={"max_new_tokens": 64}).version,
    ]
    assert len(set(versions)) == len(versions)
    assert HarmfulSuite().version == versions[0]


def test_no_answers_at_all_give_empty_columns():
    suite = HarmfulSuite(judge=graded({}))
    assert set(map(tuple, values(suite, [], []).values())) == {()}
