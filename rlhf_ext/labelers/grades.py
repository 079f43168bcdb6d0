"""Grades from 1 to 10 as a judge is unsure of them, and which of two answers they make the better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRADES = np.arange(1.0, 11.0)
_DIGITS = 9
"""Weighted grades that agree to so many decimals are the same: floats add up differently in another order."""


@dataclass(frozen=True)
class Grades:
    """How likely a judge is to give each grade.

    Args:
        probabilities (`tuple[float, ...]`): Of the grades 1 to 10; they sum to 1.

    Raises:
        ValueError: If they are not ten probabilities.

    Example:

    ```python
    >>> from rlhf_ext.labelers.grades import Grades
    >>> Grades.of_votes([7, 8]).mean
    7.5

    ```
    """

    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        found = np.asarray(self.probabilities, dtype=np.float64)
        if found.shape != GRADES.shape or not (found >= 0).all() or not np.isclose(found.sum(), 1.0, atol=1e-6):
            raise ValueError(f"Grades need ten probabilities that sum to 1, got {self.probabilities}.")

    @classmethod
    def of_votes(cls, votes: Sequence[float]) -> Grades:
        """Shares of votes, each a whole number from 1 to 10."""
        return cls(tuple(votes.count(grade) / len(votes) for grade in GRADES.tolist()))

    @property
    def mean(self) -> float:
        """The expected grade."""
        return float(GRADES @ self.probabilities)


@dataclass(frozen=True)
class Outcome:
    """How two answers compare: the three sum to 1.

    Args:
        first (`float`), tie (`float`), second (`float`): Probability that the first is graded higher, that both are graded
            the same, that the second is graded higher.
    """

    first: float
    tie: float
    second: float

    @property
    def p(self) -> float:
        """p(first is better), with half of the ties."""
        return self.first + self.tie / 2


def outcome(first: Sequence[Grades], second: Sequence[Grades], weights: Sequence[float]) -> Outcome:
    """Compares the weighted means of two answers' grades, which are drawn independently of one another.

    Exact, by convolution: no normal approximation, which a few coarse grades would not bear.

    Args:
        first (`list[Grades]`), second (`list[Grades]`): For each answer its grades, one an aspect.
        weights (`list[float]`): Of the aspects.

    Example: a certain 7 against an 8 in a quarter of cases, a 7 in another, and else a 5.

    ```python
    >>> from rlhf_ext.labelers.grades import Grades, outcome
    >>> outcome([Grades.of_votes([7])], [Grades.of_votes([8, 7, 5, 5])], [1.0])
    Outcome(first=0.5, tie=0.25, second=0.25)

    ```
    """
    values, probabilities = _weighted(first, weights)
    others, other_probabilities = _weighted(second, weights)
    below = np.concatenate([[0.0], np.cumsum(other_probabilities)])
    below /= below[-1]
    under, upto = below[np.searchsorted(others, values, "left")], below[np.searchsorted(others, values, "right")]
    probabilities = probabilities / probabilities.sum()
    return Outcome(*(float(probabilities @ part) for part in (under, upto - under, 1 - upto)))


def weighted_mean(grades: Sequence[Grades], weights: Sequence[float]) -> float:
    """The expected grade over all aspects, in [1, 10]."""
    return float(np.average([one.mean for one in grades], weights=weights))


def _weighted(grades: Sequence[Grades], weights: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Values of the weighted mean, rising, and their probabilities."""
    values: NDArray = np.zeros(1)
    probabilities: NDArray = np.ones(1)
    for one, weight in zip(grades, weights, strict=True):
        sums = np.add.outer(values, weight / sum(weights) * GRADES).ravel()
        products = np.multiply.outer(probabilities, one.probabilities).ravel()
        sums, products = sums[products > 0], products[products > 0]
        _, places, same = np.unique(sums.round(_DIGITS), return_index=True, return_inverse=True)
        values, probabilities = sums[places], np.bincount(same, products)
    return values.round(_DIGITS), probabilities
