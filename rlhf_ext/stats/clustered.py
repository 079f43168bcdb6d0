"""Figures of an evaluation: rates, means and their paired changes, where several answers may share a prompt."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, check_lengths, paired_difference
from .estimate import Estimate
from .rates import wilson, wilson_ends

Clusters = Sequence[Hashable] | NDArray[Any]

_FEW = 5


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
    contributed: bool = False,
) -> Estimate:
    """A rate with an interval that knows which answers share a prompt.

    For yes and no it is Wilson's interval, for as many rows as the answers are worth: where they do not share prompts, all of
    them, else fewer by the design effect, by which the variance of the rate over clusters is larger than over rows of their own.
    Where fewer than five clusters say anything else than the rest, that cannot be told, and each cluster counts as one row.
    Resampling clusters, in its place, leaves out the true rate in up to a third of all cases where an event is rare
    (`benchmarks/evaluation_aa.py`); it is used for shares. Source: Kish, "Survey Sampling" (1965); Korn and
    Graubard, "Confidence Intervals for Proportions With Small Expected Number of Positive Counts Estimated From Survey Data",
    Survey Methodology 24 (1998).

    Args:
        values (`list[float | None]` or 1-D array):
            One value a row, in [0, 1]: yes and no, or shares. `None` and NaN rows are left out.
        clusters (`list`, *optional*):
            One label a row, such as the prompt that an answer is to.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.
        contributed (`bool`, *optional*, defaults to `False`):
            Whether the values are [`contributions`] to a figure in [0, 1], such as macro-F1: they may lie outside of it.

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
    column, labels = _rates("values", values, clusters, contributed)
    used = column[~np.isnan(column)]
    if len(used) and np.isin(used, (0.0, 1.0)).all():
        kept = [label for label, value in zip(labels, column, strict=True) if value == value]
        rate = float(used.mean())
        return Estimate(rate, *wilson_ends(rate, _worth(used, kept), confidence), len(used), confidence)
    found = clustered_mean(column, labels, confidence, resamples, seed)
    return _within(found, 0.0) if contributed else found


def _worth(values: NDArray[np.float64], labels: Sequence[Hashable]) -> float:
    """As many rows of their own as clustered yes-and-no values are worth, between the number of clusters and that of rows."""
    groups = len(set(labels))
    others = min(len({label for label, value in zip(labels, values, strict=True) if value == one}) for one in (0, 1))
    if groups == len(values) or others < _FEW:
        return groups
    rate, off = values.mean(), dict.fromkeys(labels, 0.0)
    for label, value in zip(labels, values, strict=True):
        off[label] += value - rate
    clustered = sum(value * value for value in off.values()) * groups / (groups - 1) / len(values) ** 2
    return float(len(values) / max(1.0, clustered * len(values) / (rate * (1 - rate))))


def rate_difference(
    before: Scores,
    after: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    contributed: bool = False,
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
        contributed (`bool`, *optional*, defaults to `False`):
            Whether the values are [`contributions`] to a figure in [0, 1].

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
    first, labels = _rates("before", before, clusters, contributed)
    second, _ = _rates("after", after, None, contributed)
    found = paired_difference(first, second, labels, confidence, resamples, seed)
    change = second - first
    if len(set(change[~np.isnan(change)])) > 1:
        return _within(found, -1.0) if contributed else found
    groups = len({label for label, value in zip(labels, change, strict=True) if value == value})
    # A cluster that changes otherwise moves the mean by at most 1 from no change, and by 2 from one end to the other.
    reach = wilson(0, groups, confidence).high * (1 + abs(found.value))
    return Estimate(
        found.value, max(-1.0, found.value - reach), min(1.0, found.value + reach), found.n, found.confidence
    )


def _within(found: Estimate, lowest: float) -> Estimate:
    """An interval cut at what the figure can be."""
    low, high = (max(lowest, min(1.0, end)) for end in (found.low, found.high))
    return Estimate(found.value, low, high, found.n, found.confidence)


def _rates(
    name: str, values: Scores, clusters: Clusters | None, contributed: bool
) -> tuple[NDArray[np.float64], list[Hashable]]:
    column = as_column(name, values)
    outside = np.flatnonzero((column < 0) | (column > 1))
    if len(outside) and not contributed:
        raise ValueError(f"{name}[{outside[0]}] is {column[outside[0]]}; a rate has values in [0, 1], None or NaN")
    labels = list(range(len(column))) if clusters is None else list(clusters)
    check_lengths(name, len(column), "clusters", len(labels))
    return column, labels
