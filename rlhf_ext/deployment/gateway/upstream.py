"""A model server behind an OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from yarl import URL

from .backend import Asked
from .errors import ApiError, broken, of_upstream, timed_out, unavailable
from .events import DONE, EventReader
from .gate import Gate
from .settings import UpstreamSettings

_LOG = logging.getLogger(__name__)
_PATHS = {"chat": "/chat/completions", "completion": "/completions"}
_LONGEST_ERROR = 65_536
_STALE = 0.2
"""Seconds: a kept connection that the server had closed meanwhile fails at once, and the request goes out once more. One that fails
later may have been read, and may be what made the server fail."""


class Upstream:
    """Sends requests on and passes on what comes back.

    Of the client's headers none go along, and of its key nothing.

    Args:
        name (`str`): For errors and metrics.
        settings ([`UpstreamSettings`]): Where it is, and its limits.
    """

    def __init__(self, name: str, settings: UpstreamSettings):
        self.name, self.settings = name, settings
        self.gate = Gate(settings.max_in_flight, settings.max_waiting, settings.wait_seconds)
        base = settings.url.rstrip("/")
        self._urls = {path: URL(base + path) for path in (*_PATHS.values(), "/models")}
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key:
            self._headers["Authorization"] = f"Bearer {settings.api_key}"
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens nothing yet: connections are made when they are needed, and kept."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self.settings.total_seconds,
                sock_connect=self.settings.connect_seconds,
                sock_read=self.settings.first_byte_seconds,
            ),
            headers=self._headers,
            read_bufsize=1 << 16,
        )

    async def close(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()

    async def complete(self, asked: Asked) -> bytes:
        """An answer as JSON."""
        answer = await self._answered(asked)
        try:
            return await self._body(answer, self.settings.max_answer)
        finally:
            _let_go(answer)

    async def stream(self, asked: Asked) -> AsyncIterator[list[bytes]]:
        """The data of events."""
        answer = await self._answered(asked)
        reader = EventReader()
        try:
            if answer.content_type != "text/event-stream":
                raise broken(self.name, "answered with something that is no stream")
            while True:
                async with asyncio.timeout(self.settings.idle_seconds):
                    chunk = await answer.content.readany()
                if not chunk:
                    break
                if found := reader.push(chunk):
                    yield found
                    if DONE in found:
                        await self._rest(answer)
                        return
            if found := reader.finish():
                yield found
        except TimeoutError:
            raise timed_out(self.name, "stopped in the middle of its answer") from None
        except aiohttp.ClientError:
            raise broken(self.name, "broke off in the middle of its answer") from None
        except ValueError:
            raise broken(self.name, "sent an event without an end") from None
        finally:
            _let_go(answer)

    async def _rest(self, answer: aiohttp.ClientResponse) -> None:
        """The end of the body, after which the connection can be kept; it is here already, or close behind."""
        try:
            async with asyncio.timeout(0.5):
                while await answer.content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError):
            pass

    async def models(self) -> list[dict[str, Any]]:
        """What it says that there is.

        Raises:
            ApiError: If it cannot be asked, or says nothing of use.
        """
        answer = await self._call("GET", "/models", None)
        try:
            body = await self._body(answer, self.settings.max_answer)
        finally:
            _let_go(answer)
        try:
            found = json.loads(body)["data"]
            return [dict(one) for one in found if isinstance(one["id"], str)]
        except (ValueError, TypeError, KeyError):
            raise broken(self.name, "sent a list of models that is none") from None

    async def ready(self) -> bool:
        """Whether it answers, whatever it says."""
        try:
            async with asyncio.timeout(2):
                _let_go(await self._call("GET", "/models", None))
            return True
        except TimeoutError:
            return False
        except ApiError as error:
            return error.status not in (502, 503, 504)

    async def _answered(self, asked: Asked) -> aiohttp.ClientResponse:
        body = asked.body
        if body.get("stream") and self.settings.ask_usage:
            options = body.get("stream_options") or {}
            if not options.get("include_usage"):
                body = {**body, "stream_options": {**options, "include_usage": True}}
        raw = asked.raw if asked.raw is not None and body is asked.body else json.dumps(body).encode()
        return await self._call("POST", _PATHS[asked.kind], raw)

    async def _call(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        """An answer that is none of an error; whoever asked lets it go."""
        answer = await self._sent(method, path, body)
        if answer.status == 200:
            return answer
        try:
            told = await self._body(answer, _LONGEST_ERROR, cut=True)
        finally:
            _let_go(answer)
        _LOG.warning("%s answered %s with status %s", self.name, path, answer.status)
        raise of_upstream(self.name, answer.status, told, answer.headers.get("Retry-After"))

    async def _sent(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        try:
            begun = time.monotonic()
            try:
                return await self._once(method, path, body)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                if time.monotonic() > begun + _STALE:
                    raise
                return await self._once(method, path, body)
        except aiohttp.ClientConnectorError:
            raise unavailable(self.name) from None
        except aiohttp.ConnectionTimeoutError:
            raise unavailable(self.name) from None
        except TimeoutError:
            raise timed_out(self.name, "did not answer in time") from None
        except (aiohttp.ClientError, ConnectionError):
            raise broken(self.name, "broke off before it answered") from None

    async def _once(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        assert self._session is not None, "start() comes first"
        return await self._session.request(method, self._urls[path], data=body, allow_redirects=False)

    async def _body(self, answer: aiohttp.ClientResponse, limit: int, cut: bool = False) -> bytes:
        parts, size = [], 0
        try:
            while chunk := await answer.content.readany():
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    if cut:
                        break
                    raise broken(self.name, "sent an answer that is too large")
        except TimeoutError:
            raise timed_out(self.name, "stopped in the middle of its answer") from None
        except aiohttp.ClientError:
            raise broken(self.name, "broke off in the middle of its answer") from None
        return b"".join(parts)


def _let_go(answer: aiohttp.ClientResponse) -> None:
    """A connection is kept if all was read; what was broken off is closed, which tells the server to stop."""
    if answer.content.at_eof():
        answer.release()
    else:
        answer.close()
