"""How the report of an A/B test is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ... import __version__
from ...evaluation.report import Intervals, Measure, Report
from ...stats import rate_confidence_sequence
from .effects import MISMATCH, Effect, SampleRatio

if TYPE_CHECKING:
    from .report import ABReport


def page_of(report: ABReport) -> Report:
    """What `rlhf-ext ab report` shows and writes."""
    rates = {f.metric: f.rate for f in report.figures}
    return Report(
        title=report.experiment,
        subtitle=f"Against {report.control}, by users. {_headline(report)}",
        measures=[
            *([] if report.sample_ratio is None else _ratio_measures(report.sample_ratio)),
            *(measure for metric in rates for measure in _measures(report, metric, rates[metric])),
        ],
        plots=[_plot(report, metric) for metric in rates if any(e.metric == metric for e in report.effects)],
        notes=_notes(report),
        settings={"rlhf_ext": __version__},
    )


def _headline(report: ABReport) -> str:
    """What is clear so far, in a sentence."""
    if report.sample_ratio is not None and not report.sample_ratio.holds:
        return "The sample ratio does not hold: believe no effect."
    clear = [f"{e.variant} {e.verdict} in {e.metric}" for e in report.effects if e.difference.excludes_zero]
    return f"Clear so far: {', '.join(clear)}." if clear else "Nothing is clear so far."


def _measures(report: ABReport, metric: str, rate: bool) -> list[Measure]:
    found = [
        Measure(
            f"{metric}.{f.variant}",
            f.variant,
            f.mean,
            "%" if rate else "",
            f"{f.users:,} users, {f.requests:,} values" if f.mean else "no values",
            group=metric,
        )
        for f in report.figures
        if f.metric == metric
    ]
    return found + [
        Measure(
            f"{metric}.{e.variant}.effect",
            f"{e.variant} against {report.control}: {e.verdict}",
            e.difference,
            "points" if rate else "",
            f"always-valid {_p(e.p_value)}, {_p(e.adjusted)} with all that is compared here",
            group=metric,
        )
        for e in report.effects
        if e.metric == metric
    ]


def _plot(report: ABReport, metric: str) -> Intervals:
    effects: Sequence[Effect] = [effect for effect in report.effects if effect.metric == metric]
    title = f"{metric}: difference from {report.control}"
    return Intervals(
        title, "variant - control", {effect.variant: effect.difference for effect in effects}, reference=0.0
    )


def _ratio_measures(ratio: SampleRatio) -> list[Measure]:
    total = sum(ratio.counts.values())
    return [
        Measure(
            f"sample_ratio.{variant}",
            variant,
            rate_confidence_sequence(count, total, 1 - MISMATCH) if total else None,
            "%",
            f"{count:,} users; of all counts together always-valid {_p(ratio.p_value)}, for one look {_p(ratio.single_look)}",
            wanted=f"{100 * ratio.shares[variant]:g}%",
            # That it holds says nothing of the variants: no word where nothing is wrong.
            verdict="" if ratio.holds else "fails",
            group="Share of users, against what was dealt",
        )
        for variant, count in ratio.counts.items()
    ]


def _notes(report: ABReport) -> list[str]:
    notes = [
        "Intervals and p-values hold at every look: look as often as you like, and stop when you like.",
        "Each user counts once, with the mean of the user's values: requests of one user are not independent.",
    ]
    if report.sample_ratio is not None and not report.sample_ratio.holds:
        notes.insert(
            0,
            "The sample ratio does not hold: users were lost or dealt wrongly. Believe no effect before you know why.",
        )
    if report.sample_ratio is None:
        notes.append("The shares by which users were dealt are not given, so that the sample ratio is not checked.")
    if report.crossed:
        notes.append(f"{report.crossed:,} users were served by more than one variant, and are left out.")
    return notes


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"
