"""Number, mean and spread of values that come one by one, and may change or go."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Moments:
    """What a mean and its error need of values: their number, mean and sum of squared distances from it.

    Kept about the mean (Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", Technometrics 4, 1962),
    so that nothing is lost to rounding where the mean is large and the spread small.

    Args:
        n (`int`, *optional*, defaults to `0`):
            Values.
        mean (`float`, *optional*, defaults to `0.0`):
            Their mean; 0 where there are none.
        squares (`float`, *optional*, defaults to `0.0`):
            Sum of squared distances from the mean.

    Example:
    ```python
    >>> from rlhf_ext.stats import Moments

    >>> seen = Moments.of([1.0, 2.0, 3.0])
    >>> seen.mean, seen.variance, seen.replaced(3.0, 6.0).mean
    (2.0, 1.0, 3.0)

    ```
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Those of all values.

        Raises:
            ValueError: If one is not finite.
        """
        found = cls()
        for value in values:
            found = found.added(value)
        return found

    @property
    def variance(self) -> float:
        """The unbiased one, `squares / (n - 1)`; NaN where there are fewer than two values."""
        return self.squares / (self.n - 1) if self.n > 1 else math.nan

    def added(self, value: float) -> Moments:
        """Those with one value more."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be finite, got {value}")
        mean = self.mean + (value - self.mean) / (self.n + 1)
        return Moments(self.n + 1, mean, self.squares + (value - self.mean) * (value - mean))

    def removed(self, value: float) -> Moments:
        """Those without a value that is among them."""
        if self.n <= 1:
            return Moments()
        mean = self.mean - (value - self.mean) / (self.n - 1)
        # Never below zero, where rounding would take it.
        return Moments(self.n - 1, mean, max(0.0, self.squares - (value - self.mean) * (value - mean)))

    def replaced(self, old: float, new: float) -> Moments:
        """Those where one value has changed."""
        return self.removed(old).added(new)

    def merged(self, other: Moments) -> Moments:
        """Those of both together (Chan, Golub and LeVeque, 1983)."""
        n = self.n + other.n
        if not n:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * other.n / n
        return Moments(n, mean, self.squares + other.squares + apart * apart * self.n * other.n / n)
