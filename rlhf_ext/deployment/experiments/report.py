"""What an A/B test has shown so far, said so that it may be looked at every day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ... import __version__
from ...evaluation.report import Intervals, Measure, Report
from ...stats import (
    Estimate,
    Moments,
    always_valid_sample_ratio,
    difference_confidence_sequence,
    difference_p_value,
    holm,
    mean_confidence_sequence,
    rate_confidence_sequence,
    sample_ratio_test,
)
from ...stats.sequential import PLANNED
from .outcomes import Outcomes

_MISMATCH = 0.01
"""A sample ratio this unlikely breaks a comparison: rare by chance, and certain soon enough where something is wrong."""

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class VariantFigures:
    """One metric of one variant: over `users` who have values, from `requests` values; `None` where there is none.

    It is a rate where all values of the metric, in all variants, are in [0, 1].
    """

    metric: str
    variant: str
    users: int
    requests: int
    rate: bool
    mean: Estimate | None


@dataclass(frozen=True)
class Effect:
    """One variant against the control, on one metric.

    Args:
        metric (`str`), variant (`str`):
            What is compared.
        difference (`Estimate`):
            `variant - control`, with a confidence sequence.
        p_value (`float`):
            Always valid, on its own.
        adjusted (`float`):
            By Holm's method, over all variants and metrics of the report.
        verdict (`str`):
            `"better"`, `"worse"`, `"higher"`, `"lower"` (where no direction is better), or `"no clear change"`.
    """

    metric: str
    variant: str
    difference: Estimate
    p_value: float
    adjusted: float
    verdict: str


@dataclass(frozen=True)
class SampleRatio:
    """Users by variant against the shares that they were dealt by; p-values always valid, and for one look (Pearson)."""

    counts: dict[str, int]
    shares: dict[str, float]
    p_value: float
    single_look: float

    @property
    def holds(self) -> bool:
        """Whether the counts are what the shares let expect."""
        return self.p_value > _MISMATCH


@dataclass(frozen=True)
class ABReport:
    """An A/B test as it stands.

    Args:
        experiment (`str`), control (`str`):
            Their names.
        figures (`list[VariantFigures]`), effects (`list[Effect]`):
            Metric by metric.
        sample_ratio ([`SampleRatio`], *optional*):
            `None` where the shares are not known. Where it does not hold, no effect is to be believed.
        crossed (`int`):
            Users who were left out, since more than one variant served them.
    """

    experiment: str
    control: str
    figures: list[VariantFigures]
    effects: list[Effect]
    sample_ratio: SampleRatio | None
    crossed: int

    @property
    def worse(self) -> list[Effect]:
        """The effects that are clearly for the worse."""
        return [effect for effect in self.effects if effect.verdict == "worse"]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "experiment": self.experiment,
            "control": self.control,
            "figures": [{**asdict(f), "mean": f.mean and f.mean.to_dict()} for f in self.figures],
            "effects": [{**asdict(e), "difference": e.difference.to_dict()} for e in self.effects],
            "sample_ratio": self.sample_ratio and {**asdict(self.sample_ratio), "holds": self.sample_ratio.holds},
            "crossed": self.crossed,
        }

    def page(self) -> Report:
        """As a report for [`~rlhf_ext.evaluation.report.render_table`] and [`~rlhf_ext.evaluation.report.write_report`]."""
        return _page(self)


def ab_report(
    outcomes: Outcomes,
    control: str,
    shares: Mapping[str, float] | None = None,
    better: Mapping[str, Better] | None = None,
    experiment: str = "A/B test",
    confidence: float = 0.95,
    planned: int = PLANNED,
) -> ABReport:
    """Compares each variant with the control.

    Looking changes nothing: intervals are confidence sequences and p-values are always valid, so that one may look after every
    request and stop when one likes. Each user counts once, see [`Outcomes`].

    Args:
        outcomes ([`Outcomes`]):
            What came of it.
        control (`str`):
            What the others are compared with.
        shares (`Mapping[str, float]`, *optional*):
            The shares by which users were dealt, which must not have changed. Without them there is no check of the sample ratio.
        better (`Mapping[str, Literal["higher", "lower"]]`, *optional*):
            By metric, which way is better.
        experiment (`str`, *optional*), confidence (`float`, *optional*, defaults to `0.95`), planned (`int`, *optional*):
            The title; the level of intervals, in (0, 1); users after which they are to be tightest, to be set before looking.

    Returns:
        [`ABReport`].

    Raises:
        ValueError: If the control served nobody, `better` names an unknown metric or way, or shares do not name all variants.

    Example:
    ```python
    >>> from rlhf_ext.deployment.experiments import Outcome, Outcomes, ab_report

    >>> rows = [Outcome("a" if user % 2 else "b", f"user {user}", float(user % 6 in (0, 1, 2))) for user in range(3000)]
    >>> report = ab_report(Outcomes.of(rows), control="a", shares={"a": 0.5, "b": 0.5}, better={"value": "higher"})
    >>> print(report.effects[0].difference, report.effects[0].verdict, report.sample_ratio.holds)
    0.33 [0.28, 0.39] better True

    ```
    """
    better = better or {}
    if control not in outcomes.variants:
        raise ValueError(f"The control {control!r} served nobody; there are {', '.join(outcomes.variants)}.")
    for metric, way in better.items():
        if metric not in outcomes.metrics or way not in ("higher", "lower"):
            raise ValueError(
                f"better: {metric!r}: {way!r}; metrics are {', '.join(outcomes.metrics)}, ways higher and lower."
            )
    variants = [control, *(variant for variant in outcomes.variants if variant != control)]
    figures, effects = [], []
    for metric in outcomes.metrics:
        seen = {variant: outcomes.moments(metric, variant) for variant in variants}
        rate = outcomes.is_rate(metric)
        for variant, moments in seen.items():
            mean = _mean(moments, rate, confidence, planned)
            figures.append(VariantFigures(metric, variant, moments.n, outcomes.requests(metric, variant), rate, mean))
        for variant in variants[1:]:
            if seen[control].n and seen[variant].n:
                pair = seen[control], seen[variant], confidence, planned, rate
                effects.append((metric, variant, difference_confidence_sequence(*pair), difference_p_value(*pair)))
    adjusted = holm([p for *_, p in effects])
    told = [
        Effect(metric, variant, difference, p, more, _verdict(difference, better.get(metric)))
        for (metric, variant, difference, p), more in zip(effects, adjusted, strict=True)
    ]
    ratio = None if shares is None else _ratio(outcomes, shares)
    return ABReport(experiment, control, figures, told, ratio, outcomes.crossed())


def _mean(moments: Moments, rate: bool, confidence: float, planned: int) -> Estimate | None:
    if not moments.n:
        return None
    if rate:
        total = min(float(moments.n), max(0.0, moments.mean * moments.n))
        return rate_confidence_sequence(total, moments.n, confidence)
    return mean_confidence_sequence(moments, confidence, planned)


def _verdict(difference: Estimate, better: Better | None) -> str:
    if not difference.excludes_zero:
        return "no clear change"
    way = "higher" if difference.low > 0 else "lower"
    return way if better is None else "better" if way == better else "worse"


def _ratio(outcomes: Outcomes, shares: Mapping[str, float]) -> SampleRatio:
    unknown = [variant for variant in outcomes.variants if not shares.get(variant)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} served users, and has no share; shares are given for {', '.join(shares)}.")
    dealt = {variant: share for variant, share in shares.items() if share > 0}
    counts = {variant: outcomes.users(variant) for variant in dealt}
    if len(dealt) < 2:
        raise ValueError(f"A comparison needs two variants with a share, got {dict(shares)}.")
    pair = list(counts.values()), list(dealt.values())
    return SampleRatio(counts, dealt, always_valid_sample_ratio(*pair), sample_ratio_test(*pair))


def _page(report: ABReport) -> Report:
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
            rate_confidence_sequence(count, total, 1 - _MISMATCH) if total else None,
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
