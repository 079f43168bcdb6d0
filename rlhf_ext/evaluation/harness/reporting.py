"""lm-eval's results as a report: one run, or one against another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...stats import Estimate
from ..page import evaluation_report
from ..report import Figure, Measure, Report
from ..running import SuiteResult
from ..suite import Case
from .reading import HarnessResult

UNPAIRED = "Not paired, from two standard errors: wider than it would be with the samples of both"


def harness_report(after: HarnessResult, before: HarnessResult | None = None, title: str = "lm-eval") -> Report:
    """A page on a run of lm-eval, or on one against another.

    Tasks with samples in both runs are compared document by document (`doc_id`, and the same document by its hash); what is
    known by standard errors alone is compared without pairing, and says so. Tasks of one run alone are named in the notes.

    Args:
        after ([`HarnessResult`]), before ([`HarnessResult`], *optional*):
            From [`read_results`].
        title (`str`, *optional*, defaults to `"lm-eval"`):
            Of the page.

    Returns:
        [`~rlhf_ext.evaluation.report.Report`].

    Raises:
        ValueError: If a task is of another version, number of shots or sampling in the two runs, or a `doc_id` is another
            document (they are named), or the two have nothing in common.
    """
    if before is None:
        report = _sampled(after.results, None, title, after.model)
        return replace(report, measures=[*report.measures, *after.measures], notes=[*report.notes, *after.notes])
    notes = [f"{run.model}: {note}" for run in (before, after) for note in run.notes]
    old = {result.suite: result for result in before.results}
    shared = [result for result in after.results if result.suite in old]
    pairs = [paired(old[result.suite], result) for result in shared]
    for (_, kept), result in zip(pairs, shared, strict=True):
        if (gone := max(len(result.cases), len(old[result.suite].cases)) - len(kept.cases)) > 0:
            notes.append(f"{result.suite}: {gone:,} documents are in one run alone, and left out.")
    figures = _unpaired(before, after)
    if not pairs and not figures:
        raise ValueError(f"{before.path} and {after.path} have no task and metric in common.")
    alone = {one.suite for one in (*before.results, *after.results)} - {result.suite for result in shared}
    if alone:
        notes.append(f"With samples in one run alone, and not compared: {', '.join(sorted(alone))}.")
    subtitle = f"{after.model} against {before.model}"
    report = _sampled([new for _, new in pairs], [first for first, _ in pairs], title, subtitle)
    return replace(report, figures=[*report.figures, *figures], notes=[*report.notes, *notes])


def paired(before: SuiteResult, after: SuiteResult) -> tuple[SuiteResult, SuiteResult]:
    """Two results of a task with the documents that both have.

    Raises:
        ValueError: If a document of one number is another one, or none is in both.
    """
    old = {case.id: case for case in before.cases}
    for case in after.cases:
        other = old.get(case.id)
        if other is not None and other.columns.get("doc_hash") != case.columns.get("doc_hash"):
            raise ValueError(f"{after.suite}: document {case.id} is another one in the two runs (by its hash).")
    both = {case.id for case in after.cases} & set(old)
    if not both:
        raise ValueError(f"{after.suite}: the two runs have no document in common.")
    # The prompts may differ (chat templates do): what is asked is the same by its hash.
    return _kept(before, both), _kept(after, both)


def _kept(result: SuiteResult, ids: set[str]) -> SuiteResult:
    kept = [case.id in ids for case in result.cases]
    per_answer = [keep for keep in kept for _ in range(result.samples)]
    cases: list[Case] = [case for case, keep in zip(result.cases, kept, strict=True) if keep]
    columns = []
    for column in result.columns:
        flags = per_answer if column.per == "answer" else kept
        columns.append(replace(column, values=[v for v, keep in zip(column.values, flags, strict=True) if keep]))
    answers = [answer for answer, keep in zip(result.answers, per_answer, strict=True) if keep]
    return replace(result, cases=cases, answers=answers, columns=columns)


def _sampled(
    results: Sequence[SuiteResult], baselines: Sequence[SuiteResult] | None, title: str, subtitle: str
) -> Report:
    return evaluation_report(results, baselines, title=title) if results else Report(title, subtitle)


def _unpaired(before: HarnessResult, after: HarnessResult) -> list[Figure]:
    """What both runs know by value and standard error, or one of them by samples."""
    old, new = _all_measures(before), _all_measures(after)
    together = {f"{result.suite}.{c.name}" for result in before.results for c in result.columns} & {
        f"{result.suite}.{c.name}" for result in after.results for c in result.columns
    }
    found = []
    for name, measure in new.items():
        if name not in old or name in together:
            continue
        first, second = old[name].estimate, measure.estimate
        assert first is not None and second is not None
        found.append(
            Figure(name, measure.label, first, second, _difference(first, second), note=UNPAIRED, group=measure.group)
        )
    return found


def _all_measures(run: HarnessResult) -> dict[str, Measure]:
    sampled = {
        f"{result.suite}.{column.name}": Measure(
            f"{result.suite}.{column.name}",
            column.label,
            result.estimates().get(f"{result.suite}.{column.name}"),
            group=result.suite,
        )
        for result in run.results
        for column in result.columns
    }
    known = {name: measure for name, measure in sampled.items() if measure.estimate is not None}
    return {**known, **{measure.name: measure for measure in run.measures}}


def _difference(first: Estimate, second: Estimate) -> Estimate:
    """Of two independent numbers: each side of the interval adds up as the root of squares (Newcombe 1998)."""
    value = second.value - first.value
    low = math.hypot(second.value - second.low, first.high - first.value)
    high = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(value, value - low, value + high, min(first.n, second.n))
