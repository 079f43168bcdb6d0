"""Which of two models' answers to a suite a judge prefers: a win rate, beside what the suite itself measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..rewards.calling import Signed, checked_probabilities, like_prompt
from ..stats import clustered_rate, length_controlled_win_rate
from ..types import PairwiseJudge
from .report import Measure
from .running import SuiteResult
from .suite import Column

WIN_RATE = "win_rate"
"""The figure's name, as in gates: `suite.win_rate`, and `suite.win_rate.change`, which is 0 where neither is preferred."""


@dataclass(frozen=True)
class Preferred:
    """Two results with the judge's word on each pair of answers.

    Args:
        before ([`~rlhf_ext.evaluation.running.SuiteResult`]), after ([`~rlhf_ext.evaluation.running.SuiteResult`]):
            What came in, with a column `win_rate`: p(the model's answer is better than the other's), `None` where an answer is
            missing or the judge abstained.
        measures (`list[Measure]`):
            The win rate of the model after at equal length, and the shares of ties and abstentions.
        notes (`list[str]`):
            How it was asked.
    """

    before: SuiteResult
    after: SuiteResult
    measures: list[Measure]
    notes: list[str]


def prefer(before: SuiteResult, after: SuiteResult, judge: PairwiseJudge, seed: int = 0) -> Preferred:
    """Has a judge compare the two models' answers to a suite.

    The win rate counts a tie as half; equal answers are a tie, and nobody is asked. Where the judge abstains, the pair is in no
    figure but `abstained`. The figure of the model before is 1 minus that of the model after, so that
    [`~rlhf_ext.evaluation.comparison.compare`] gives it a difference, a test and a verdict, and
    [`~rlhf_ext.evaluation.gate.ReleaseGate`] can ask for it (`figures=[WIN_RATE]`).

    Args:
        before ([`~rlhf_ext.evaluation.running.SuiteResult`]), after ([`~rlhf_ext.evaluation.running.SuiteResult`]):
            The same suite, answered by the two models.
        judge ([`~rlhf_ext.types.PairwiseJudge`]):
            Compares, not moved by which answer stands first: a [`~rlhf_ext.labelers.PairwiseLabeler`] asks in both orders.
        seed (`int`, *optional*, defaults to `0`):
            Of the intervals.

    Returns:
        [`Preferred`].

    Raises:
        TypeError: If the judge has no `compare`.
        ValueError: If the results are not of the same cases and samples, or the judge gives anything but one probability or
            `None` a pair.

    Example:
    ```python
    >>> from rlhf_ext.evaluation.preferred import prefer
    >>> from rlhf_ext.evaluation.running import SuiteResult
    >>> from rlhf_ext.evaluation.suite import Case

    >>> class Longer:
    ...     def compare(self, prompts, first, second):
    ...         return [float(len(a) > len(b)) for a, b in zip(first, second)]

    >>> cases = [Case(str(i), f"Prompt {i}") for i in range(4)]
    >>> old, new = (SuiteResult("s", "1", m, m, 0, 1, {}, cases, answers)
    ...             for m, answers in (("old", ["a", "b", "c", None]), ("new", ["aa", "bb", "c", "dd"])))
    >>> prefer(old, new, Longer()).after.columns[-1].values
    [1.0, 1.0, 0.5, None]

    ```
    """
    if not isinstance(judge, PairwiseJudge):
        raise TypeError(f"`judge` must have `compare(prompts, first, second)`, got {judge!r}.")
    if [case.id for case in before.cases] != [case.id for case in after.cases] or before.samples != after.samples:
        raise ValueError(f"The two results of {after.suite!r} have different cases or samples: no pairs to compare.")
    found = _asked(before, after, judge)
    column = Column(
        WIN_RATE,
        "Preferred by the judge",
        found,
        better="higher",
        note="Against the other model's answers, in both orders; ties count half",
        by_category=True,
    )
    mirrored = replace(column, values=[None if p is None else 1 - p for p in found])
    return Preferred(
        replace(before, columns=[*before.columns, mirrored]),
        replace(after, columns=[*after.columns, column]),
        _measures(before, after, column, seed),
        _notes(after, found),
    )


def _asked(before: SuiteResult, after: SuiteResult, judge: PairwiseJudge) -> list[float | None]:
    """p(the answer after is better) by answer, None where one is missing or the judge abstains."""
    prompts = [case.prompt for case in after.cases for _ in range(after.samples)]
    found: list[float | None] = [None] * len(prompts)
    pairs: list[tuple[int, str, str]] = []
    for row, (old, new) in enumerate(zip(before.answers, after.answers, strict=True)):
        if old is None or new is None:
            continue
        if old.strip() == new.strip():
            found[row] = 0.5
        else:
            pairs.append((row, new, old))
    if not pairs:
        return found
    asked = [prompts[row] for row, _, _ in pairs]
    sides = [[like_prompt(prompts[pair[0]], str(pair[place])) for pair in pairs] for place in (1, 2)]
    who = f"the judge {type(judge).__name__}"
    with Signed(who, asked):
        given = judge.compare(asked, *sides)
    for (row, _, _), p in zip(pairs, checked_probabilities(who, given, len(pairs)), strict=True):
        found[row] = p
    return found


def _measures(before: SuiteResult, after: SuiteResult, column: Column, seed: int) -> list[Measure]:
    group, clusters = after.suite, after.clusters(column)
    there = [old is not None and new is not None for old, new in zip(before.answers, after.answers, strict=True)]
    ties = [None if p is None else float(p == 0.5) for p in column.values]
    silent = [float(p is None) if pair else None for p, pair in zip(column.values, there, strict=True)]
    shares: list[tuple[str, str, Sequence[float | None], str]] = [
        ("win_rate_ties", "Ties, by the judge", ties, ""),
        ("win_rate_abstained", "The judge abstained", silent, "Of pairs of answers; they are in no other figure"),
    ]
    return [
        _at_equal_length(before, after, column, clusters, seed),
        *(
            Measure(f"{group}.{name}", label, clustered_rate(values, clusters), "%", note, group=group)
            for name, label, values, note in shares
            if any(value is not None for value in values)
        ),
    ]


def _at_equal_length(
    before: SuiteResult, after: SuiteResult, column: Column, clusters: Sequence[str], seed: int
) -> Measure:
    name, label = f"{after.suite}.{WIN_RATE}_length_controlled", "Preferred by the judge, at equal length"
    own, other = ([len(answer or "") for answer in side.answers] for side in (after, before))
    try:
        estimate = length_controlled_win_rate(column.values, own, other, clusters, seed=seed)
    except ValueError as error:  # that nothing can be said of equal lengths is a finding
        return Measure(name, label, None, "%", f"Not measured: {error}", group=after.suite)
    return Measure(name, label, estimate, "%", "50 % is a draw", group=after.suite)


def _notes(after: SuiteResult, found: Sequence[Any]) -> list[str]:
    judged = sum(p is not None for p in found)
    if judged:
        return [f"{after.suite}: the judge's word is on {judged:,} of {len(found):,} pairs of answers."]
    return [f"{after.suite}: the judge abstained from all {len(found):,} pairs; there is no win rate."]
