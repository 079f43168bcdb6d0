"""What a comparison of this size could have seen."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, check_lengths
from .estimate import check_confidence


def detectable_difference(
    before: Scores,
    after: Scores,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    rate: bool = False,
    power: float = 0.8,
    confidence: float = 0.95,
) -> float:
    """The smallest true change that a paired comparison of this size and spread would mostly have seen.

    "No clear change" is worth as much as this is small. With the standard error of the mean change, over clusters, it is
    `(z(1 - alpha / 2) + z(power))` times that. A rate cannot change by `d` without a share `d` of the rows changing, however
    alike the models were here: so it is never less than `z ** 2 / (n + z ** 2)`. Source: Miller, "Adding Error Bars to
    Evals" (https://huggingface.co/papers/2411.00640), section 5; for the bound Connor, "Sample Size for Testing Differences
    in Proportions for the Paired-Sample Design", Biometrics 43 (1987).

    Args:
        before (`list[float | None]` or 1-D array), after (`list[float | None]` or 1-D array):
            Scores of the same rows in the same order and unit. A pair is left out where either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a row; the rows of one cluster count together.
        rate (`bool`, *optional*, defaults to `False`):
            Whether the scores are a rate's, in [0, 1].
        power (`float`, *optional*, defaults to `0.8`):
            How often it would have been seen, in (0, 1).
        confidence (`float`, *optional*, defaults to `0.95`):
            Of the two-sided interval that must exclude 0, in (0, 1).

    Returns:
        `float`: the change, in the scores' unit; for a rate at most 1. NaN where nothing can be said: one cluster alone, or
        means of which no row changed.

    Raises:
        ValueError: If lengths differ, a score is infinite, every pair is left out, or a setting is not in (0, 1).

    Example:
    ```python
    >>> from rlhf_ext.stats import detectable_difference

    >>> before, after = [0, 1] * 100, [0, 1, 1, 1] * 50
    >>> round(detectable_difference(before, after, rate=True), 3)
    0.086

    ```
    """
    check_confidence(confidence)
    if not 0 < power < 1:
        raise ValueError(f"power must be in (0, 1), got {power}")
    first, second = as_column("before", before), as_column("after", after)
    check_lengths("before", len(first), "after", len(second))
    labels = list(range(len(first))) if clusters is None else list(clusters)
    check_lengths("before", len(first), "clusters", len(labels))
    change = second - first
    kept = ~np.isnan(change)
    if not kept.any():
        raise ValueError(f"all {len(change)} pairs have a None or NaN score; there is no difference")
    mean = float(change[kept].mean())
    off: dict[Hashable, float] = {}
    for label, value in zip(labels, change, strict=True):
        if not math.isnan(value):
            off[label] = off.get(label, 0.0) + float(value) - mean
    groups = len(off)
    if groups < 2:
        return math.nan
    normal = NormalDist()
    z = normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)
    spread = math.fsum(value * value for value in off.values()) * groups / (groups - 1)
    seen = z * math.sqrt(spread) / int(kept.sum())
    if rate:
        return min(1.0, max(seen, z * z / (groups + z * z)))
    scale = float(np.nanmax(np.abs([first, second])))
    return seen if seen > 1e-12 * scale else math.nan
