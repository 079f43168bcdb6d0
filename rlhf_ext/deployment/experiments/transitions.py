"""What is written down about a canary, and the store that workers share: the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ...stats import Moments

USERS = "users"
"""The key under which users are counted, whatever was observed of them."""


@dataclass(frozen=True)
class Transition:
    """One step of a canary's life. They are only ever added.

    Args:
        number (`int`):
            0, 1, 2, ... for each canary: who adds a number first has decided.
        kind (`Literal["started", "advanced", "rolled_back"]`):
            What happened.
        stage (`int`):
            The step of the ramp that it is on from now on.
        share (`float`):
            The canary's share of traffic from now on.
        time (`float`):
            When, in seconds since 1970.
        reason (`str`):
            Why; of `"started"`, what the canary is: those who go on with it must be the same.
    """

    number: int
    kind: Literal["started", "advanced", "rolled_back"]
    stage: int
    share: float
    time: float
    reason: str


@dataclass(frozen=True)
class Observation:
    """One value of a guard's metric; of `user` `None` each value counts for itself."""

    variant: str
    key: str
    user: str | None
    value: float


class CanaryStore(Protocol):
    """What workers share. [`StoredCanaries`] is the one on SQLite or PostgreSQL."""

    def transitions(self, canary: str) -> list[Transition]:
        """All, by number."""
        ...

    def append(self, canary: str, transition: Transition) -> bool:
        """Adds one if its number is the next, and says whether it did: compare and set."""
        ...

    def add(self, canary: str, stage: int, observations: Sequence[Observation], worker: str, batch: int) -> None:
        """Counts observations in. A batch that a worker sends again (its number is not above the last) is not counted twice."""
        ...

    def figures(self, canary: str, stage: int) -> Mapping[tuple[str, str], Moments]:
        """By variant and key: of the users' means, or of the values where no user was named."""
        ...
