"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from ...data.store.served import ApiKey, ServedStore
from .admission import KeyRing, RateLimits
from .bodies import Kind, check_body, read_json
from .call import Call, new_id
from .errors import ApiError, broken
from .events import DONE, event
from .exchange import ClientGone, Exchange, Stopping
from .metrics import Metrics
from .observing import Observer
from .recording import Recorder
from .routing import Router
from .settings import GatewaySettings
from .transcript import Renamed, Transcript

_LOG = logging.getLogger(__name__)
CLIENT_GONE = 499
"""What a request is stored with whose client went away; nginx's number."""


class Completions:
    """Answers requests for text.

    Args:
        settings ([`GatewaySettings`]): Limits and headers.
        router ([`Router`]), keys ([`KeyRing`]), limits ([`RateLimits`]): Who may ask, and who answers.
        store ([`~rlhf_ext.data.store.served.ServedStore`]), recorder ([`Recorder`]), metrics ([`Metrics`]): Where it is kept and counted.
        stopping ([`Stopping`]): Of the server.
        observer ([`Observer`], *optional*): Is told of every request.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        router: Router,
        keys: KeyRing,
        limits: RateLimits,
        store: ServedStore,
        recorder: Recorder,
        metrics: Metrics,
        stopping: Stopping,
        observer: Observer | None = None,
    ):
        self.settings, self.router, self.keys, self.limits = settings, router, keys, limits
        self.store, self.recorder, self.metrics, self.stopping = store, recorder, metrics, stopping
        self.observer = observer
        self._keep_text = settings.store.texts or observer is not None

    async def handle(self, exchange: Exchange, kind: Kind) -> None:
        """Answers one request.

        Raises:
            ApiError: If it is refused before it goes anywhere.
        """
        call = await self._read(exchange, kind)
        exchange.extra.append((b"x-request-id", call.id.encode()))
        if call.route.variant is not None and call.route.experiment is not None:
            exchange.extra.append((b"x-variant", call.route.variant.encode()))
            exchange.extra.append((b"x-experiment", call.route.experiment.encode()))
        once = _Once(self._record, call)
        self.metrics.in_flight.inc()
        try:
            async with exchange.watched(self.stopping), call.route.backend.gate:
                await (self._stream if call.stream else self._whole)(exchange, call, once)
        except ApiError as error:
            call.failed(error)
            once()
            await exchange.refuse(error)
        except ClientGone:
            call.status, call.error = CLIENT_GONE, "client_closed_request"
        finally:
            self.metrics.in_flight.dec()
            once()

    async def _read(self, exchange: Exchange, kind: Kind) -> Call:
        key = self.keys.check(exchange)
        await self._take(exchange, key)
        limits = self.settings.limits
        raw = await exchange.body((key.max_body if key else None) or limits.max_body, limits.body_seconds)
        body = read_json(raw)
        check_body(body, kind)
        user = exchange.header(self.settings.user_header) or body.get("user") or None
        wanted = exchange.header("x-variant") or None
        if wanted is not None and not (self.settings.anyone_may_choose or (key is not None and key.may_choose)):
            message = "This key may not choose the variant: leave out the header x-variant."
            raise ApiError(403, message, param="x-variant", code="variant_not_allowed")
        number = new_id(kind)
        route = self.router.route(body["model"], user or number, wanted)
        transcript = Transcript(route.backend.name, self._keep_text)
        return Call(number, kind, body, raw, route, key.id if key else None, user, transcript)

    async def _take(self, exchange: Exchange, key: ApiKey | None) -> None:
        per_minute = self.settings.limits.requests_per_minute
        if key is not None:
            await self.limits.take(key.id, key.requests_per_minute or per_minute)
        else:
            await self.limits.take(f"address {exchange.address}", per_minute)

    async def _whole(self, exchange: Exchange, call: Call, once: Callable[[], None]) -> None:
        body = await call.route.backend.complete(call.asked())
        answer = call.transcript.whole(body)
        body = Renamed(call.id, call.model)(body, answer)
        call.status = 200
        once()  # before the client has it: it may speak of it at once
        await exchange.answer(200, body)

    async def _stream(self, exchange: Exchange, call: Call, once: Callable[[], None]) -> None:
        stream = _Stream(call)
        async with aclosing(call.route.backend.stream(call.asked())) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if stream.done:
                    continue  # nothing but the end of the body comes after it
                out = stream.pass_on(batch)
                if not exchange.started:
                    await exchange.begin_stream()
                if stream.done:
                    await self._end(exchange, call, out, once)
                elif out:
                    await exchange.write(out)
        if not stream.done:
            out = stream.finish()
            if not exchange.started:
                await exchange.begin_stream()
            await self._end(exchange, call, out, once)

    async def _end(self, exchange: Exchange, call: Call, out: bytes, once: Callable[[], None]) -> None:
        call.status = 200
        once()
        await exchange.write(out)
        await exchange.end()

    def _record(self, call: Call) -> None:
        row = call.row()
        self.metrics.count(call.kind, row.fields, call.hits)
        self.recorder.put(row)
        if self.observer is not None:
            self.observer.served(call.served(None if call.user is None else self.store.hash(call.user)))


class _Once:
    """Records a call the first time that it is told to."""

    def __init__(self, record: Callable[[Call], None], call: Call):
        self._record, self._call, self._done = record, call, False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._record(self._call)


class _Stream:
    """The parts of a stream on their way to the client."""

    def __init__(self, call: Call):
        self.call = call
        self.done = False
        self._renamed = Renamed(call.id, call.model)
        self._last: dict[str, Any] = {}
        self._usage_passed = False

    def pass_on(self, batch: list[bytes]) -> bytes:
        """What goes on to the client.

        Raises:
            ApiError: If a part is none.
        """
        out: list[bytes] = []
        for data in batch:
            if data == DONE:
                return b"".join([*out, self.finish()])
            part = self._last = self.call.transcript.part(data)
            if part.get("usage") and not part.get("choices"):
                if not self.call.wants_usage:
                    continue
                self._usage_passed = True
            out.append(event(self._renamed(data, part)))
        return b"".join(out)

    def finish(self) -> bytes:
        """The end: what this model server leaves out, and `[DONE]`.

        Raises:
            ApiError: If nothing says that the answer is whole.
        """
        transcript = self.call.transcript
        if not transcript.finish_reasons:
            raise broken(transcript.backend, "broke off before its answer was whole")
        self.done = True
        out: list[bytes] = []
        if self.call.wants_usage and transcript.usage and not self._usage_passed:
            shown = {"id": self.call.id, "model": self.call.model, "choices": [], "usage": transcript.usage}
            last = {**shown, **{name: self._last.get(name) for name in ("object", "created")}}
            out.append(event(json.dumps(last).encode()))
        return b"".join([*out, event(DONE)])
