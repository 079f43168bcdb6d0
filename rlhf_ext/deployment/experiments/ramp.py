"""The steps of a canary, and where on them it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """One step of a ramp.

    Args:
        share (`float`):
            The canary's share of traffic, in (0, 1].
        seconds (`float`, *optional*, defaults to `0.0`), users (`int`, *optional*, defaults to `0`):
            How long it lasts, and how many users the canary must have served in it, at least, before the next step.

    Raises:
        ValueError: If a field is not in its range.
    """

    share: float
    seconds: float = 0.0
    users: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` of a step must be in (0, 1], got {self.share!r}.")
        if self.seconds < 0 or self.users < 0:
            raise ValueError(
                f"`seconds` and `users` of a step cannot be negative, got {self.seconds} and {self.users}."
            )


@dataclass(frozen=True)
class Standing:
    """How a canary stands.

    Args:
        state (`Literal["ramping", "complete", "rolled_back"]`):
            `"complete"`: it has been through its last step, and stays on it. Its guards still hold.
        share (`float`):
            Its share of traffic.
        stage (`int`):
            The step that it is on, from 0.
        since (`float`):
            Since when, in seconds since 1970.
        reason (`str`):
            Why it was rolled back, or what it waits for.
    """

    state: Literal["ramping", "complete", "rolled_back"]
    share: float
    stage: int
    since: float
    reason: str = ""
