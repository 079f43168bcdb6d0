"""Figures of an evaluation: rates, means and their paired changes, where several answers may share a prompt."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, check_lengths, paired_difference
from .estimate import Estimate
from .rates import wilson

Clusters = Sequence[Hashable] | NDArray[Any]


def clustered_mean(
    values: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean of scores with an interval from resampling whole clusters (the answers to one prompt).

    Args:
        values (`list[float | None]` or 1-D array):
            One score a row, in any unit. `None` and NaN rows are left out.
        clusters (`list`, *optional*):
            One label a row; rows with equal labels are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean, in the scores' unit; `n` is the number of rows used.

    Raises:
        ValueError: As [`paired_difference`].

    Example:
    ```python
    >>> from rlhf_ext.stats import clustered_mean

    >>> clustered_mean([3.0, 5.0, None, 4.0], clusters=["a", "a", "b", "b"]).value
    4.0

    ```
    """
    return paired_difference(np.zeros(len(values)), values, clusters, confidence, resamples, seed)


def clustered_rate(
    values: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """A rate with Wilson's interval where each cluster has one row, else with one from resampling whole clusters.

    Where every row says the same, resampling would show no doubt at all; then it is Wilson's interval for as many rows as
    there are clusters.

    Args:
        values (`list[float | None]` or 1-D array):
            One value a row, in [0, 1]: yes and no, or shares. `None` and NaN rows are left out.
        clusters (`list`, *optional*):
            One label a row, such as the prompt that an answer is to.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean of the values, in [0, 1]; `n` is the number of rows used.

    Raises:
        ValueError: If a value is not in [0, 1] (the row is named), or as [`paired_difference`].

    Example:
    ```python
    >>> from rlhf_ext.stats import clustered_rate, wilson

    >>> clustered_rate([1, 0, 0, 0]) == wilson(1, 4)
    True
    >>> print(clustered_rate([0] * 400, clusters=[prompt for prompt in range(100) for _ in range(4)]))
    0.000 [0.000, 0.037]

    ```
    """
    column, labels = _rates("values", values, clusters)
    used = column[~np.isnan(column)]
    groups = len({label for label, value in zip(labels, column, strict=True) if value == value})
    whole = bool(np.isin(used, (0.0, 1.0)).all())
    if whole and len(used) and (groups == len(used) or len(set(used)) == 1):
        found = wilson(round(used[0] * groups) if groups < len(used) else int(used.sum()), groups, confidence)
        return Estimate(found.value, found.low, found.high, len(used), confidence)
    return clustered_mean(column, labels, confidence, resamples, seed)


def rate_difference(
    before: Scores,
    after: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The change of a rate on the same rows: [`paired_difference`], which also says something where no row changed.

    Where each row changed by the same (mostly: none changed at all), resampling shows no doubt, and the interval would be
    a point. As in the rule of three, a share of clusters may still change that none of `n` showed: up to Wilson's upper
    bound for 0 of `n`.

    Args:
        before (`list[float | None]` or 1-D array), after (`list[float | None]` or 1-D array):
            Values of the same rows in the same order, in [0, 1]. A pair is left out where either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a row; rows with equal labels are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean of `after - before`, in [-1, 1]; `n` is the number of pairs used.

    Raises:
        ValueError: If a value is not in [0, 1] (the row is named), or as [`paired_difference`].

    Example:
    ```python
    >>> from rlhf_ext.stats import rate_difference

    >>> print(rate_difference([0] * 100, [0] * 100))
    0.000 [-0.037, 0.037]

    ```
    """
    (first, labels), (second, _) = _rates("before", before, clusters), _rates("after", after, None)
    found = paired_difference(first, second, labels, confidence, resamples, seed)
    change = second - first
    if len(set(change[~np.isnan(change)])) > 1:
        return found
    groups = len({label for label, value in zip(labels, change, strict=True) if value == value})
    # A cluster that changes otherwise moves the mean by at most 1 from no change, and by 2 from one end to the other.
    reach = wilson(0, groups, confidence).high * (1 + abs(found.value))
    return Estimate(
        found.value, max(-1.0, found.value - reach), min(1.0, found.value + reach), found.n, found.confidence
    )


def _rates(name: str, values: Scores, clusters: Clusters | None) -> tuple[NDArray[np.float64], list[Hashable]]:
    column = as_column(name, values)
    outside = np.flatnonzero((column < 0) | (column > 1))
    if len(outside):
        raise ValueError(f"{name}[{outside[0]}] is {column[outside[0]]}; a rate has values in [0, 1], None or NaN")
    labels = list(range(len(column))) if clusters is None else list(clusters)
    check_lengths(name, len(column), "clusters", len(labels))
    return column, labels
