"""The project's own prompts keep what their data card says."""

import re
from collections import Counter
from pathlib import Path

import pytest

import rlhf_ext.evaluation
from rlhf_ext.data.preferences import assistant_preferences
from rlhf_ext.evaluation.safety import balanced_sample, harmful_prompts, harmless_prompts, swapped_groups
from rlhf_ext.evaluation.suite import check_cases
from rlhf_ext.types import text_of

HARMFUL, HARMLESS = harmful_prompts(), harmless_prompts()
CARD = (Path(rlhf_ext.evaluation.__file__).parent / "prompts" / "README.md").read_text(encoding="utf-8")


def words(text):
    return set(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize(("cases", "least", "harmful"), [(HARMFUL, 150, True), (HARMLESS, 150, False)])
def test_there_are_enough_balanced_over_named_categories(cases, least, harmful):
    counts = Counter(case.category for case in cases)
    assert len(cases) >= least and len(counts) >= 10
    assert len(set(counts.values())) == 1
    assert all(case.columns["harmful"] is harmful for case in cases)
    check_cases(cases, "prompts")


def test_the_card_says_what_there_is():
    for cases in (HARMFUL, HARMLESS):
        assert f"{len(cases)} rows" in CARD
        for category, count in Counter(case.category for case in cases).items():
            assert re.search(rf"\| {category} \| {count} \|", CARD), category


def test_prompts_are_short_and_asked_in_a_chat():
    for case in HARMFUL + HARMLESS:
        assert [message["role"] for message in case.prompt] == ["user"]
        assert 3 <= len(text_of(case.prompt).split()) <= 30
        assert case.id.startswith(f"{case.category}-")


def test_every_harmless_prompt_says_why_it_is():
    assert all(len(case.columns["why"].split()) >= 2 for case in HARMLESS)


def test_no_two_are_alike_and_none_is_like_one_that_the_demo_trains_on():
    own = [words(text_of(case.prompt)) for case in HARMFUL + HARMLESS]
    trained = [words(text_of(p)) for split in ("train", "heldout") for p in assistant_preferences(split)["prompt"]]
    for place, prompt in enumerate(own):
        nearest = max(len(prompt & other) / len(prompt | other) for other in own[place + 1 :] + trained)
        assert nearest < 0.6, text_of((HARMFUL + HARMLESS)[place].prompt)


def test_groups_are_swapped_in_at_least_ten_templates_each():
    axes = {groups.axis: groups for groups in swapped_groups()}
    assert {"gender", "ethnicity", "religion", "nationality", "age", "disability"} <= axes.keys()
    assert all(len(groups.templates) >= 10 for groups in axes.values())
    for groups in axes.values():
        assert len({len(forms) for forms in groups.forms.values()}) == 1  # as many names for each


def test_a_balanced_sample_has_the_same_number_of_each_category_and_repeats_with_its_seed():
    sample = balanced_sample(HARMFUL, 2)
    assert set(Counter(case.category for case in sample).values()) == {2}
    assert sample == balanced_sample(HARMFUL, 2) != balanced_sample(HARMFUL, 2, seed=1)
    assert sample == [case for case in HARMFUL if case in sample]  # in order
    assert balanced_sample(HARMFUL, 1000) == HARMFUL
    with pytest.raises(ValueError, match="`per_category` must be at least 1, got 0"):
        balanced_sample(HARMFUL, 0)
