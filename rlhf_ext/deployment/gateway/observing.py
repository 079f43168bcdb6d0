"""What the gateway tells of each request that it has served: the seam for monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...types import Prompt
from ..monitoring import Failures


@dataclass(frozen=True, slots=True)
class Served:
    """A request that is done with.

    Args:
        id (`str`): The gateway's.
        time (`float`): When it came in, in seconds since 1970.
        model (`str`): What was asked for.
        backend (`str`): Who answered.
        status (`int`): HTTP status; 499 where the client went away. Of a stream that broke off, that of its error.
        seconds (`float`): Until the last byte.
        stream (`bool`): Whether it was streamed.
        experiment (`str`, *optional*), variant (`str`, *optional*): Where an experiment put it.
        prompt (`str` or `list[dict]`, *optional*): As it was sent on; tokens are not shown.
        text (`str`, *optional*): What the client got, of the first choice.
        ttft (`float`, *optional*): Seconds to the first token of a stream.
        prompt_tokens (`int`, *optional*), completion_tokens (`int`, *optional*): As the backend counts.
        finish_reason (`str`, *optional*), error (`str`, *optional*): How it ended.
        filter_hits (`tuple`, *optional*): What filters found.
        user_hash (`str`, *optional*): Tells users apart, not who they are.
        shadow_of (`str`, *optional*): The request that it is a copy of. Nobody saw its answer.
        why (`str`, *optional*): Why it is where it is in the experiment: only `"hash"` was dealt by lot.
    """

    id: str
    time: float
    model: str
    backend: str
    status: int
    seconds: float
    stream: bool
    experiment: str | None = None
    variant: str | None = None
    prompt: Prompt | None = None
    text: str | None = None
    ttft: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    filter_hits: tuple[Any, ...] = ()
    user_hash: str | None = None
    shadow_of: str | None = None
    why: str | None = None


class Observer(Protocol):
    """Is told of every request once, when it is done with.

    It must not raise, and `served` is called in the event loop: it must return at once, and hand longer work to a thread of its own.
    `said` is called in a thread, after the feedback has been stored.
    """

    def served(self, served: Served) -> None:
        """A request is done with."""

    def said(self, response: str, kind: str, value: dict[str, Any]) -> None:
        """Feedback has been stored."""


class Observers:
    """Several observers as one that never raises: whatever one of them does, requests and the others go on.

    Args:
        observers (`Sequence[Observer]`): Who is told.
        failures ([`~rlhf_ext.deployment.monitoring.Failures`]): Where their errors are counted and logged.
    """

    def __init__(self, observers: Sequence[Observer], failures: Failures):
        self._observers, self._failures = observers, failures

    def served(self, served: Served) -> None:
        """A request is done with."""
        for one in self._observers:
            with self._failures.within(f"observer {type(one).__name__}"):
                one.served(served)

    def said(self, response: str, kind: str, value: dict[str, Any]) -> None:
        """Feedback has been stored."""
        for one in self._observers:
            with self._failures.within(f"observer {type(one).__name__}"):
                one.said(response, kind, value)
