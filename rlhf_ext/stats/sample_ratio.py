"""Whether as many users are in each group as there should be: a sample ratio mismatch says that a comparison is broken."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .estimate import check_confidence
from .sequential import PLANNED


def sample_ratio_test(counts: Sequence[int], shares: Sequence[float]) -> float:
    """How likely counts this far from their shares are: Pearson's chi-square test, for one look.

    Args:
        counts (`Sequence[int]`):
            Users in each group.
        shares (`Sequence[float]`):
            What share of them was to be there; positive, summing to 1.

    Returns:
        `float`: the p-value, in [0, 1]; 1 where nobody was counted.

    Raises:
        ValueError: If lengths differ, there are fewer than two groups, a count is negative, or the shares are none.

    Example:
    ```python
    >>> from rlhf_ext.stats import sample_ratio_test

    >>> round(sample_ratio_test([5_100, 4_900], [0.5, 0.5]), 3)
    0.046

    ```
    """
    n = _check(counts, shares)
    if not n:
        return 1.0
    statistic = sum((count - n * share) ** 2 / (n * share) for count, share in zip(counts, shares, strict=True))
    return _chi_square_above(statistic, len(counts) - 1)


def always_valid_sample_ratio(
    counts: Sequence[int], shares: Sequence[float], confidence: float = 0.99, planned: int = PLANNED
) -> float:
    """The same for counts that are looked at again and again: an always-valid p-value, exact at any size.

    The likelihood of the counts under shares from a Dirichlet distribution around the given ones, against that under the given ones.
    Source: Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (2020, arXiv:2011.03567).

    Args:
        counts (`Sequence[int]`), shares (`Sequence[float]`):
            As in [`sample_ratio_test`].
        confidence (`float`, *optional*, defaults to `0.99`):
            For what level it is tuned, in (0, 1).
        planned (`int`, *optional*, defaults to `1_000`):
            Users after which it is to be most sensitive. It holds for any; set it before looking.

    Returns:
        `float`: in (0, 1]. Under the right shares it is ever at most `alpha` with probability `alpha` at most.

    Raises:
        ValueError: As [`sample_ratio_test`], or if a setting is not in its range.

    Example:
    ```python
    >>> from rlhf_ext.stats import always_valid_sample_ratio

    >>> always_valid_sample_ratio([5_100, 4_900], [0.5, 0.5]) > 0.5, always_valid_sample_ratio([5_400, 4_600], [0.5, 0.5]) < 1e-9
    (True, True)

    ```
    """
    _check(counts, shares)
    check_confidence(confidence)
    if planned < 1:
        raise ValueError(f"planned must be at least 1, got {planned}")
    doubled = -2 * math.log(1 - confidence)
    weight = planned / (doubled + math.log(doubled) + 1)
    prior = [weight * share for share in shares]
    after = [a + count for a, count in zip(prior, counts, strict=True)]
    log_ratio = _log_beta(after) - _log_beta(prior)
    log_ratio -= sum(count * math.log(share) for count, share in zip(counts, shares, strict=True))
    return min(1.0, math.exp(-log_ratio))


def _check(counts: Sequence[int], shares: Sequence[float]) -> int:
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError(f"two or more groups have a count and a share each, got {len(counts)} and {len(shares)}")
    for row, (count, share) in enumerate(zip(counts, shares, strict=True)):
        if count < 0:
            raise ValueError(f"counts[{row}] is {count}; a count is 0 or more")
        if not share > 0:
            raise ValueError(f"shares[{row}] is {share}; leave out groups that nobody is to be in")
    if abs(math.fsum(shares) - 1) > 1e-9:
        raise ValueError(f"shares must sum to 1, got {list(shares)}")
    return sum(counts)


def _log_beta(weights: Sequence[float]) -> float:
    return math.fsum(math.lgamma(weight) for weight in weights) - math.lgamma(math.fsum(weights))


def _chi_square_above(statistic: float, freedom: int) -> float:
    """P(X > statistic) for a chi-square variable, in closed form for whole degrees of freedom."""
    half = statistic / 2
    if freedom % 2 == 0:
        terms, start = range(freedom // 2), 0.0
    else:
        terms, start = range((freedom - 1) // 2), math.erfc(math.sqrt(half))
    shift = 0.5 if freedom % 2 else 0.0
    if not half:
        return 1.0
    return start + math.fsum(math.exp((i + shift) * math.log(half) - half - math.lgamma(i + 1 + shift)) for i in terms)
