"""Resampling rows that are clustered in one way or in two: by what was asked, and by who answered."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, check_lengths
from .estimate import Estimate, check_confidence

Labels = Sequence[Hashable] | NDArray[Any]
Floats = NDArray[np.float64]

_BLOCK = 4_000_000


def two_way_mean(
    values: Scores,
    clusters: Labels,
    other_clusters: Labels,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """The mean of scores whose rows share an item with some rows and a person with others.

    Items and people are both drawn anew, each with replacement, and a row counts as often as its item and its person were
    drawn together: the interval says how the mean would vary with other items *and* other people. It is slightly too wide
    rather than too narrow. With fewer than about ten items or people it is a guess; with one of either it is infinite. Source:
    Owen, "The Pigeonhole Bootstrap", Annals of Applied Statistics 1 (2007, https://arxiv.org/abs/0712.1111).

    Args:
        values (`list[float | None]` or 1-D array):
            One score a row, in any unit. `None` and NaN rows are left out.
        clusters, other_clusters (`list`):
            Two labels a row: its item, and who said it.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `2_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the mean, in the scores' unit; `n` is the number of rows used.

    Raises:
        ValueError: If lengths differ, a score is infinite, a label is `None` or every row is left out.

    Example:
    ```python
    >>> from rlhf_ext.stats import two_way_mean

    >>> two_way_mean([3, 5, None, 4], ["a", "a", "b", "b"], ["ann", "ben", "ann", "ben"]).value
    4.0

    ```
    """
    column = as_column("values", values)
    for name, labels in (("clusters", clusters), ("other_clusters", other_clusters)):
        check_lengths("values", len(column), name, len(labels))
    kept = np.flatnonzero(~np.isnan(column))
    if not len(kept):
        raise ValueError(f"values: all {len(column)} rows are None or NaN; no mean is left to estimate")
    used = column[kept]
    kept_labels: list[Labels] = [[one[row] for row in kept.tolist()] for one in (clusters, other_clusters)]
    sums = [(weights @ used, weights.sum(axis=1)) for weights in row_weights(kept_labels, resamples, seed)]
    with np.errstate(invalid="ignore"):
        means = np.concatenate([total / weight for total, weight in sums])
    single = any(len(set(one)) == 1 for one in kept_labels)
    return percentile(float(used.mean()), means, len(used), confidence, unknown=single)


def row_weights(labels: Sequence[Labels], resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row counts in each resample: blocks of shape `(resamples of the block, rows)`.

    Args:
        labels (`list` of one or two lists):
            One label a row; units with equal labels are drawn together. With two, the weights are multiplied (Owen 2007).
        resamples (`int`), seed (`int`):
            How many, at least 1; the same seed gives the same weights.

    Raises:
        ValueError: If a label is `None` (its row is named), or `resamples` is below 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    units = [_numbered(one) for one in labels]
    rows = len(units[0])
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(rows, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = np.ones((size, rows))
        for one in units:
            count = int(one.max()) + 1
            weights *= rng.multinomial(count, np.full(count, 1 / count), size=size)[:, one]
        yield weights


def percentile(
    value: float,
    found: NDArray[Any],
    n: int,
    confidence: float = 0.95,
    unknown: bool = False,
    corrected: bool = False,
) -> Estimate:
    """An estimate whose interval holds the middle of what resamples gave.

    `corrected` takes the middle that the value's place among them asks for, where resampling is biased as the value itself is
    (the BC interval of Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987). Infinite where the middle is unknown,
    or where more than a twentieth of the resamples gave nothing (NaN): the data cannot say.
    """
    check_confidence(confidence)
    finite = found[np.isfinite(found)]
    if unknown or len(finite) < 0.95 * len(found):
        return Estimate(value, -math.inf, math.inf, n, confidence)
    normal, shares = NormalDist(), [(1 - confidence) / 2, (1 + confidence) / 2]
    if corrected:
        below, edge = ((finite < value).mean() + (finite <= value).mean()) / 2, 0.5 / len(finite)
        shift = 2 * normal.inv_cdf(min(max(float(below), edge), 1 - edge))
        shares = [normal.cdf(shift + normal.inv_cdf(share)) for share in shares]
    low, high = np.quantile(finite, shares)
    # The value of all rows may lie just outside of a percentile interval that has next to no width.
    return Estimate(value, min(float(low), value), max(float(high), value), n, confidence)


def _numbered(labels: Labels) -> NDArray[np.int64]:
    number_of: dict[Hashable, int] = {}
    for row, label in enumerate(labels):
        if label is None:
            raise ValueError(f"clusters[{row}] is None; every row needs a label")
        number_of.setdefault(label, len(number_of))
    return np.array([number_of[label] for label in labels])
