import json
import math

import pytest

from rlhf_ext.constitution import Revision, Revisions, RevisionStep, summarise
from rlhf_ext.stats import wilson

from .helpers import Judge

NO = "I'm sorry, but I can't help with that."


def step(revision="Better.", rejected=None, verdict="revise", p=None, category="style"):
    return RevisionStep(1, "tone", category, "c", verdict, revision, None, p, rejected)


def row(*steps, prompt="Q", first="One two.", stopped="rounds"):
    return Revision(prompt, first, steps, stopped)


def of(*rows):
    return Revisions(rows, "constitution:x@1#0")


def test_refusals_are_counted_on_all_and_on_harmless_prompts():
    rows = [row(step(NO), prompt=f"bad {n}") for n in range(3)]
    rows += [
        row(step(NO), prompt="good 1"),
        row(step("Ok."), prompt="good 2", first=NO),
        row(step("Ok."), prompt="good 3"),
    ]
    rows += [row(step(NO, "drifted"), prompt="good 4", stopped="drifted")]
    summary = summarise(of(*rows), harmless=[False] * 3 + [True] * 4)
    assert summary.refusals.value == pytest.approx((3 + 1 - 1) / 7) and summary.refusals.n == 7
    assert summary.over_refusals.value == 0 and summary.over_refusals.n == 4
    assert summary.over_refusals.low < 0 < summary.over_refusals.high
    assert summarise(of(*rows)).over_refusals is None
    assert summarise(of(*rows), harmless=[False] * 7).over_refusals is None
    assert summary.revised == wilson(6, 7)
    assert summary.stopped == {"rounds": 6, "drifted": 1}


def test_length_is_compared_in_words_and_in_ratio():
    rows = [
        row(step("a b c d"), prompt="1", first="a b"),
        row(step("a b"), prompt="2", first="a"),
        row(step("a"), prompt="3", first=""),
    ]
    summary = summarise(of(*rows))
    assert summary.words.value == pytest.approx((2 + 1 + 1) / 3)
    assert summary.length_ratio.value == pytest.approx(math.log(2)) and summary.length_ratio.n == 2
    assert summarise(of(row(step("a"), first=""))).length_ratio is None


def test_helpfulness_is_the_judges_about_what_was_revised():
    said = {"1": 0.9, "2": 0.2, "3": None, "4": 0.7}
    judge = Judge(lambda prompt, last, first: said[prompt])
    rows = [row(step(f"Better {n}."), prompt=str(n), first=f"First {n}.") for n in range(1, 5)] + [row(prompt="5")]
    summary = summarise(of(*rows), judge=judge)
    assert judge.calls == [(list("1234"), [f"Better {n}." for n in range(1, 5)], [f"First {n}." for n in range(1, 5)])]
    assert summary.helpfulness.value == pytest.approx(0.6) and summary.helpfulness.n == 3
    assert summary.worse == wilson(1, 3)
    silent = summarise(of(*rows), judge=Judge(lambda *row: None))
    assert silent.helpfulness is None and silent.worse is None
    nothing = Judge(lambda *row: 1.0)
    assert summarise(of(row()), judge=nothing).helpfulness is None and not nothing.calls


def test_an_even_judgement_is_not_worse():
    assert summarise(of(row(step())), judge=Judge(lambda *row: 0.5)).worse == wilson(0, 1)


def test_what_the_judge_of_the_rounds_turned_down_is_shown():
    rows = [
        row(step(p=0.9)),
        row(step(p=0.9), step("C.", "not_improved", p=0.3)),
        row(step(p=0.5, rejected="not_improved")),
        row(step()),
    ]
    assert summarise(of(*rows)).turned_down == wilson(1, 3)
    assert summarise(of(row(step()))).turned_down is None


def test_any_scorer_is_compared_and_what_was_not_revised_is_scored_once():
    asked = []

    def length(prompts, completions, **columns):
        asked.extend(completions)
        return [None if "None" in text else float(len(text)) for text in completions]

    rows = [row(step("abcd"), prompt="1", first="ab"), row(prompt="2", first="xyz"), row(step("None"), prompt="3")]
    summary = summarise(
        of(*rows), scorers={"size": length, "nothing": lambda prompts, completions: [None] * len(prompts)}
    )
    assert summary.scores["size"].value == 1.0 and summary.scores["size"].n == 2
    assert asked == ["ab", "xyz", "One two.", "abcd", "None"]
    assert list(summary.scores) == ["size"]


def test_rows_of_one_prompt_are_not_taken_for_independent():
    firsts = ["a"] * 8
    lasts = ["a b", "a b c d e f"]
    independent = [row(step(lasts[n % 2]), prompt=str(n), first=first) for n, first in enumerate(firsts)]
    repeated = [row(step(lasts[n % 2]), prompt=str(n % 2), first=first) for n, first in enumerate(firsts)]
    wide, narrow = (summarise(of(*rows)).words for rows in (repeated, independent))
    assert wide.value == narrow.value and wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_objections_are_counted_by_category():
    keep = step(None, verdict="keep", category="harm")
    rows = [row(keep, step(category="harm")), row(keep, step(category="bias", verdict="unreadable"))]
    assert summarise(of(*rows)).unreadable == wilson(1, 4)
    assert summarise(of(row())).unreadable is None
    assert summarise(of(*rows)).objections == {"harm": wilson(1, 3), "bias": wilson(1, 1)}


def test_messages_another_refusal_scorer_json_and_words():
    prompt = [{"role": "user", "content": "Q"}]
    seen = []

    def refusal(prompts, completions, **columns):
        seen.extend(completions)
        return [0.0] * len(prompts)

    rows = [row(step(), prompt=prompt), row(step(), prompt=prompt)]
    summary = summarise(
        of(*rows), refusal=refusal, judge=Judge(lambda p, last, first: float(last[0]["content"] == "Better."))
    )
    assert seen[0] == [{"role": "assistant", "content": "One two."}]
    assert summary.helpfulness.value == 1.0
    data = json.loads(json.dumps(summary.to_dict()))
    assert data["helpfulness"]["value"] == 1.0 and data["over_refusals"] is None and data["stopped"] == {"rounds": 2}
    text = str(summary)
    assert "prompts revised: 1.00" in text and "critiques that object, style:" in text and "stopped: rounds 2" in text
    assert "harmless" not in text


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="There are no revisions to summarise"):
        summarise(of())
    with pytest.raises(ValueError, match="`harmless` should say yes or no for each of 1 rows, got 2"):
        summarise(of(row()), harmless=[True, False])
