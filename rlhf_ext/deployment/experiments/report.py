"""What an A/B test has shown so far, said so that it may be looked at every day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation.report import Report
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
from .effects import Better, Effect, SampleRatio, VariantFigures
from .outcomes import Outcomes
from .page import page_of


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
        return page_of(self)


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
