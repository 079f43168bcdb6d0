"""How sure a number is: intervals for rates, means and paired changes. The one place for them.

Every figure that rlhf_ext shows or decides by is an [`Estimate`]: a value, its interval and how many rows it rests on.
A score of `None` (or NaN) means "does not apply to this row", as everywhere in rlhf_ext: the row is left out, and `n`
says how many were used. Nothing is ever counted as 0.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = Sequence[float | None] | NDArray[Any]
"""One score a row; `None` or NaN where it does not apply."""

# Resampled values held at once: about 50 MB, so that a bootstrap over 100,000 rows fits on a small machine.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and the rows that it rests on.

    Args:
        value (`float`):
            The number itself, finite.
        low (`float`):
            Lower end of the interval. `-inf` where the data cannot say (a mean of one row).
        high (`float`):
            Upper end of the interval, at least `low`. `inf` where the data cannot say.
        n (`int`):
            Rows (or pairs) used, at least 1.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level of the interval, in (0, 1).

    Raises:
        ValueError: If one of these does not hold.

    Example:
    ```python
    >>> from rlhf_ext.stats import Estimate

    >>> estimate = Estimate(value=0.42, low=0.31, high=0.54, n=70)
    >>> print(estimate)
    0.42 [0.31, 0.54]
    >>> estimate.excludes_zero
    True
    ```
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value}")
        if not self.low <= self.high:
            raise ValueError(f"low must be at most high, got [{self.low}, {self.high}]")
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}")
        _check_confidence(self.confidence)

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0: for a difference, a clear change."""
        return self.low > 0 or self.high < 0

    @property
    def decimals(self) -> int:
        """Decimals worth showing, 0 to 6: two significant digits of the interval's width.

        More where an interval that excludes 0 would otherwise show an end as `0.00`.
        """
        width = self.high - self.low
        decimals = _places(width if 0 < width < math.inf else self.value) + 1
        if self.excludes_zero:
            decimals = max(decimals, _places(min(abs(self.low), abs(self.high))))
        return min(6, max(0, decimals))

    def __str__(self) -> str:
        # Adding 0.0 turns -0.0 into 0.0, so that no "-0.00" is shown.
        places = self.decimals
        value, low, high = (f"{round(x, places) + 0.0:.{places}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON: an infinite end is `None`, since JSON has no infinity."""
        return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Estimate:
        """The estimate that `to_dict` gave, back again."""
        low = -math.inf if fields["low"] is None else fields["low"]
        high = math.inf if fields["high"] is None else fields["high"]
        return cls(**{**fields, "low": low, "high": high})


def wilson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """A rate with Wilson's score interval: win rates, refusal rates, pass rates.

    Stays inside [0, 1] and holds its level for small `n` and for rates near 0 or 1, where the textbook interval
    (rate plus or minus 1.96 standard errors) does not. Source: Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference", JASA 22 (1927); Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion",
    Statistical Science 16 (2001).

    Args:
        successes (`int`):
            Rows in which it happened, in [0, `n`].
        n (`int`):
            All rows, at least 1.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).

    Returns:
        `Estimate`: the rate `successes / n` in [0, 1] and its interval.

    Raises:
        ValueError: If `n` is 0, `successes` is not in [0, `n`] or `confidence` is not in (0, 1).
        TypeError: If a count is not a whole number.

    Example:
    ```python
    >>> from rlhf_ext.stats import wilson

    >>> print(wilson(15, 50))
    0.30 [0.19, 0.44]
    ```
    """
    successes, n = operator.index(successes), operator.index(n)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}: a rate of no rows is not defined")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in [0, {n}], got {successes}")
    _check_confidence(confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    # At the ends the interval reaches 0 or 1 exactly; rounding would miss it by 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(rate, low, high, n, confidence)


def rule_of_three(n: int) -> float:
    """Upper 95 % bound of a rate of which no event was seen in `n` rows: `3 / n`.

    For "no unsafe answer in 200 prompts": it does not show that the rate is 0, only that it is likely below 1.5 %. The
    bound is one-sided; `wilson(0, n)` gives the upper end of a two-sided interval, which lies higher. Source: Hanley
    and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249 (1983).

    Args:
        n (`int`):
            Rows looked at, at least 1.

    Returns:
        `float`: the bound, in (0, 1]; 1 where `n` is 3 or less.

    Raises:
        ValueError: If `n` is less than 1.

    Example:
    ```python
    >>> from rlhf_ext.stats import rule_of_three

    >>> rule_of_three(200)
    0.015
    ```
    """
    if operator.index(n) < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return min(1.0, 3 / n)


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
    scores = _column("values", values)
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
    first, second = _column("before", before), _column("after", after)
    _check_lengths("before", len(first), "after", len(second))
    labels: Sequence[Hashable] = range(len(first)) if clusters is None else list(clusters)
    _check_lengths("before", len(first), "clusters", len(labels))
    for row, label in enumerate(labels):
        if label is None:
            raise ValueError(f"clusters[{row}] is None; every row needs a label")
    change = second - first
    kept = ~np.isnan(change)
    if not kept.any():
        raise ValueError(f"all {len(change)} pairs have a None or NaN score; no difference is left to estimate")
    # A dict rather than np.unique: labels may be of any hashable type, mixed even.
    unit_of: dict[Hashable, int] = {}
    units = [unit_of.setdefault(labels[row], len(unit_of)) for row in np.flatnonzero(kept).tolist()]
    scale = float(np.abs([first[kept], second[kept]]).max())
    return _bootstrap(change[kept], np.array(units), scale, confidence, resamples, seed)


def bootstrap(
    statistic: Callable[..., float],
    *columns: Sequence[Any] | NDArray[Any],
    pivotal: bool = False,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Any statistic of rows (a correlation, a slope, a calibration error), with a bootstrap interval.

    For a mean use [`bootstrap_mean`], which is quicker. Rows are resampled with replacement, the same ones in every
    column; a row may itself be a row of a matrix (the samples of one prompt), which then stays together. Where the
    statistic is not defined (NaN) in more than a twentieth of the resamples, the data cannot say: the interval is
    infinite. Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), chapters 2 and 5.

    Args:
        statistic (`Callable`):
            Called with one array a column; gives a number, NaN where it is not defined.
        *columns (`list` or array, first axis of length `n`):
            The rows' values, in the same order in every column.
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
        ValueError: If there is no column or row, lengths differ, or the statistic of all rows is not finite.

    Example:
    ```python
    >>> import numpy as np
    >>> from rlhf_ext.stats import bootstrap

    >>> estimate = bootstrap(np.median, [1.0, 2.0, 3.0, 4.0, 9.0])
    >>> estimate.value, estimate.n
    (3.0, 5)
    ```
    """
    _check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    arrays = [np.asarray(column) for column in columns]
    if not arrays or not len(arrays[0]):
        raise ValueError("there are no rows")
    n = len(arrays[0])
    for number, array in enumerate(arrays):
        _check_lengths("column 0", n, f"column {number}", len(array))
    value = float(statistic(*arrays))
    if not math.isfinite(value):
        raise ValueError(f"the statistic of all {n} rows is {value}; it must be finite")
    rng = np.random.default_rng(seed)
    found = np.empty(resamples)
    for i in range(resamples):
        picked = rng.integers(n, size=n)
        found[i] = statistic(*(array[picked] for array in arrays))
    found = found[np.isfinite(found)]
    if n == 1 or len(found) < 0.95 * resamples:
        return Estimate(value, -math.inf, math.inf, n, confidence)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    if pivotal:
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    return Estimate(value, float(low), float(high), n, confidence)


def average_ranks(values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean: for Spearman's correlation and the area under a ROC curve.

    Example:
    ```python
    >>> from rlhf_ext.stats import average_ranks

    >>> average_ranks([3.0, 1.0, 3.0]).tolist()
    [2.5, 1.0, 2.5]
    ```
    """
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _bootstrap(
    values: NDArray[np.float64], units: NDArray[Any], scale: float, confidence: float, resamples: int, seed: int
) -> Estimate:
    """Mean of `values` with an interval from resampling whole units; `units[i]` is the unit of `values[i]`.

    `scale` is the largest size of a score: what is smaller by twelve digits is rounding.
    """
    _check_confidence(confidence)
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


def _column(name: str, values: Scores) -> NDArray[np.float64]:
    column = np.array([math.nan if value is None else float(value) for value in values])
    if not len(column):
        raise ValueError(f"{name} is empty")
    infinite = np.flatnonzero(np.isinf(column))
    if len(infinite):
        raise ValueError(f"{name}[{infinite[0]}] is {column[infinite[0]]}; a score must be finite, None or NaN")
    return column


def _check_lengths(name: str, length: int, other: str, other_length: int) -> None:
    if length != other_length:
        row = min(length, other_length)
        raise ValueError(f"{name} has {length} rows and {other} {other_length}: row {row} is missing in one of them")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")


def _places(size: float) -> int:
    """Decimals that show the first significant digit of `size`; 1 for 0."""
    return -math.floor(math.log10(abs(size))) if size else 1
