"""What a canary must not do: a bound on a metric, and the test that says when it is broken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...stats import (
    Estimate,
    Moments,
    difference_confidence_sequence,
    mean_confidence_sequence,
    rate_confidence_sequence,
)

IN_UNITS = frozenset({"seconds", "ttft", "completion_tokens"})
"""The gateway's own metrics that are no rates, see [`~rlhf_ext.deployment.gateway.canaries`]."""


@dataclass(frozen=True)
class Guard:
    """A bound on a metric of the canary.

    It is broken when the whole interval lies beyond the bound, at whichever look: the interval is a confidence sequence. So a canary
    that keeps to its bounds is rolled back by chance with probability `alpha` at most, over all guards, steps and looks.

    Args:
        metric (`str`):
            What is observed: `"error"` (0 or 1), `"seconds"`, `"toxicity"`, `"refusal"`, `"thumbs_up"`, ...
        at_most (`float`, *optional*), at_least (`float`, *optional*):
            The bound: one of them.
        against_control (`bool`, *optional*, defaults to `False`):
            Whether it bounds the difference from the control, rather than the metric itself.
        quantile (`float`, *optional*):
            The bound is on this quantile, such as 0.95, rather than on the mean: broken when clearly more than 5 % of the values are
            above `at_most`.
        rate (`bool`, *optional*, defaults to `True`):
            Whether values are in [0, 1], for which the test of a bound on the metric itself is exact. It is asymptotic for others.
        per (`Literal["user", "request"]`, *optional*, defaults to `"user"`):
            What is independent. Users' requests are alike, so each user counts once, with the mean of the values so far. Errors and
            latency that come from the machine rather than from who asks may count by request: quicker, and the only way with few users.

    Raises:
        ValueError: If a field is not as said.

    Example:
    ```python
    >>> from rlhf_ext.deployment.experiments import Guard

    >>> str(Guard("seconds", at_most=4.0, quantile=0.95)), str(Guard("thumbs_up", at_least=-0.05, against_control=True))
    ('0.95 quantile of seconds at most 4', 'thumbs_up at least -0.05 against the control')

    ```
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    against_control: bool = False
    quantile: float | None = None
    rate: bool = True
    per: str = "user"

    def __post_init__(self) -> None:
        if not self.metric or not isinstance(self.metric, str):
            raise ValueError(f"`metric` of a guard must be a text that is not empty, got {self.metric!r}.")
        bounds = [bound for bound in (self.at_most, self.at_least) if bound is not None]
        if len(bounds) != 1 or isinstance(bounds[0], bool) or not isinstance(bounds[0], int | float):
            raise ValueError(f"The guard on {self.metric!r} needs `at_most` or `at_least`, one number, got {bounds}.")
        if not math.isfinite(bounds[0]):
            raise ValueError(f"The bound on {self.metric!r} must be finite, got {bounds[0]}.")
        if self.per not in ("user", "request"):
            raise ValueError(f"`per` of the guard on {self.metric!r} must be 'user' or 'request', got {self.per!r}.")
        for what in ("rate", "against_control"):
            if not isinstance(getattr(self, what), bool):
                raise ValueError(
                    f"`{what}` of the guard on {self.metric!r} must be true or false, got {getattr(self, what)!r}."
                )
        if self.quantile is not None and not (
            isinstance(self.quantile, float)
            and 0 < self.quantile < 1
            and self.at_most is not None
            and not self.against_control
        ):
            raise ValueError(f"`quantile` of the guard on {self.metric!r} goes with `at_most` alone, in (0, 1).")
        if self.rate and self.quantile is None and self.metric in IN_UNITS:
            raise ValueError(
                f"The guard on {self.metric!r} bounds a mean that is no rate: set `rate` to False, or bound a `quantile`."
            )
        if self.rate and self.quantile is None and not self.against_control and not 0 <= bounds[0] <= 1:
            raise ValueError(
                f"The guard on {self.metric!r} bounds a rate, in [0, 1], by {bounds[0]:g}; set `rate` to False for values of other units."
            )

    def __str__(self) -> str:
        bound = f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"
        of = f"{self.quantile:g} quantile of " if self.quantile is not None else ""
        return f"{of}{self.metric} {bound}{' against the control' if self.against_control else ''}"

    def value(self, value: float) -> float:
        """What is kept of an observed value.

        Raises:
            ValueError: If it is not finite, or no rate where it should be.
        """
        if not math.isfinite(value):
            raise ValueError(
                f"A value of {self.metric!r} must be finite, got {value}; leave out what could not be measured."
            )
        if self.quantile is not None:
            return float(value > self.at_most)  # type: ignore[operator]
        if self.rate and not 0 <= value <= 1:
            raise ValueError(
                f"A value of {self.metric!r} must be in [0, 1], as its guard is on a rate, got {value:g}."
            )
        return float(value)

    def estimate(self, canary: Moments, control: Moments, confidence: float, planned: int) -> Estimate | None:
        """What is known by now; `None` where there is nothing to know it from."""
        if self.against_control:
            if not (canary.n and control.n):
                return None
            return difference_confidence_sequence(control, canary, confidence, planned, self.rate)
        if not canary.n:
            return None
        if self.rate or self.quantile is not None:
            # Rounding may take a sum of rates out of its range by 1e-16.
            total = min(float(canary.n), max(0.0, canary.mean * canary.n))
            return rate_confidence_sequence(total, canary.n, confidence)
        return mean_confidence_sequence(canary, confidence, planned)

    def broken(self, estimate: Estimate) -> str:
        """Why the bound is broken, in a sentence; empty where it is not clearly."""
        what = f"{self.metric}{' against the control' if self.against_control else ''}"
        high, low = self.at_most, self.at_least
        if self.quantile is not None:
            what, high = f"the share of {self.metric} above {self.at_most:g}", 1 - self.quantile
        unit = "users" if self.per == "user" else "requests"
        if high is not None and estimate.low > high:
            return f"{what} is {estimate}, above {high:.4g}, by {estimate.n:,} {unit}"
        if low is not None and estimate.high < low:
            return f"{what} is {estimate}, below {low:.4g}, by {estimate.n:,} {unit}"
        return ""


def both(figures: Mapping[tuple[str, str], Moments], canary: str, control: str, key: str) -> tuple[Moments, Moments]:
    """The figures of canary and control on one guard."""
    return figures.get((canary, key), Moments()), figures.get((control, key), Moments())
