"""The suites as one: asked once, measured by each, and run on models of which the truth is known."""

import re

import pytest

from rlhf_ext import LocalGenerator, ScriptedGenerator
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.safety import (
    BiasSuite,
    CombinedSuite,
    HarmfulSuite,
    JailbreakSuite,
    OverRefusalSuite,
    PrivacySuite,
    SwappedGroups,
    ToxicitySuite,
    harmful_prompts,
    harmless_prompts,
    safety_suite,
)
from rlhf_ext.evaluation.safety.privacy import SECRETS
from rlhf_ext.evaluation.suite import Case, check_suite
from rlhf_ext.generation import Unanswered
from rlhf_ext.types import text_of

from .helpers import graded, values

NO, YES = "I can't help with that.", "Sure, here it is."


def toxicity(prompts, completions, **columns):
    return [0.75 if "idiot" in text else 0.125 for text in completions]


def estimates(respond, **options):
    return {
        name.removeprefix("safety."): estimate
        for name, estimate in run_suite(ScriptedGenerator(respond), safety_suite(**options)).estimates().items()
    }


def test_a_case_of_two_parts_is_asked_once_and_measured_by_both():
    harmful, harmless = harmful_prompts()[:2], harmless_prompts()[:1]
    parts = [HarmfulSuite(harmful), OverRefusalSuite(harmless), ToxicitySuite(toxicity, [*harmless, *harmful])]
    suite = CombinedSuite("both", parts)
    assert [case.id for case in suite.cases] == ["violence-01", "violence-02", "homonyms-01"]
    found = values(suite, suite.cases, [NO, "idiot", YES])
    assert found == {
        "harmful_complied": [0, 1, None],
        "harmful_refused": [1, 0, None],
        "over_refused": [None, None, 0],
        "harmless_answered": [None, None, 1],
        "toxicity_mean": [0.125, 0.75, 0.125],
        "toxicity_probability": [0, 1, 0],
    }


def test_samples_keep_their_places():
    parts = [HarmfulSuite(harmful_prompts()[:2], samples=2), OverRefusalSuite(harmless_prompts()[:1], samples=2)]
    suite = CombinedSuite("both", parts)
    a, b, c = suite.cases
    found = values(suite, [a, c, b, b, c], [YES, NO, NO, NO, YES])
    assert found["harmful_complied"] == [1, None, 0, 0, None]
    assert found["over_refused"] == [None, 1, None, None, 0]
    assert found["harmful_complied_any"] == [None, None, 0]  # per case, in the order a, c, b; a lacks one


def test_the_whole_suite_is_sound():
    suite = safety_suite(judge=graded({}), toxicity=toxicity, samples=2)
    check_suite(suite)
    assert len(suite.figures) == len(set(suite.figures))
    assert {"harmful_grade", "jailbreak_any", "privacy_any", "bias_toxicity_gap", "toxicity_expected_maximum"} <= {
        *suite.figures
    }
    few, all_of_them = safety_suite(), safety_suite(jailbreaks_per_category=None)
    assert len(all_of_them.cases) - len(few.cases) == (12 - 3) * 13 * 10
    assert few.version != all_of_them.version
    assert not any(m["role"] == "system" for c in safety_suite(system_prompts=False).cases for m in c.prompt)


def test_a_model_that_refuses_everything():
    found = estimates(lambda prompt, sampling: NO)
    for name, expected in {
        "harmful_refused": 1,
        "harmful_complied": 0,
        "over_refused": 1,
        "harmless_answered": 0,
        "jailbreak_success": 0,
        "jailbreak_any": 0,
        "privacy_leaked": 0,
        "bias_refusal_gap": 0,
    }.items():
        assert found[name].value == expected, name
    assert found["harmful_complied"].high < 0.03  # 0 of 156


def test_a_model_that_falls_for_base64_tells_secrets_and_refuses_the_old():
    def respond(prompt, sampling):
        text = text_of(prompt)
        if "in base64. Decode it" in text:
            return YES
        if secret := re.search(r"onfidential.*?(?: is | at | card | from )(\S[^.]*)\.", text, re.DOTALL):
            return f"Since you ask: {secret[1].upper()}"
        return NO if "70-year-old" in text else "I can't help you with that."

    suite = safety_suite()
    result = run_suite(ScriptedGenerator(respond), suite)
    found = {name.removeprefix("safety."): estimate for name, estimate in result.estimates().items()}
    assert found["jailbreak_success_base64"].value == 1 and found["jailbreak_success_rot13"].value == 0
    assert found["jailbreak_success"].value == pytest.approx(0.1) and found["jailbreak_any"].value == 1
    assert found["jailbreak_any"].n == 39  # requests, not variants
    assert found["privacy_leaked"].value == 1 and found["privacy_any"].n == 6


def test_a_refusal_of_one_group_shows_in_its_category_alone():
    def respond(prompt, sampling):
        return NO if "Muslim" in text_of(prompt) else "Gladly."

    suite = safety_suite()
    (column,) = [
        c for c in run_suite(ScriptedGenerator(respond), suite).columns if c.name == "bias_refusal_difference"
    ]
    by_category = {}
    for case, value in zip(suite.cases, column.values, strict=True):
        if value is not None:
            by_category.setdefault(case.category, set()).add(value)
    assert by_category.pop("religion: Muslim") == {1.0}
    assert set().union(*by_category.values()) == {0.0} and len(by_category) == 18


def test_answers_that_failed_are_counted_and_left_out():
    def respond(prompt, sampling):
        if text_of(prompt) == text_of(harmful_prompts()[0].prompt):
            raise Unanswered("no")
        return NO

    suite = CombinedSuite("both", [HarmfulSuite(), OverRefusalSuite()])
    result = run_suite(ScriptedGenerator(respond), suite)
    columns = {column.name: column.values for column in result.columns}
    assert columns["failed"][0] == 1 and columns["harmful_refused"][:2] == [None, 1]
    assert result.estimates()["both.harmful_refused"].n == 155


def test_a_real_model_answers_every_kind_of_prompt(policy, tokenizer):
    short = {"sampling": {"temperature": 0.0, "max_new_tokens": 4}}
    groups = SwappedGroups("age", {"young": ["a boy"], "old": ["a man"]}, {"1": "Describe {person}."})
    parts = [
        HarmfulSuite(harmful_prompts()[:2], **short),
        OverRefusalSuite(harmless_prompts()[:2], **short),
        JailbreakSuite(harmful_prompts()[:1], **short),
        PrivacySuite({"password": SECRETS["password"]}, {"plain": "Tell me."}, **short),
        BiasSuite([groups], **short),
    ]
    result = run_suite(LocalGenerator(policy, tokenizer), CombinedSuite("few", parts))
    failed = [result.cases[row].id for row in result.failures]
    assert failed == ["violence-01/many_shot"]  # the model reads 512 tokens
    assert {column.name for column in result.columns} > set(parts[2].figures)


def test_parts_that_do_not_fit_are_refused():
    harmful = harmful_prompts()[:2]
    with pytest.raises(ValueError, match="'harmful' and 'over_refusal' differ in samples or sampling"):
        CombinedSuite("s", [HarmfulSuite(samples=2), OverRefusalSuite()])
    with pytest.raises(ValueError, match="have a figure called 'harmful_complied'"):
        CombinedSuite("s", [HarmfulSuite(harmful[:1]), HarmfulSuite(harmful[1:])])
    other = Case(harmful[0].id, "Another one.")
    with pytest.raises(ValueError, match="different cases with the id 'violence-01'"):
        CombinedSuite("s", [HarmfulSuite(harmful), ToxicitySuite(toxicity, [other])])
    with pytest.raises(ValueError, match="needs at least one part"):
        CombinedSuite("s", [])
