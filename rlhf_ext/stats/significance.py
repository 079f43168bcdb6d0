"""Whether a change is more than chance, for one figure and for many that are decided on together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, check_lengths

# Up to this many clusters that changed, all patterns of signs are counted rather than drawn.
_EXACT = 14
_BLOCK = 4_000_000


def sign_flip_test(
    before: Scores,
    after: Scores,
    clusters: Sequence[Hashable] | NDArray[Any] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """How likely a mean change at least this large is, either way, if the two models did not differ.

    If they do not, either's answers to a prompt could as well have been the other's: the sign of each cluster's change is
    flipped at random. For yes and no with one row a cluster that is McNemar's exact test. It holds its level at any
    number of rows, which a bootstrap does not where few rows changed. Source: Fisher, "The Design of Experiments"
    (1935), section 21; Phipson and Smyth, "Permutation P-values Should Never Be Zero" (2010, arXiv:1603.05766).

    Args:
        before (`list[float | None]` or 1-D array), after (`list[float | None]` or 1-D array):
            Scores of the same rows in the same order and unit. A pair is left out where either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a row; the rows of one cluster are flipped together.
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Patterns of signs that are drawn where more than 14 clusters changed; fewer are counted out.

    Returns:
        `float`: the two-sided p-value, in (0, 1]; 1 where nothing changed.

    Raises:
        ValueError: If lengths differ, a score is infinite, or every pair is left out.

    Example:
    ```python
    >>> from rlhf_ext.stats import sign_flip_test

    >>> sign_flip_test(before=[0] * 20, after=[1] * 6 + [0] * 14)  # 2 / 2 ** 6
    0.03125

    ```
    """
    first, second = as_column("before", before), as_column("after", after)
    check_lengths("before", len(first), "after", len(second))
    labels = list(range(len(first))) if clusters is None else list(clusters)
    check_lengths("before", len(first), "clusters", len(labels))
    change = second - first
    if np.isnan(change).all():
        raise ValueError(f"all {len(change)} pairs have a None or NaN score; there is nothing to test")
    sums: dict[Hashable, float] = {}
    for label, value in zip(labels, change, strict=True):
        if not math.isnan(value):
            sums[label] = sums.get(label, 0.0) + float(value)
    scale = float(np.nanmax(np.abs([first, second])))
    moved = np.array([value for value in sums.values() if abs(value) > 1e-12 * scale])
    if not len(moved):
        return 1.0
    # Sums that differ by rounding alone are equal: a tie counts as at least as large.
    seen = abs(moved.sum()) - 1e-9 * np.abs(moved).sum()
    if len(moved) <= _EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1)
        return float((np.abs(signs @ moved) >= seen).mean())
    rng, reached, step = np.random.default_rng(seed), 0, max(1, _BLOCK // len(moved))
    for start in range(0, resamples, step):
        signs = rng.integers(2, size=(min(step, resamples - start), len(moved)), dtype=np.int8) * 2 - 1
        reached += int((np.abs(signs @ moved) >= seen).sum())
    return (1 + reached) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of tests that are decided on together, adjusted so that the chance of any false alarm stays at the level.

    The smallest is multiplied by the number of tests, the next by one less, and none falls below one before it. It needs no
    independence and finds all that Bonferroni's correction finds. Source: Holm, "A Simple Sequentially Rejective Multiple
    Test Procedure", Scandinavian Journal of Statistics 6 (1979).

    Args:
        p_values (`list[float]`):
            One a test, in [0, 1].

    Returns:
        `list[float]`: the adjusted ones in the same order, in [0, 1], to be held against the level itself.

    Raises:
        ValueError: If one is not in [0, 1].

    Example:
    ```python
    >>> from rlhf_ext.stats import holm

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    ```
    """
    for row, p in enumerate(p_values):
        if not 0 <= p <= 1:
            raise ValueError(f"p_values[{row}] is {p}; a p-value is in [0, 1]")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, row in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[row]))
        adjusted[row] = largest
    return adjusted
