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

    "No clear change" is worth as much as this is small. For a mean it is `(z(1 - alpha / 2) + z(power))` times the standard
    error of the mean change, over clusters. A change `d` of a rate also spreads: a share `d` of the clusters changes that did
    not here, which adds up to `d (1 - d)` to their variance, so that `d` solves a quadratic; it is seen at least as often as
    `power` says. Where nothing changed at all that leaves `z ** 2 / (n + z ** 2)`. Source: Miller, "Adding Error Bars to
    Evals" (https://huggingface.co/papers/2411.00640), section 5; for paired rates Connor, "Sample Size for Testing Differences
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
    0.105

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
    error = math.sqrt(spread) / int(kept.sum())
    if rate:
        inverse = groups / (z * z) + 1
        return min(1.0, (1 + math.sqrt(1 + 4 * groups * error * error * inverse)) / (2 * inverse))
    scale = float(np.nanmax(np.abs([first, second])))
    return z * error if error > 1e-12 * scale else math.nan
