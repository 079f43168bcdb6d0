"""Who answers: a protocol that model servers and models in this process share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from .bodies import Kind
from .gate import Gate


@dataclass(frozen=True, slots=True)
class Asked:
    """What a backend is asked.

    Args:
        kind (`str`): `"chat"` or `"completion"`.
        body (`dict`): The request, with the model's name at the backend.
        id (`str`): The gateway's id of it.
        raw (`bytes`, *optional*): The same as JSON, where it came so.
        model (`str`, *optional*): What the model is called at the backend.
    """

    kind: Kind
    body: dict[str, Any]
    id: str
    raw: bytes | None = None
    model: str | None = None


class Backend(Protocol):
    """Answers requests.

    What goes wrong is an [`~rlhf_ext.deployment.gateway.errors.ApiError`]. Cancelling a call, or closing a stream, frees its place
    at once.
    """

    name: str
    gate: Gate

    async def start(self) -> None:
        """Before the first request, in the event loop."""

    async def complete(self, asked: Asked) -> bytes:
        """An answer as JSON."""

    def stream(self, asked: Asked) -> AsyncIterator[list[bytes]]:
        """The data of events, as many at a time as have come; `[DONE]` where the backend says so."""

    async def models(self) -> list[dict[str, Any]]:
        """What `/v1/models` says."""

    async def ready(self) -> bool:
        """Whether it answers."""

    async def close(self) -> None:
        """At the end."""
