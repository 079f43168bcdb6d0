"""The project's own prompts can be followed, and the figures are what they say."""

import doctest
import importlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

import rlhf_ext.evaluation
from rlhf_ext.evaluation.instructions import (
    InstructionsSuite,
    by_kind,
    followed,
    instruction_prompts,
    instructions_suite,
)
from rlhf_ext.evaluation.instructions.constraints import FAMILIES, FAMILY_OF, KINDS
from rlhf_ext.evaluation.instructions.suite import LABELS, constraints_of
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.suite import Case, check_cases
from rlhf_ext.generation import ScriptedGenerator
from rlhf_ext.stats import wilson
from rlhf_ext.types import text_of

CASES = instruction_prompts()
CARD = (Path(rlhf_ext.evaluation.__file__).parent / "prompts" / "README.md").read_text(encoding="utf-8")
LINES = (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()
ANSWERS = {row["id"]: row["answer"] for row in map(json.loads, LINES)}


@pytest.mark.parametrize("name", ["constraints", "suite"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.evaluation.instructions.{name}")).failed == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_prompt_can_be_followed_to_the_letter(case):
    broken = [
        c.kind for c, kept in zip(constraints_of(case), followed(case, ANSWERS[case.id]), strict=True) if not kept
    ]
    assert broken == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_no_prompt_is_followed_by_saying_anything(case):
    others = ["I am sorry, but as a language model I cannot help with that.", "Sure, here you go:", "ok", "?"]
    assert all(not all(followed(case, other)) for other in others)


def test_there_are_enough_of_many_kinds():
    assert len(CASES) >= 120 and len({case.category for case in CASES}) >= 12 and set(ANSWERS) == {c.id for c in CASES}
    kinds = Counter(c.kind for case in CASES for c in constraints_of(case))
    assert set(kinds) == set(KINDS) and min(kinds.values()) >= 3
    families = Counter(FAMILY_OF[kind] for kind in kinds.elements())
    assert min(families.values()) >= 8 and set(LABELS) == set(FAMILIES)
    check_cases(CASES, "instructions")


def test_the_card_says_what_there_is():
    assert f"`instructions.jsonl` ({len(CASES)} rows" in CARD
    assert f"{sum(len(constraints_of(case)) for case in CASES)} constraints" in CARD
    for category, count in Counter(case.category for case in CASES).items():
        assert re.search(rf"\b{category} {count}\b", CARD), category


def test_no_two_prompts_are_alike():
    words = [set(re.findall(r"\w+", text_of(case.prompt).split(': "The old library')[0].lower())) for case in CASES]
    for place, prompt in enumerate(words):
        nearest = max((len(prompt & other) / len(prompt | other) for other in words[place + 1 :]), default=0)
        assert nearest < 0.6, text_of(CASES[place].prompt)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_checked_stands_in_the_prompt(case):
    asked = text_of(case.prompt)
    for constraint in constraints_of(case):
        for name, value in constraint.settings.items():
            if name in ("phrase", "word", "mark", "request"):
                assert value.lower() in asked.lower(), (constraint, name)
            elif name in ("words", "keys", "labels", "options", "header"):
                assert all(str(one).lower() in asked.lower() for one in value), (constraint, name)


def small():
    return [
        Case(
            "a",
            "One word in small letters.",
            "x",
            {"constraints": [{"kind": "word_count", "most": 1}, {"kind": "lower_case"}]},
        ),
        Case("b", "One word.", "y", {"constraints": [{"kind": "word_count", "most": 1}]}),
    ]


def test_figures_of_prompts_and_of_constraints():
    suite = InstructionsSuite(small())
    assert suite.figures == (
        "prompt_strict",
        "prompt_loose",
        "instruction_strict",
        "instruction_loose",
        "counts",
        "letter_case",
    )
    result = run_suite(ScriptedGenerator(["Yes", "Sure:\nyes"]), suite)
    values = {column.name: column.values for column in result.columns}
    assert values["prompt_strict"] == [0.0, 0.0] and values["prompt_loose"] == [0.0, 1.0]
    assert values["counts"] == [1.0, 0.0] and values["letter_case"] == [0.0, None]
    found = result.estimates()
    assert found["instructions.instruction_strict"].value == pytest.approx(1 / 3)
    assert found["instructions.instruction_loose"].value == pytest.approx(2 / 3)
    assert found["instructions.prompt_strict"] == wilson(0, 2)


def test_all_followed_and_all_empty():
    suite = instructions_suite()
    answers = [ANSWERS[case.id] for case in suite.cases]
    for given, value in ((answers, 1.0), ([""] * len(answers), 0.0)):
        found = {column.name: column for column in suite.measure(suite.cases, given)}
        assert list(found) == list(suite.figures)
        assert {v for column in found.values() for v in column.values if v is not None} == {value}


def test_figures_by_kind_the_worst_first():
    found = by_kind(small(), ["Yes", "yes"])
    assert list(found) == ["lower_case", "word_count"] and found["word_count"] == wilson(2, 2)
    assert by_kind(small(), ["Sure:\nyes"] * 2, loose=True)["lower_case"].value == 1


def test_samples_and_version():
    one, more = InstructionsSuite(small()), InstructionsSuite(small(), samples=3)
    assert one.sampling == {"temperature": 0.0, "max_new_tokens": 384} and more.sampling["temperature"] == 1.0
    assert (
        one.version
        != more.version
        == InstructionsSuite(small(), 3).version
        != InstructionsSuite(small()[:1], 3).version
    )


@pytest.mark.parametrize(
    ("constraints", "match"),
    [
        ("[]", "line 2: `constraints` should be a list of constraints"),
        (
            '[{"kind": "shout"}]',
            "line 2: `constraints` has one that is not known: There is no kind of constraint 'shout'",
        ),
        ('[{"kind": "title", "count": 2}]', "'title' cannot have {'count': 2}"),
    ],
)
def test_bad_rows_are_named(tmp_path, constraints, match):
    path = tmp_path / "own.jsonl"
    good = '{"id": "a", "category": "x", "prompt": "A?", "constraints": [{"kind": "title"}]}'
    path.write_text(f'{good}\n{{"id": "b", "category": "x", "prompt": "B?", "constraints": {constraints}}}\n')
    with pytest.raises(ValueError, match=match):
        instruction_prompts(path)


def test_ones_own_prompts(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": "a", "category": "x", "prompt": "A?", "constraints": [{"kind": "title"}]}\n')
    suite = InstructionsSuite(instruction_prompts(path))
    assert suite.cases[0].prompt == [{"role": "user", "content": "A?"}] and suite.figures[-1] == "format"
    with pytest.raises(ValueError, match="The case 'c' has no list of constraints"):
        InstructionsSuite([Case("c", "C?")])
    with pytest.raises(ValueError, match="The case 'c': There is no kind"):
        InstructionsSuite([Case("c", "C?", columns={"constraints": [{"kind": "shout"}]})])
