"""Intervals from resampling rows: of means, of paired changes, of any statistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate, check_confidence

Scores: TypeAlias = Sequence[float | None] | NDArray[Any]
"""One score a row; `None` or NaN where it does not apply."""

# Resampled values held at once: about 50 MB, so that a bootstrap over 100,000 rows fits on a small machine.
_BLOCK = 2_000_000


def bootstrap_mean(values: Scores, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """The mean of scores of any distribution, with a percentile bootstrap interval.

    For rates of yes and no use [`wilson`]; for the change between two models on the same prompts use
    [`paired_difference`]. With fewer than about 20 rows the interval is narrower than it should be. One row says
    nothing about spread: its interval is infinite. Source: Efron and Tibshirani, "An Introduction to the Bootstrap"
    (1993), chapter 13.

    Args:
        values (`list[float | None]` or 1-D array):
            One score a row, in any unit. `None` and NaN rows are left out.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples, at least 1; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean, in the scores' unit; `n` is the number of rows used.

    Raises:
        ValueError: If there is no row, every row is left out, or a score is infinite (the row is named).

    Example:
    ```python
    >>> from rlhf_ext.stats import bootstrap_mean

    >>> estimate = bootstrap_mean([0.0, 1.0, None, 1.0, 1.0])
    >>> estimate.value, estimate.n
    (0.75, 4)
    ```
    """
    scores = as_column("values", values)
    used = scores[~np.isnan(scores)]
    if not len(used):
        raise ValueError(f"values: all {len(scores)} rows are None or NaN; no mean is left to estimate")
    return _bootstrap(used, np.arange(len(used)), float(np.abs(used).max()), confidence, resamples, seed)


def paired_difference(
    before: Scores,
    after: Scores,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean change `after - before` on the same rows, with a percentile bootstrap interval.

    Pairing takes out what the rows have in common (some prompts are hard for every model), so it sees smaller changes
    than two separate intervals do. Rows that are not independent (several samples of one prompt, turns of one
    conversation) must share a cluster: whole clusters are then resampled, and the interval widens to what they are
    worth. With fewer than about 20 pairs or clusters the interval is narrower than it should be; with one it is
    infinite. Source: Field and Welsh, "Bootstrapping clustered data", JRSS B 69 (2007); for language models Miller,
    "Adding Error Bars to Evals" (https://huggingface.co/papers/2411.00640).

    Args:
        before (`list[float | None]` or 1-D array):
            One score a row, in any unit.
        after (`list[float | None]` or 1-D array):
            Scores of the same rows, in the same order and unit. A pair is left out where either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a row; rows with equal labels are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples, at least 1; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean of the differences, in the scores' unit; `n` is the number of pairs used.

    Raises:
        ValueError: If the lengths differ, there is no row, every pair is left out, a score is infinite or a cluster's
            label is `None` (the row is named).

    Example:
    ```python
    >>> from rlhf_ext.stats import paired_difference

    >>> change = paired_difference(before=[0.1, 0.4, None, 0.3], after=[0.3, 0.6, 0.9, 0.4])
    >>> round(change.value, 3), change.n
    (0.167, 3)
    ```
    """
    first, second = as_column("before", before), as_column("after", after)
    check_lengths("before", len(first), "after", len(second))
    labels = _labels("before", len(first), clusters)
    change = second - first
    kept = ~np.isnan(change)
    if not kept.any():
        raise ValueError(f"all {len(change)} pairs have a None or NaN score; no difference is left to estimate")
    units = _units([labels[row] for row in np.flatnonzero(kept).tolist()])
    scale = float(np.abs([first[kept], second[kept]]).max())
    return _bootstrap(change[kept], units, scale, confidence, resamples, seed)


def bootstrap(
    statistic: Callable[..., float],
    *columns: Sequence[Any] | NDArray[Any],
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    pivotal: bool = False,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Any statistic of rows (a correlation, a slope, a calibration error), with a bootstrap interval.

    For a mean use [`bootstrap_mean`], which is quicker. Rows are resampled with replacement, the same ones in every
    column; a row may itself be a row of a matrix (the samples of one prompt), which then stays together. Rows that are
    not independent share a cluster, and whole clusters are resampled. Where the
    statistic is not defined (NaN) in more than a twentieth of the resamples, the data cannot say: the interval is
    infinite. Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), chapters 2 and 5.

    Args:
        statistic (`Callable`):
            Called with one array a column; gives a number, NaN where it is not defined.
        *columns (`list` or array, first axis of length `n`):
            The rows' values, in the same order in every column.
        clusters (`list`, *optional*):
            One label a row; rows with equal labels are resampled together.
        pivotal (`bool`, *optional*, defaults to `False`):
            The interval is reflected at the value (`2 value - quantile`) in place of the quantiles themselves: for what
            chance alone drives away from its true value, such as a calibration error, which is never negative.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples, at least 1; the same seed gives the same interval.

    Returns:
        `Estimate`: the statistic of all rows, in its own unit; `n` is the number of rows.

    Raises:
        ValueError: If there is no column or row, lengths differ, a cluster's label is `None`, or the statistic of all
            rows is not finite.

    Example:
    ```python
    >>> import numpy as np
    >>> from rlhf_ext.stats import bootstrap

    >>> estimate = bootstrap(np.median, [1.0, 2.0, 3.0, 4.0, 9.0])
    >>> estimate.value, estimate.n
    (3.0, 5)
    ```
    """
    check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    arrays = [np.asarray(column) for column in columns]
    if not arrays or not len(arrays[0]):
        raise ValueError("there are no rows")
    n = len(arrays[0])
    for number, array in enumerate(arrays):
        check_lengths("column 0", n, f"column {number}", len(array))
    value = float(statistic(*arrays))
    if not math.isfinite(value):
        raise ValueError(f"the statistic of all {n} rows is {value}; it must be finite")
    rng = np.random.default_rng(seed)
    units = _units(_labels("column 0", n, clusters))
    count = int(units.max()) + 1
    rows_of = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
    found = np.empty(resamples)
    for i in range(resamples):
        picked = rng.integers(count, size=count)
        rows = picked if count == n else np.concatenate([rows_of[unit] for unit in picked])
        found[i] = statistic(*(array[rows] for array in arrays))
    found = found[np.isfinite(found)]
    if count == 1 or len(found) < 0.95 * resamples:
        return Estimate(value, -math.inf, math.inf, n, confidence)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    if pivotal:
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    return Estimate(value, float(low), float(high), n, confidence)


def _bootstrap(
    values: NDArray[np.float64], units: NDArray[Any], scale: float, confidence: float, resamples: int, seed: int
) -> Estimate:
    """Mean of `values` with an interval from resampling whole units; `units[i]` is the unit of `values[i]`.

    `scale` is the largest size of a score: what is smaller by twelve digits is rounding.
    """
    check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    sums, counts = np.bincount(units, weights=values), np.bincount(units)
    value, n = float(values.mean()), len(values)
    if len(sums) == 1:
        return Estimate(value, -math.inf, math.inf, n, confidence)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _BLOCK // len(sums))
    for start in range(0, resamples, step):
        picked = rng.integers(len(sums), size=(min(step, resamples - start), len(sums)))
        means[start : start + step] = sums[picked].sum(axis=1) / counts[picked].sum(axis=1)
    ends = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    # 0.1 + 0.2 - 0.3 is 5.6e-17: without this, rounding alone could make an interval exclude 0, or give a width to one
    # that has none.
    ends[np.abs(ends - value) < 1e-12 * scale] = value
    ends[np.abs(ends) < 1e-12 * scale] = 0.0
    return Estimate(value, float(ends[0]), float(ends[1]), n, confidence)


def as_column(name: str, values: Scores) -> NDArray[np.float64]:
    column = np.array([math.nan if value is None else float(value) for value in values])
    if not len(column):
        raise ValueError(f"{name} is empty")
    infinite = np.flatnonzero(np.isinf(column))
    if len(infinite):
        raise ValueError(f"{name}[{infinite[0]}] is {column[infinite[0]]}; a score must be finite, None or NaN")
    return column


def _labels(name: str, length: int, clusters: Sequence[Hashable] | NDArray[Any] | None) -> Sequence[Hashable]:
    labels: Sequence[Hashable] = range(length) if clusters is None else list(clusters)
    check_lengths(name, length, "clusters", len(labels))
    for row, label in enumerate(labels):
        if label is None:
            raise ValueError(f"clusters[{row}] is None; every row needs a label")
    return labels


def _units(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """Numbers of the clusters, from 0 in the order of their first rows."""
    # A dict rather than np.unique: labels may be of any hashable type, mixed even.
    unit_of: dict[Hashable, int] = {}
    return np.array([unit_of.setdefault(label, len(unit_of)) for label in labels])


def check_lengths(name: str, length: int, other: str, other_length: int) -> None:
    if length != other_length:
        row = min(length, other_length)
        raise ValueError(f"{name} has {length} rows and {other} {other_length}: row {row} is missing in one of them")
