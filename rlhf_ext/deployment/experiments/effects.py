"""What the report of an A/B test holds: figures of variants, effects between them, and the ratio of their users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...stats import Estimate

MISMATCH = 0.01
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
        return self.p_value > MISMATCH
