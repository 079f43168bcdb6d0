"""What each case contributes to a figure that is no mean of rows: macro-F1, corpus BLEU, a ratio of sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np


def contributions(
    statistic: Callable[[list[Any]], float],
    rows: Sequence[Any],
    clusters: Sequence[Hashable] | None = None,
    most: int = 200,
) -> list[float]:
    """One number a cluster whose mean is the statistic, and whose spread is the statistic's: its influence values.

    They let what is computed over all rows at once be treated as a mean is: intervals by resampling them, and changes
    between two models by pairing them case by case. The one of cluster i is `theta + (n - 1) (mean(theta_without) -
    theta_without_i)`, so that their mean is the statistic itself (not its jackknife correction) and their variance over n
    the jackknife's. Good for what moves little with any one case (counts, sums, ratios, F-scores, BLEU), not for medians
    or maxima. Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 11 and 20.

    Args:
        statistic (`Callable`):
            Called with a list of rows; gives a finite number, also where a cluster is left out.
        rows (`Sequence`):
            What the statistic is computed of, in any form.
        clusters (`Sequence`, *optional*):
            One label a row; rows with equal labels are left out together.
        most (`int`, *optional*, defaults to `200`):
            Calls with something left out. With more clusters than that they are left out in as many groups, whose members
            share what their group contributes, spread as wide as members of their own would be.

    Returns:
        `list[float]`: one a cluster, in the order of their first rows.

    Raises:
        ValueError: If there is no row, lengths differ, `most` is below 2, or the statistic is not finite.

    Example:
    ```python
    >>> from rlhf_ext.stats.contributions import contributions

    >>> ratio = lambda rows: sum(a for a, _ in rows) / sum(b for _, b in rows)
    >>> found = contributions(ratio, [(1, 2), (3, 4), (0, 2)])
    >>> sum(found) / 3 == ratio([(1, 2), (3, 4), (0, 2)])
    True

    ```
    """
    if not rows:
        raise ValueError("there are no rows")
    if most < 2:
        raise ValueError(f"most must be at least 2, got {most}")
    labels = list(range(len(rows))) if clusters is None else list(clusters)
    if len(labels) != len(rows):
        raise ValueError(f"there are {len(rows)} rows and {len(labels)} clusters")
    number: dict[Hashable, int] = {}
    units = [number.setdefault(label, len(number)) for label in labels]
    count = len(number)
    whole = _finite(statistic(list(rows)), "all rows")
    if count == 1:
        return [whole]
    groups = min(count, most)
    without = np.array(
        [
            _finite(
                statistic([row for row, unit in zip(rows, units, strict=True) if unit % groups != group]),
                f"the rows without group {group}",
            )
            for group in range(groups)
        ]
    )
    # A group of m clusters varies by 1 / m of what a cluster does.
    stretch = math.sqrt(count / groups) * (groups - 1)
    members = np.arange(count) % groups
    off = stretch * (without.mean() - without)[members]
    return (whole + (off - off.mean())).tolist()


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"the statistic of {where} is {value}; it must be finite")
    return float(value)
