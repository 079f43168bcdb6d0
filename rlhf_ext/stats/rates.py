"""Rates of yes and no."""

from __future__ import annotations

import math
import operator
from statistics import NormalDist

from .estimate import Estimate, check_confidence


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """A rate with Wilson's score interval: win rates, refusal rates, pass rates.

    Stays inside [0, 1] and holds its level for small `n` and for rates near 0 or 1, where the textbook interval
    (rate plus or minus 1.96 standard errors) does not. Source: Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference", JASA 22 (1927); Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion",
    Statistical Science 16 (2001).

    Args:
        successes (`int`):
            Rows in which it happened, in [0, `n`].
        n (`int`):
            All rows, at least 1.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).

    Returns:
        `Estimate`: the rate `successes / n` in [0, 1] and its interval.

    Raises:
        ValueError: If `n` is 0, `successes` is not in [0, `n`] or `confidence` is not in (0, 1).
        TypeError: If a count is not a whole number.

    Example:
    ```python
    >>> from rlhf_ext.stats import wilson

    >>> print(wilson(15, 50))
    0.30 [0.19, 0.44]
    ```
    """
    successes, n = operator.index(successes), operator.index(n)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}: a rate of no rows is not defined")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in [0, {n}], got {successes}")
    return Estimate(successes / n, *wilson_ends(successes / n, n, confidence), n, confidence)


def wilson_ends(rate: float, n: float, confidence: float) -> tuple[float, float]:
    """The ends of Wilson's interval for a rate in [0, 1]; neither the successes nor the rows need be whole numbers."""
    check_confidence(confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    # At the ends the interval reaches 0 or 1 exactly; rounding would miss it by 1e-17.
    low = 0.0 if rate == 0 else max(0.0, centre - half)
    high = 1.0 if rate == 1 else min(1.0, centre + half)
    return low, high


def rule_of_three(n: int) -> float:
    """Upper 95 % bound of a rate of which no event was seen in `n` rows: `3 / n`.

    For "no unsafe answer in 200 prompts": it does not show that the rate is 0, only that it is likely below 1.5 %. The
    bound is one-sided; `wilson(0, n)` gives the upper end of a two-sided interval, which lies higher. Source: Hanley
    and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249 (1983).

    Args:
        n (`int`):
            Rows looked at, at least 1.

    Returns:
        `float`: the bound, in (0, 1]; 1 where `n` is 3 or less.

    Raises:
        ValueError: If `n` is less than 1.

    Example:
    ```python
    >>> from rlhf_ext.stats import rule_of_three

    >>> rule_of_three(200)
    0.015
    ```
    """
    if operator.index(n) < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return min(1.0, 3 / n)
