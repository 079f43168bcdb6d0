"""Two models on the same suite: what got better, what got worse, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ..stats import Estimate, detectable_difference, paired_difference, rate_difference, rule_of_three, sign_flip_test
from .report import Figure, Intervals, Measure
from .running import SuiteResult, estimate_of
from .suite import EMPTY, FAILED, Column


def compare(before: SuiteResult, after: SuiteResult) -> list[Figure]:
    """The figures of a suite for two models, paired by case.

    Rates of yes and no have Wilson's interval, for as many rows as answers that share cases are worth; means and changes
    resample cases. Beside each change stand the p-value of [`~rlhf_ext.stats.sign_flip_test`] and the smallest change that so many
    cases would mostly have shown.

    Args:
        before ([`~rlhf_ext.evaluation.running.SuiteResult`]), after ([`~rlhf_ext.evaluation.running.SuiteResult`]):
            The same suite, answered by the two models.

    Returns:
        `list[Figure]`: in the suite's order, named `suite.column`. A column of which no case has a value for both models is
        left out; `failed` and `empty` are, where neither happened.

    Raises:
        ValueError: If the two are not of the same suite, version, cases, samples and sampling (what differs is named).
    """
    return [figure for pair in _pairs(before, after) if (figure := _whole(before, *pair)) is not None]


def compare_categories(before: SuiteResult, after: SuiteResult) -> list[Figure]:
    """The figures of columns that are shown `by_category`, one for each category that has values for both models.

    For looking into, not for deciding: they are many, and each rests on few cases.

    Raises:
        ValueError: As [`compare`].
    """
    found = []
    for first, second in _pairs(before, after):
        for category in _categories(before) if second.by_category else []:
            kept = [case.category == category for case in before.cases for _ in range(_repeat(before, second))]
            old, new = (replace(column, values=_only(column.values, kept), note="") for column in (first, second))
            figure = paired_figure(old, new, before.clusters(second), before.suite)
            if figure is not None:
                found.append(replace(figure, category=category))
    return found


def measures(result: SuiteResult) -> list[Measure]:
    """The figures of one model alone, each with its interval; `None` for what could not be measured."""
    found = []
    for column in _worth_showing(result):
        estimate = estimate_of(column, result.clusters(column))
        found.append(
            Measure(
                name=f"{result.suite}.{column.name}",
                label=column.label,
                estimate=estimate,
                unit="%" if column.kind == "rate" else "",
                note=" ".join(filter(None, [column.note, _at_the_end(column, estimate, result.clusters(column))])),
                group=result.suite,
            )
        )
    return found


def plots(result: SuiteResult) -> list[Intervals]:
    """The figures of one model, drawn: its rates together, then those by category."""
    shown = _worth_showing(result)
    rates = {c.label: estimate_of(c, result.clusters(c)) for c in shown if c.kind == "rate"}
    drawn = [_plot(f"{result.suite}: rates", "per cent", rates, 100)]
    for column in (column for column in shown if column.by_category):
        found: dict[str, Estimate | None] = {}
        for category in _categories(result):
            kept = [case.category == category for case in result.cases for _ in range(_repeat(result, column))]
            found[category] = estimate_of(replace(column, values=_only(column.values, kept)), result.clusters(column))
        unit, scale = ("per cent", 100) if column.kind == "rate" else (column.label, 1)
        drawn.append(_plot(f"{result.suite}: {column.label}", unit, found, scale))
    return [plot for plot in drawn if plot.estimates]


def _plot(title: str, unit: str, found: dict[str, Estimate | None], scale: float) -> Intervals:
    estimates = {
        name: replace(one, value=one.value * scale, low=one.low * scale, high=one.high * scale)
        for name, one in found.items()
        if one is not None
    }
    return Intervals(title, unit, estimates)


def paired_figure(
    before: Column, after: Column, clusters: Sequence[str] | None = None, group: str = ""
) -> Figure | None:
    """One figure of two columns whose values belong to the same rows.

    Args:
        before (`Column`), after (`Column`):
            Values of the two models, row by row. The label, the note and what is better are those of `after`.
        clusters (`Sequence[str]`, *optional*):
            One label a row; rows with equal labels (answers to one prompt) are resampled together.
        group (`str`, *optional*, defaults to `""`):
            The suite: it begins the name, and heads the figure in a report.

    Returns:
        `Figure`, or `None` where no row has both values.
    """
    labels = [str(row) for row in range(len(after.values))] if clusters is None else list(clusters)
    both = [a is not None and b is not None for a, b in zip(before.values, after.values, strict=True)]
    if not any(both):
        return None
    rate = after.kind == "rate"
    difference: Callable[..., Estimate] = (
        partial(rate_difference, contributed=after.corpus) if rate else paired_difference
    )
    sides = [estimate_of(column, labels) for column in (before, after)]
    assert sides[0] is not None and sides[1] is not None
    return Figure(
        name=f"{group}.{after.name}" if group else after.name,
        label=after.label,
        before=sides[0],
        after=sides[1],
        difference=difference(before.values, after.values, labels),
        better=after.better,
        unit="%" if rate else "",
        note=" ".join(filter(None, [after.note, _at_the_end(after, sides[1], labels)])),
        group=group,
        p_value=sign_flip_test(before.values, after.values, labels),
        detectable=detectable_difference(before.values, after.values, labels, rate=rate),
    )


def _whole(result: SuiteResult, first: Column, second: Column) -> Figure | None:
    return paired_figure(first, second, result.clusters(second), result.suite)


def _pairs(before: SuiteResult, after: SuiteResult) -> list[tuple[Column, Column]]:
    """Columns that both have, without those of the run's own where nothing happened."""
    for name in ("suite", "version", "samples", "sampling"):
        mine, other = getattr(after, name), getattr(before, name)
        if mine != other:
            raise ValueError(f"The two results are not comparable: `{name}` is {other!r} before and {mine!r} after.")
    if [case.id for case in before.cases] != [case.id for case in after.cases]:
        raise ValueError(f"The two results of {after.suite!r} have different cases.")
    shown = {column.name for result in (before, after) for column in _worth_showing(result)}
    old = {column.name: column for column in before.columns}
    return [(old[column.name], column) for column in after.columns if column.name in shown and column.name in old]


def _worth_showing(result: SuiteResult) -> list[Column]:
    return [column for column in result.columns if column.name not in (FAILED, EMPTY) or any(column.values)]


def _categories(result: SuiteResult) -> list[str]:
    return list(dict.fromkeys(case.category for case in result.cases if case.category))


def _repeat(result: SuiteResult, column: Column) -> int:
    return result.samples if column.per == "answer" else 1


def _only(values: Sequence[float | None], kept: Sequence[bool]) -> list[float | None]:
    return [value if keep else None for value, keep in zip(values, kept, strict=True)]


def _at_the_end(column: Column, estimate: Estimate | None, clusters: Sequence[str]) -> str:
    """What none of n shows, and what it does not."""
    if estimate is None or column.corpus or column.kind != "rate" or estimate.value not in (0.0, 1.0):
        return ""
    pairs = zip(clusters, column.values, strict=True)
    cases = len({cluster for cluster, value in pairs if value is not None})
    bound = 100 * rule_of_three(cases)
    if estimate.value == 0:
        return f"None in {cases:,} cases, so the true rate is likely below {bound:.2g} % (rule of three)."
    return f"All of {cases:,} cases, so the true rate is likely above {100 - bound:.3g} % (rule of three)."
