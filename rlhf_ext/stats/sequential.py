"""Intervals and p-values that hold at every look, however often one looks and whenever one stops.

A 95 % interval of a fixed size, looked at 20 times while data come in, leaves out the truth at one look or another in a quarter of all
cases. These leave it out, at any look ever, in at most 5 %. The price is width: about half as much again where one would have looked.

Behind each is a likelihood ratio, mixed over what the effect might be, which under the hypothesis is a martingale that starts at 1:
by Ville's inequality it ever reaches `1 / alpha` with probability `alpha` at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .estimate import Estimate, check_confidence
from .moments import Moments

PLANNED = 1_000
"""Users after which an interval is to be tightest, where nobody says. With 20 times as many it is a tenth wider than it could be; with a
tenth of them it may say nothing."""


def rate_confidence_sequence(total: float, n: int, confidence: float = 0.95) -> Estimate:
    """A rate with an interval that holds at every look: exact, at any `n`, for values in [0, 1].

    The mixture is Beta(1/2, 1/2). The ratio of a yes-or-no likelihood is convex in the value, so that what holds for yes and no holds
    for any values in [0, 1] with that mean, a user's own rate among them. Source: Howard et al., "Time-uniform, Nonparametric,
    Nonasymptotic Confidence Sequences" (2018, arXiv:1810.08240), sections 3.1 and 3.2; Robbins, "Statistical Methods Related to the
    Law of the Iterated Logarithm" (1970).

    Args:
        total (`float`):
            Sum of the values, in [0, `n`].
        n (`int`):
            Values: independent ones, such as one a user.
        confidence (`float`, *optional*, defaults to `0.95`):
            That the rate is within the interval at all looks, in (0, 1).

    Returns:
        `Estimate`: the rate `total / n` in [0, 1] and its interval.

    Raises:
        ValueError: If `n` is less than 1, `total` is not in [0, `n`] or `confidence` is not in (0, 1).

    Example:
    ```python
    >>> from rlhf_ext.stats import rate_confidence_sequence, wilson

    >>> print(rate_confidence_sequence(30, 1000), wilson(30, 1000))
    0.030 [0.014, 0.054] 0.030 [0.021, 0.043]

    ```
    """
    check_confidence(confidence)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}: a rate of no rows is not defined")
    if not 0 <= total <= n:
        raise ValueError(f"total must be in [0, {n}], got {total}")
    rate = total / n
    mixed = _log_beta(0.5 + total, 0.5 + n - total) - _log_beta(0.5, 0.5)

    def within(mean: float) -> bool:
        if mean in (0.0, 1.0):
            return False  # both kinds of values were seen, or parts of them
        likelihood = total * math.log(mean) + (n - total) * math.log1p(-mean)
        return mixed - likelihood < -math.log(1 - confidence)

    low = 0.0 if rate == 0 else _edge(within, rate, 0.0)
    high = 1.0 if rate == 1 else _edge(within, rate, 1.0)
    return Estimate(rate, low, high, n, confidence)


def mean_confidence_sequence(values: Moments, confidence: float = 0.95, planned: int = PLANNED) -> Estimate:
    """A mean with an interval that holds at every look, for values of any unit.

    As [`difference_confidence_sequence`], with one group. For values in [0, 1] [`rate_confidence_sequence`] is exact.

    Args:
        values ([`Moments`]):
            Of independent values, such as one a user.
        confidence (`float`, *optional*, defaults to `0.95`):
            That the mean is within the interval at all looks, in (0, 1).
        planned (`int`, *optional*, defaults to `1_000`):
            Values after which the interval is to be tightest.

    Returns:
        `Estimate`: the mean, and its interval; infinite where that many values can say nothing.

    Raises:
        ValueError: If there is no value, or a setting is not in its range.

    Example:
    ```python
    >>> from rlhf_ext.stats import Moments, mean_confidence_sequence

    >>> print(mean_confidence_sequence(Moments.of([0.0, 1.0] * 500)))
    0.500 [0.452, 0.548]

    ```
    """
    if values.n < 1:
        raise ValueError("n must be at least 1: a mean of no rows is not defined")
    error = math.sqrt(values.variance / values.n) if values.n > 1 else math.nan
    reach = _reach(values.n, max(1, values.n - 1), confidence, planned)
    half = error * reach if error > 0 else math.inf
    return Estimate(values.mean, values.mean - half, values.mean + half, values.n, confidence)


def difference_confidence_sequence(
    before: Moments, after: Moments, confidence: float = 0.95, planned: int = PLANNED, rates: bool = False
) -> Estimate:
    """The difference of the means of two groups, of any sizes, with an interval that holds at every look.

    A normal mixture of effects, with Student's tails in place of the normal ones, which keeps the level with few users as well. It is
    asymptotic: exact for normal values of equal spread, and for others in so far as the mean of so many is about normal. Two things keep
    the level where one group is small and its values are skewed, so that its own spread says too little (without them, with 5 % of users
    in one group, up to 60 % of comparisons of equals raise an alarm): a group's variance counts at least as much as that of both pooled;
    and for values in [0, 1] one pseudo-value at each end is added in the error. Sources: Johari et al., "Always Valid
    Inference" (2015, arXiv:1512.04922); Waudby-Smith et al., "Time-uniform Central Limit Theory and Asymptotic Confidence Sequences"
    (2021, arXiv:2103.06476), for the form and the tuning; Lindon et al., "Anytime-Valid Linear Models and Regression Adjusted Causal
    Inference" (2022, arXiv:2210.08589), for the tails; Agresti and Caffo, "Simple and Effective Confidence Intervals for Proportions
    and Differences of Proportions", The American Statistician 54 (2000).

    Args:
        before ([`Moments`]), after ([`Moments`]):
            Of independent values: one for each unit that was randomised, such as the mean of a user's. Who is in which group must have
            been drawn by lot, with shares that did not change.
        confidence (`float`, *optional*, defaults to `0.95`):
            That the difference is within the interval at all looks, in (0, 1).
        planned (`int`, *optional*, defaults to `1_000`):
            Values of both groups after which the interval is to be tightest. It holds for any; set it before looking.
        rates (`bool`, *optional*, defaults to `False`):
            Whether values are in [0, 1].

    Returns:
        `Estimate`: `after - before`, in the values' unit; `n` counts both. Infinite ends where that many can say nothing.

    Raises:
        ValueError: If a group is empty, or a setting is not in its range.

    Example:
    ```python
    >>> from rlhf_ext.stats import Moments, difference_confidence_sequence

    >>> control, variant = Moments.of([0.0, 1.0] * 1000), Moments.of([0.0, 1.0, 1.0, 1.0] * 125)
    >>> print(difference_confidence_sequence(control, variant, rates=True))
    0.25 [0.17, 0.33]

    ```
    """
    value, error, freedom = _difference(before, after, rates)
    n = before.n + after.n
    reach = _reach(n, freedom, confidence, planned)
    half = error * reach if error > 0 else math.inf
    low, high = value - half, value + half
    if rates:
        low, high = max(-1.0, low), min(1.0, high)
    return Estimate(value, low, high, n, confidence)


def difference_p_value(
    before: Moments, after: Moments, confidence: float = 0.95, planned: int = PLANNED, rates: bool = False
) -> float:
    """How likely so clear a difference is at any look, if there is none: an always-valid p-value.

    It agrees with [`difference_confidence_sequence`]: it is at most `1 - confidence` where that interval excludes 0. Of several looks
    the smallest may be taken.

    Args:
        before ([`Moments`]), after ([`Moments`]), confidence (`float`), planned (`int`), rates (`bool`):
            As there; `confidence` tunes the mixture.

    Returns:
        `float`: in (0, 1].

    Raises:
        ValueError: As there.

    Example:
    ```python
    >>> from rlhf_ext.stats import Moments, difference_p_value

    >>> difference_p_value(Moments.of([0.0, 1.0] * 100), Moments.of([0.0, 1.0] * 100), rates=True)
    1.0

    ```
    """
    value, error, freedom = _difference(before, after, rates)
    ratio = _ratio(before.n + after.n, confidence, planned)
    if not error > 0:
        return 1.0
    squared = (value / error) ** 2
    grown = math.log1p(squared / freedom) - math.log1p(squared / (freedom * (1 + ratio)))
    return min(1.0, math.exp(0.5 * math.log1p(ratio) - (freedom + 1) / 2 * grown))


def _difference(before: Moments, after: Moments, rates: bool) -> tuple[float, float, float]:
    """The difference, its standard error (0 or NaN where unknown) and Welch's degrees of freedom."""
    if not (before.n and after.n):
        raise ValueError(f"both groups need values, got {before.n} and {after.n}")
    value = after.mean - before.mean
    if min(before.n, after.n) < 2:
        return value, 0.0, 1.0
    spread = [spread / group.n for spread, group in zip(_spreads(before, after, rates), (before, after), strict=True)]
    total = sum(spread)
    if not total > 0:
        return value, 0.0, 1.0
    parts = sum(part * part / (group.n - 1) for part, group in zip(spread, (before, after), strict=True))
    return value, math.sqrt(total), total * total / parts


def _spreads(before: Moments, after: Moments, rates: bool) -> tuple[float, float]:
    """The variance that each group's values count with."""
    pooled = (before.squares + after.squares) / (before.n + after.n - 2)
    groups = [group.added(0.0).added(1.0) if rates else group for group in (before, after)]
    return max(groups[0].variance, pooled), max(groups[1].variance, pooled)


def _ratio(n: float, confidence: float, planned: int) -> float:
    """Variance of the mixed effects over that of the estimate, so that the interval is tightest at `planned`."""
    check_confidence(confidence)
    if planned < 1:
        raise ValueError(f"planned must be at least 1, got {planned}")
    doubled = -2 * math.log(1 - confidence)
    return n / planned * (doubled + math.log(doubled) + 1)


def _reach(n: float, freedom: float, confidence: float, planned: int) -> float:
    """How many standard errors the interval reaches to each side."""
    ratio = _ratio(n, confidence, planned)
    grown = math.exp((math.log1p(ratio) - 2 * math.log(1 - confidence)) / (freedom + 1))
    if grown >= 1 + ratio:
        return math.inf
    return math.sqrt(freedom * (grown - 1) / (1 - grown / (1 + ratio)))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _edge(within: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where an interval ends, between a point inside and one not; outwards by less than 1e-12."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if within(middle) else (inside, middle)
    return outside
