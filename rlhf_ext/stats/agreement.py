"""Agreement of labelers beyond chance: two of them, a fixed number, or any number with gaps.

Each coefficient is 1 where all agree, 0 where they agree as often as labels handed out at random would, and below 0
where they agree less. The intervals are from resampling items, so they say how the figure would vary over items like
these, with these labelers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .bootstraps import bootstrap
from .estimate import Estimate
from .ranks import average_ranks

Floats = NDArray[np.float64]


def cohen_kappa(
    a: Sequence[Any] | NDArray[Any],
    b: Sequence[Any] | NDArray[Any],
    weights: Literal["linear", "quadratic"] | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Agreement of two labelers on the same items, each with its own habits: Cohen's kappa.

    Chance is what two labelers would agree on who use each label as often as these two do. With `weights`, labels that
    are near each other disagree less: by their distance (`"linear"`) or its square (`"quadratic"`). For more than two
    labelers use [`fleiss_kappa`] or [`krippendorff_alpha`]. Source: Cohen, "A Coefficient of Agreement for Nominal
    Scales", Educational and Psychological Measurement 20 (1960); weighted: Cohen, Psychological Bulletin 70 (1968).

    Args:
        a, b (`list` or 1-D array of length `n`):
            A label an item: anything hashable, numbers where there are weights (their differences are the distances).
            An item is left out where either is `None` or NaN.
        weights (`str`, *optional*):
            `"linear"` or `"quadratic"`; by default any two labels that differ disagree alike.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples of items; the same seed gives the same interval.

    Returns:
        `Estimate`: kappa, in [-1, 1]; `n` is the number of items used.

    Raises:
        ValueError: If lengths differ, no item has both labels, a label is no finite number where there are weights (the
            row is named), or both gave one and the same label to every item, where kappa is 0 / 0.

    Example:
    ```python
    >>> from rlhf_ext.stats import cohen_kappa

    >>> cohen_kappa(["A", "A", "B", "B"], ["A", "A", "B", "A"]).value
    0.5
    ```
    """
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"weights must be None, 'linear' or 'quadratic', got {weights!r}")
    if len(a) != len(b):
        row = min(len(a), len(b))
        raise ValueError(f"a has {len(a)} items and b {len(b)}: item {row} is missing in one of them")
    both = [(x, y) for x, y in zip(a, b, strict=True) if not (_missing(x) or _missing(y))]
    if not both:
        raise ValueError(f"none of the {len(a)} items has a label from both")
    codes, labels = _coded([list(pair) for pair in both])
    if len(labels) == 1:
        raise ValueError(
            f"both gave the label {labels[0]!r} to all {len(both)} items: chance alone would agree as often, and kappa is "
            "not defined. Give the share of agreement, which is 1, and more varied items."
        )
    apart = _distances(labels, weights)
    size = len(labels)

    def kappa(rows: NDArray[np.int64]) -> float:
        table = np.bincount(rows[:, 0] * size + rows[:, 1], minlength=size * size).reshape(size, size) / len(rows)
        expected = (apart * np.outer(table.sum(axis=1), table.sum(axis=0))).sum()
        return 1 - float((apart * table).sum() / expected) if expected > 0 else math.nan

    return bootstrap(kappa, codes, confidence=confidence, resamples=resamples, seed=seed)


def fleiss_kappa(
    ratings: Sequence[Sequence[Any]] | NDArray[Any] | None = None,
    counts: Sequence[Sequence[int]] | NDArray[Any] | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Agreement of a fixed number of labelers an item, who need not be the same persons: Fleiss' kappa.

    Chance is what labelers would agree on who all use each label as often as it was used in total. For items with
    unequal numbers of labels, or labels that have an order, use [`krippendorff_alpha`]. Source: Fleiss, "Measuring
    Nominal Scale Agreement Among Many Raters", Psychological Bulletin 76 (1971).

    Args:
        ratings (`list[list]` or array of shape `(items, labelers)`, *optional*):
            A row an item, with the labels that it was given (anything hashable), in any order.
        counts (`list[list[int]]` or array of shape `(items, categories)`, *optional*):
            In place of `ratings`: how many labelers gave the item each category.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples of items; the same seed gives the same interval.

    Returns:
        `Estimate`: kappa, in [-1, 1]; `n` is the number of items.

    Raises:
        ValueError: If not one of `ratings` and `counts` is given, an item has fewer than two labels or another number of
            them than the first (it is named), or every label is the same, where kappa is 0 / 0.

    Example:
    ```python
    >>> from rlhf_ext.stats import fleiss_kappa

    >>> round(fleiss_kappa([["A", "A", "A"], ["B", "B", "A"], ["B", "B", "B"]]).value, 3)
    0.55
    ```
    """
    if (ratings is None) == (counts is None):
        raise ValueError("give either `ratings` or `counts`")
    table = _checked_counts(counts) if ratings is None else _counts(*_coded(_rows(ratings)))
    raters = table.sum(axis=1)
    for row, found in enumerate(raters):
        if found != raters[0] or found < 2:
            raise ValueError(
                f"item {row} has {found:g} labels and item 0 has {raters[0]:g}: Fleiss' kappa needs the same number, at "
                "least 2, for every item. `krippendorff_alpha` takes any number."
            )
    if (table.sum(axis=0) > 0).sum() == 1:
        raise ValueError(
            f"all {len(table)} items have one and the same label from everyone: chance alone would agree as often, and "
            "kappa is not defined. Give the share of agreement, which is 1, and more varied items."
        )

    def kappa(rows: Floats) -> float:
        total = raters[0]
        observed = ((rows**2).sum(axis=1) - total).mean() / (total * (total - 1))
        by_chance = ((rows.mean(axis=0) / total) ** 2).sum()
        return float((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else math.nan

    return bootstrap(kappa, table, confidence=confidence, resamples=resamples, seed=seed)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]] | NDArray[Any],
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Agreement of any number of labelers with gaps, for labels of any level of measurement: Krippendorff's alpha.

    At 0.8 data are usually called reliable, under 0.667 not even good for tentative conclusions. Items with fewer than
    two labels say nothing and are left out. Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011,
    https://repository.upenn.edu/asc_papers/43); his difference functions are computed in closed form: the interval
    level's from sums of squares, the ordinal level's as the interval level of mid-ranks, which it equals.

    Args:
        ratings (`list[list]` or array of shape `(items, labelers)`):
            A row an item (Krippendorff prints it on its side), a column a labeler; `None` or NaN where there is no
            label. Labels are anything hashable at the nominal level, else numbers.
        level (`str`, *optional*, defaults to `"nominal"`):
            `"nominal"`: labels are equal or not. `"ordinal"`: they have an order (a Likert scale). `"interval"`: their
            differences count (scores).
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples of items; the same seed gives the same interval.

    Returns:
        `Estimate`: alpha, at most 1; `n` is the number of items with two labels or more.

    Raises:
        ValueError: If the rows have unequal lengths, no item has two labels, a label is no finite number where the level
            needs one (the item is named), or every label is the same, where alpha is 0 / 0.

    Example:
    ```python
    >>> from rlhf_ext.stats import krippendorff_alpha

    >>> ratings = [[1, 1, None], [2, 2, 3], [3, 3, 3], [1, None, 2]]
    >>> round(krippendorff_alpha(ratings, level="interval").value, 3)
    0.739
    ```
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f"level must be 'nominal', 'ordinal' or 'interval', got {level!r}")
    rows = [row for row in _rows(ratings) if sum(not _missing(label) for label in row) >= 2]
    if not rows:
        raise ValueError(f"none of the {len(ratings)} items has two labels or more")
    codes, labels = _coded(rows)
    if len(labels) == 1:
        raise ValueError(
            f"every label of {len(rows)} items is {labels[0]!r}: chance alone would agree as often, and alpha is not "
            "defined. Give the share of agreement, which is 1, and more varied items."
        )
    if level == "nominal":
        return bootstrap(_alpha_nominal, _counts(codes, labels), confidence=confidence, resamples=resamples, seed=seed)
    numbers = _numbers(labels, f"the {level} level")
    # The middle is taken out, lest squares of large numbers swallow small differences.
    values = np.where(codes < 0, math.nan, (numbers - numbers.mean())[codes])
    statistic: Callable[..., float] = _alpha_interval if level == "interval" else _alpha_ordinal
    return bootstrap(statistic, values, confidence=confidence, resamples=resamples, seed=seed)


def _alpha_nominal(counts: Floats) -> float:
    in_item, in_total = counts.sum(axis=1), counts.sum(axis=0)
    total = in_total.sum()
    observed = ((in_item**2 - (counts**2).sum(axis=1)) / (in_item - 1)).sum()
    expected = (total**2 - (in_total**2).sum()) / (total - 1)
    return 1 - float(observed / expected) if expected > 0 else math.nan


def _alpha_interval(values: Floats) -> float:
    given = ~np.isnan(values)
    if np.ptp(values[given]) == 0:
        return math.nan
    in_item, filled = given.sum(axis=1), np.where(given, values, 0.0)
    sums, squares = filled.sum(axis=1), (filled**2).sum(axis=1)
    # Over all ordered pairs of m numbers the squared differences add up to 2 (m * sum of squares - square of sum).
    observed = ((in_item * squares - sums**2) / (in_item - 1)).sum()
    expected = (in_item.sum() * squares.sum() - sums.sum() ** 2) / (in_item.sum() - 1)
    return 1 - float(observed / expected)


def _alpha_ordinal(values: Floats) -> float:
    given = ~np.isnan(values)
    ranks = values.copy()
    ranks[given] = average_ranks(values[given]) - (given.sum() + 1) / 2
    return _alpha_interval(ranks)


def _missing(label: Any) -> bool:
    return label is None or (isinstance(label, float | np.floating) and math.isnan(label))


def _rows(ratings: Sequence[Sequence[Any]] | NDArray[Any]) -> list[list[Any]]:
    rows = [list(row) for row in ratings]
    if not rows:
        raise ValueError("ratings is empty")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"item {number} has {len(row)} labels and item 0 has {len(rows[0])}: give None where a label is missing"
            )
    return rows


def _coded(rows: Sequence[Sequence[Any]]) -> tuple[NDArray[np.int64], list[Hashable]]:
    """Labels as numbers from 0, -1 where there is none, and the labels that they stand for."""
    code_of: dict[Hashable, int] = {}
    codes = [[-1 if _missing(label) else code_of.setdefault(label, len(code_of)) for label in row] for row in rows]
    return np.array(codes), list(code_of)


def _counts(codes: NDArray[np.int64], labels: Sequence[Hashable]) -> Floats:
    return np.stack([(codes == code).sum(axis=1) for code in range(len(labels))], axis=1).astype(float)


def _checked_counts(counts: Any) -> Floats:
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"counts must have a row an item and a column a category, got shape {table.shape}")
    wrong = np.argwhere((table < 0) | (table != np.round(table)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(f"counts[{row}][{column}] is {table[row, column]}; a count is a whole number of at least 0")
    return table


def _distances(labels: Sequence[Hashable], weights: str | None) -> Floats:
    """How much each pair of labels disagrees."""
    if weights is None:
        return 1.0 - np.eye(len(labels))
    numbers = _numbers(labels, f"{weights} weights")
    return np.abs(numbers[:, None] - numbers) ** (1 if weights == "linear" else 2)


def _numbers(labels: Sequence[Any], who: str) -> Floats:
    for label in labels:
        if not isinstance(label, int | float | np.number) or not math.isfinite(label):
            raise ValueError(f"the label {label!r} is no finite number, which {who} needs; give the scale's numbers")
    return np.array(labels, dtype=float)
