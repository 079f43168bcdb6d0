"""The gateway as an ASGI application: what is where, and what begins and ends with it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ...data.store.served import ApiKeys, ServedFeedback, ServedStore, SharedBuckets
from ..experiments import read_experiments
from ..monitoring import Monitor
from .admission import KeyRing, RateLimits
from .backend import Backend
from .bodies import unknown_url
from .canaries import OWN, Canaries
from .completions import Completions
from .errors import ApiError
from .exchange import ClientGone, Exchange, Stopping
from .feedback import Feedback
from .filtering import Filtering, build_filters
from .metrics import CONTENT_TYPE, Metrics
from .observing import Observer, Observers
from .reading import check_alerts
from .recording import Recorder, Redaction
from .routing import Router, model_of
from .settings import GatewaySettings
from .status import Status
from .upstream import Upstream

_LOG = logging.getLogger(__name__)
_PATIENCE = 5.0
"""Seconds that the gateway waits for a locked database: somebody waits for it."""
_READY_FOR = 2.0
"""Seconds that the answer of backends whether they are ready is good for."""
_HOUR = 3600.0

Handler = Callable[[Exchange], Awaitable[None]]


class Gateway:
    """The application; see [`create_gateway`].

    Args:
        settings ([`GatewaySettings`]): What it is told.
        observer ([`Observer`], *optional*): Is told of every request.
    """

    def __init__(self, settings: GatewaySettings, observer: Observer | None = None):
        check_alerts(settings)
        self.settings = settings
        self.store = ServedStore(settings.store.database, _PATIENCE)
        self.store.hash("")  # makes the salt, or fails before anybody is let in
        self.metrics, self.stopping = Metrics(), Stopping()
        self.monitor = Monitor(
            settings.monitoring,
            self.metrics,
            self._key_of,
            lambda: self.canaries.standings(),
            scored=lambda served, name, value: self.canaries.scored(served, name, value),
        )
        watching = [self.monitor] if observer is None else [self.monitor, observer]
        self.observer = Observers(watching, self.monitor.failures)
        self.backends = _backends(settings)
        experiments, plans = (None, []) if settings.experiments is None else read_experiments(settings.experiments)
        self.router = Router(settings, self.backends, experiments)
        sample = settings.monitoring.sample
        told = None if observer is not None else [*OWN, *(sample.scores if sample else ())]
        self.canaries = Canaries(plans, self.store, self.router, told)
        self.filtering = Filtering(build_filters(settings.filters), settings.limits.filter_seconds)
        self.keys = KeyRing(ApiKeys(self.store.database))
        self.keys.load()
        redact = Redaction(settings.store.redact, settings.store.max_text)
        self.recorder = Recorder(self.store, settings.store.texts, redact, self.metrics.lost.inc)
        self._buckets = SharedBuckets(self.store.database)
        limits = RateLimits(self._buckets)
        self.completions = Completions(
            settings,
            self.router,
            self.keys,
            limits,
            self.store,
            self.recorder,
            self.metrics,
            self.stopping,
            self.filtering,
            self.canaries,
            self.monitor.failures,
            self.observer,
        )
        self.feedback = Feedback(settings, self.keys, limits, self.store, self.recorder, redact, self._said)
        self._ready: tuple[float, list[str]] = (0.0, [])
        self._tasks: list[asyncio.Task[None]] = []
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): lambda exchange: self.completions.handle(exchange, "chat"),
            ("POST", "/v1/completions"): lambda exchange: self.completions.handle(exchange, "completion"),
            ("POST", "/v1/feedback"): self._feedback,
            ("GET", "/v1/models"): self._models,
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/status"): Status(self.monitor, self.keys).handle,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"The gateway speaks HTTP, not {scope['type']}.")
        exchange = Exchange(scope, receive, send)
        try:
            await self._handler(scope["method"], scope["path"])(exchange)
        except ApiError as error:
            self.metrics.requests.labels("refused", error.status).inc()
            await exchange.refuse(error)
        except ClientGone:
            pass

    def _handler(self, method: str, path: str) -> Handler:
        found = self._routes.get((method, path))
        if found is not None:
            return found
        if method == "GET" and path.startswith("/v1/models/"):
            return lambda exchange: self._model(exchange, path.removeprefix("/v1/models/"))
        others = [known for known, where in self._routes if where == path]
        if others:
            message = f"Method {method} is not allowed here; {', '.join(others)} is."
            raise ApiError(405, message, code="method_not_supported")
        raise unknown_url(method, path)

    async def _feedback(self, exchange: Exchange) -> None:
        status, answer = await self.feedback.handle(exchange)
        await exchange.answer(status, json.dumps(answer).encode())

    def _said(self, said: ServedFeedback) -> None:
        """In a thread: it may ask the store."""
        self.canaries.feedback(said)
        self.observer.said(said.response, said.kind, dict(said.value))

    def _key_of(self, response: str) -> tuple[str, str | None] | None:
        """Model and variant of a response, for whoever asks in a thread."""
        found = next(self.store.responses([response]), None)
        return None if found is None else (found.model, found.variant)

    async def _models(self, exchange: Exchange) -> None:
        self.keys.check(exchange)
        found = {"object": "list", "data": await self.router.models()}
        await exchange.answer(200, json.dumps(found).encode())

    async def _model(self, exchange: Exchange, name: str) -> None:
        self.keys.check(exchange)
        await exchange.answer(200, json.dumps(model_of(await self.router.models(), name)).encode())

    async def _healthz(self, exchange: Exchange) -> None:
        """Whether the process works at all."""
        await exchange.answer(200, b'{"status": "ok"}')

    async def _readyz(self, exchange: Exchange) -> None:
        """Whether to send requests here: not while it stops, and not while the store or all backends are away."""
        if self.stopping.begun:
            why = "shutting down"
        elif self.recorder.away:
            why = "the store is away"
        else:
            why = "" if await self._answering() else "no backend answers"
        state = {"status": "not ready" if why else "ready", "why": why, "backends": self._ready[1]}
        await exchange.answer(503 if why else 200, json.dumps(state).encode())

    async def _answering(self) -> list[str]:
        asked, found = self._ready
        if time.monotonic() > asked + _READY_FOR:
            answers = await asyncio.gather(*(backend.ready() for backend in self.backends.values()))
            found = [name for name, answer in zip(self.backends, answers, strict=True) if answer]
            self._ready = (time.monotonic(), found)
        return found

    async def _metrics(self, exchange: Exchange) -> None:
        self.keys.check(exchange)
        for name, backend in self.backends.items():
            self.metrics.waiting.labels(name).set(len(backend.gate.queue))
        await exchange.answer(200, self.metrics.text(), content_type=CONTENT_TYPE.encode())

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        for backend in self.backends.values():
            await backend.start()
        self.recorder.start()
        self.monitor.start()
        loop = asyncio.get_running_loop()
        self.completions.shadows.start()
        work = (self.keys.keep_looking(), self.canaries.keep_stepping(), self._tidy())
        self._tasks = [loop.create_task(one) for one in work]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.completions.shadows.stop()
        for backend in self.backends.values():
            await backend.close()
        self.filtering.close()
        await asyncio.to_thread(self.recorder.stop, 10.0)
        await asyncio.to_thread(self.monitor.stop, 5.0)
        self.metrics.close()
        self.store.close()

    async def _tidy(self) -> None:
        """Drops what is older than it may be, once an hour."""
        days = self.settings.store.retention_days
        while True:
            try:
                await asyncio.to_thread(self._buckets.forget, time.time() - _HOUR)
                if days is not None:
                    await asyncio.to_thread(self.store.forget_before, time.time() - days * 86_400)
            except OSError as error:
                _LOG.error("What is too old could not be deleted, and will be within the hour: %s", error)
            await asyncio.sleep(_HOUR)


def create_gateway(settings: GatewaySettings, observer: Observer | None = None) -> ASGIApp:
    """The gateway as an ASGI application, for [`serve`] or any ASGI server.

    It speaks OpenAI's API: `/v1/chat/completions`, `/v1/completions` and `/v1/models`, streaming and not; beside it `/v1/feedback`,
    `/healthz`, `/readyz`, `/metrics` and `/status`, a page for people.

    Args:
        settings ([`GatewaySettings`]): Who answers, what is kept, what is allowed.
        observer ([`Observer`], *optional*): Is told of every request: the seam for monitoring.

    Returns:
        `ASGIApp`: the application. Its `gateway` is the [`Gateway`].

    Raises:
        ValueError: If the settings do not go together.
        ConnectionError: If the store cannot be opened.
    """
    return _Safe(Gateway(settings, observer))


class _Safe(ServerErrorMiddleware):
    """Answers what nobody has foreseen in OpenAI's shape too; the server logs where it came from."""

    def __init__(self, gateway: Gateway):
        super().__init__(gateway, handler=_unforeseen)
        self.gateway = gateway


def _unforeseen(request: Request, error: Exception) -> Response:
    told = ApiError(500, "The gateway had an error of its own while it handled the request.", code="internal_error")
    return Response(told.body(), 500, media_type="application/json")


def _backends(settings: GatewaySettings) -> dict[str, Backend]:
    found: dict[str, Backend] = {name: Upstream(name, one) for name, one in settings.upstreams.items()}
    if settings.local:
        from .in_process import InProcess  # needs torch, which a gateway over model servers does not

        found |= {name: InProcess(name, one) for name, one in settings.local.items()}
    return found
