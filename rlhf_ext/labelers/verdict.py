"""A judge's word on a pair, in both orders."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A judge's word on two answers, in both orders.

    Args:
        shown (`tuple[float, float]`, *optional*): p(the answer shown first is better), for (first, second) and for (second,
            first). None where there is no verdict.
        reason (`str`, *optional*): Why there is none; `"unfinished"` where the budget did not reach.
        votes (`tuple[float | None, ...]`, *optional*): Where there are several, each for the first answer: 1, 0, 0.5 for a tie,
            None where it could not be read; those of the order (first, second) in front.
    """

    shown: tuple[float, float] | None = None
    reason: str | None = None
    votes: tuple[float | None, ...] = ()

    @property
    def p(self) -> float:
        """p(first is better), the mean over both orders."""
        assert self.shown is not None
        return (self.shown[0] + 1 - self.shown[1]) / 2

    @property
    def orders_agree(self) -> bool:
        """Whether both orders prefer the same answer; a tie agrees with everything."""
        assert self.shown is not None
        return (self.shown[0] - 0.5) * (0.5 - self.shown[1]) >= 0
