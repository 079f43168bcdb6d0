"""One request and its answer over ASGI: bodies with a limit, answers, streams, and clients that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from starlette.types import Receive, Scope, Send

from .errors import ApiError, draining

Headers = Iterable[tuple[bytes, bytes]]

_DRAINED = 16 << 20
"""Bytes of a refused body that are read all the same: closing a connection with bytes unread would take the answer away."""


class ClientGone(ConnectionError):
    """Nobody waits for the answer any more."""


class Exchange:
    """A request and the way to answer it.

    Args:
        scope (`dict`), receive (`Callable`), send (`Callable`): As ASGI has them.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self.scope, self._receive, self._send = scope, receive, send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started = False
        self.extra: list[tuple[bytes, bytes]] = []
        """Headers of the answer, whatever it will be."""
        self._task: Any = None
        self._why: Exception | None = None

    def header(self, name: str) -> str:
        """A header's value, or nothing."""
        return self.headers.get(name.lower().encode(), b"").decode("latin-1").strip()

    @property
    def address(self) -> str:
        """Who asks, by address."""
        client = self.scope.get("client")
        return client[0] if client else "unknown"

    async def body(self, limit: int, seconds: float) -> bytes:
        """The request's body.

        Raises:
            ApiError: If it is larger than `limit` bytes (413) or takes longer than `seconds` (408).
            ClientGone: If the client went away.
        """
        length = self.headers.get(b"content-length", b"0")
        too_large = ApiError(
            413, f"The request is too large: at most {limit:,} bytes are taken.", code="request_too_large"
        )
        parts: list[bytes] = []
        size = 0
        refused = not length.isdigit() or int(length[:20]) > limit
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    size += len(part)
                    refused = refused or size > limit
                    if not refused:
                        parts.append(part)
                    if not message.get("more_body", False):
                        break
                    if refused and size > limit + _DRAINED:
                        break
        except TimeoutError:
            raise self._closing(
                ApiError(408, f"The request took longer than {seconds:g} seconds to come in.")
            ) from None
        if refused:
            raise self._closing(too_large)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _closing(self, error: ApiError) -> ApiError:
        self.extra.append((b"connection", b"close"))
        return error

    async def answer(
        self, status: int, body: bytes, headers: Headers = (), content_type: bytes = b"application/json"
    ) -> None:
        """A whole answer."""
        self.started = True
        fields = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *self.extra, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, error: ApiError) -> None:
        """An error: as an answer, or within a stream that has begun.

        After an error in a stream there is no `[DONE]`: clients that know no errors there should not take it for whole.
        """
        if not self.started:
            await self.answer(error.status, error.body(), error.headers())
        else:
            await self.write(b"data: " + json.dumps({"error": error.fields}).encode() + b"\n\n")
            await self.end()

    async def begin_stream(self) -> None:
        """The head of a stream of events."""
        self.started = True
        fields = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # proxies that gather would make a stream stutter
            *self.extra,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": fields})

    async def write(self, data: bytes) -> None:
        """A part of a stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """The end of a stream."""
        await self._send({"type": "http.response.body", "body": b""})

    def watched(self, stopping: Stopping) -> Watch:
        """Cancels what is done within as soon as the client goes away, or the gateway has waited long enough before it stops.

        Raises:
            ClientGone: On leaving, in the first case.
            ApiError: In the second.
        """
        return Watch(self, stopping)

    def break_off(self, why: Exception) -> None:
        """Ends what is done within [`watched`]."""
        if self._why is None:
            self._why = why
            self._task.cancel()


class Watch:
    """See [`Exchange.watched`]. A class, since a generator costs each request more than all that is done here."""

    def __init__(self, exchange: Exchange, stopping: Stopping):
        self._exchange, self._stopping = exchange, stopping

    async def __aenter__(self) -> None:
        self._exchange._task = asyncio.current_task()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        self._stopping.exchanges.add(self._exchange)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.exchanges.discard(self._exchange)
        self._watcher.cancel()
        why = self._exchange._why
        if isinstance(error, asyncio.CancelledError) and why is not None:  # otherwise it is somebody else's
            self._exchange._task.uncancel()
            raise why from None

    async def _watch(self) -> None:
        while (await self._exchange._receive())["type"] != "http.disconnect":
            pass
        self._exchange.break_off(ClientGone())


class Stopping:
    """What is being answered, to be broken off when the gateway has to stop."""

    def __init__(self) -> None:
        self.begun = False
        self.exchanges: set[Exchange] = set()

    def break_off(self) -> None:
        """Ends what is still being answered with an error that says so."""
        for exchange in list(self.exchanges):
            exchange.break_off(draining())
