"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from ...data.store.served import ApiKey, ServedStore
from ..monitoring import Failures
from .admission import KeyRing, RateLimits
from .bodies import Kind, check_body, read_json
from .call import Call, new_id
from .canaries import Canaries
from .errors import ApiError, invalid
from .events import DONE, event
from .exchange import ClientGone, Exchange, Stopping
from .filtering import FilteredStream, Filtering, Replaced
from .metrics import Metrics
from .observing import Observer
from .recording import Recorder
from .routing import Router
from .settings import GatewaySettings
from .shadowing import Shadows
from .streaming import Stream
from .transcript import Renamed, Transcript

CLIENT_GONE = 499
"""What a request is stored with whose client went away; nginx's number."""


class Completions:
    """Answers requests for text.

    Args:
        settings ([`GatewaySettings`]): Limits and headers.
        router ([`Router`]), keys ([`KeyRing`]), limits ([`RateLimits`]): Who may ask, and who answers.
        store ([`~rlhf_ext.data.store.served.ServedStore`]), recorder ([`Recorder`]), metrics ([`Metrics`]): Where it is kept and counted.
        stopping ([`Stopping`]): Of the server.
        filtering ([`Filtering`]), canaries ([`Canaries`]): Who looks at texts, and at what came of them.
        failures ([`~rlhf_ext.deployment.monitoring.Failures`]): Where errors go that concern no request.
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
        filtering: Filtering,
        canaries: Canaries,
        failures: Failures,
        observer: Observer | None = None,
    ):
        self.settings, self.router, self.keys, self.limits = settings, router, keys, limits
        self.store, self.recorder, self.metrics, self.stopping = store, recorder, metrics, stopping
        self.filtering, self.canaries, self.observer = filtering, canaries, observer
        limits_ = settings.limits
        at_once, waiting = limits_.shadows_at_once, limits_.shadows_waiting
        self.shadows = Shadows(router, metrics, self._record, at_once, waiting, failures)
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
            async with exchange.watched(self.stopping):
                await self._check_input(call)
                self.shadows.offer(call)
                async with call.route.backend.gate:
                    await (self._stream if call.stream else self._whole)(exchange, call, once)
        except Replaced as answer:
            await self._say(exchange, call, answer.text, once)
        except ApiError as error:
            call.hits += getattr(error, "hits", ())
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

    async def _check_input(self, call: Call) -> None:
        if self.filtering.on_output and (call.body.get("logprobs") or call.body.get("top_logprobs")) and call.stream:
            message = "Probabilities would spell out what filters hold back: leave out 'logprobs', or do not stream."
            raise invalid(message, "logprobs", "unsupported_parameter")
        if not self.filtering.on_input:
            return
        prompt, hits = await self.filtering.input(call.prompt, call.kind)
        call.hits += hits
        if prompt != call.prompt:
            call.changed(prompt)

    async def _whole(self, exchange: Exchange, call: Call, once: Callable[[], None]) -> None:
        body = await call.route.backend.complete(call.asked())
        if not self.filtering.on_output:
            answer = call.transcript.whole(body)
            body = Renamed(call.id, call.model)(body, answer)
        else:
            answer = Transcript(call.transcript.backend, keep_text=False).whole(body)
            answer, hits = await self.filtering.answer(answer, call.prompt_of)
            call.hits += hits
            body = json.dumps({**answer, "id": call.id, "model": call.model}).encode()
            call.transcript.whole(body)
        call.status = 200
        once()  # before the client has it: it may speak of it at once
        await exchange.answer(200, body)

    async def _stream(self, exchange: Exchange, call: Call, once: Callable[[], None]) -> None:
        filtered = None
        if self.filtering.on_output:
            filtered = FilteredStream(self.filtering, call.prompt_of, call.choices)
        stream, before = Stream(call, filtered), list(call.hits)
        async with aclosing(call.route.backend.stream(call.asked())) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if stream.done:
                    continue  # nothing but the end of the body comes after it
                out = await stream.pass_on(batch)
                if filtered is not None:
                    call.hits = [*before, *filtered.hits]
                if out and not exchange.started:
                    await exchange.begin_stream()
                if stream.done:
                    await self._end(exchange, call, out, once)
                    if stream.early:
                        return  # which closes the stream, and tells the backend to stop
                elif out:
                    await exchange.write(out)
        if not stream.done:
            out = stream.finish()
            if not exchange.started:
                await exchange.begin_stream()
            await self._end(exchange, call, out, once)

    async def _say(self, exchange: Exchange, call: Call, text: str, once: Callable[[], None]) -> None:
        """An answer of the gateway's own."""
        last = "content_filter"
        shown = {"id": call.id, "created": int(call.created), "model": call.model}
        said: Any
        if call.kind == "chat":
            kind, said = "chat.completion", {"role": "assistant", "content": text}
            choice = {"index": 0, "delta" if call.stream else "message": said, "finish_reason": last}
        else:
            kind, choice = "text_completion", {"index": 0, "text": text, "finish_reason": last, "logprobs": None}
        if call.kind == "chat" and call.stream:
            kind += ".chunk"
        body = json.dumps({**shown, "object": kind, "choices": [choice]}).encode()
        if not call.stream:
            call.transcript.whole(body)
            call.status = 200
            once()
            await exchange.answer(200, body)
            return
        call.transcript.part(body)
        await exchange.begin_stream()
        await self._end(exchange, call, event(body) + event(DONE), once)

    async def _end(self, exchange: Exchange, call: Call, out: bytes, once: Callable[[], None]) -> None:
        call.status = 200
        once()
        await exchange.write(out)
        await exchange.end()

    def _record(self, call: Call) -> None:
        row = call.row()
        self.metrics.count(row.fields, call.hits)
        self.recorder.put(row)
        user = None if call.user is None else self.store.hash(call.user)
        if call.shadow_of is None:
            self.canaries.request(row.fields, user or call.id)
        if self.observer is not None:
            self.observer.served(call.served(user))


class _Once:
    """Records a call the first time that it is told to."""

    def __init__(self, record: Callable[[Call], None], call: Call):
        self._record, self._call, self._done = record, call, False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._record(self._call)
