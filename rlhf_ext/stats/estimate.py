"""A number and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
        check_confidence(self.confidence)

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


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")


def _places(size: float) -> int:
    """Decimals that show the first significant digit of `size`; 1 for 0."""
    return -math.floor(math.log10(abs(size))) if size else 1
