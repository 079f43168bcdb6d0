"""Copies of requests for variants that only listen: nobody waits for them, and there are only so many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..monitoring import Failures
from .call import Call
from .errors import ApiError
from .metrics import Metrics
from .routing import Router

_LOG = logging.getLogger(__name__)


class Shadows:
    """Sends copies, a few at a time.

    Args:
        router ([`Router`]): Says who gets one.
        metrics ([`Metrics`]): Counts those that had no place.
        record (`Callable`): Keeps what came of each.
        at_once (`int`): Copies on their way.
        waiting (`int`): Copies that may wait; others are dropped.
        failures ([`~rlhf_ext.deployment.monitoring.Failures`]): Where errors are counted that nobody has foreseen.
    """

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        record: Callable[[Call], None],
        at_once: int,
        waiting: int,
        failures: Failures,
    ):
        self._router, self._metrics, self._record, self._failures = router, metrics, record, failures
        self._at_once = at_once
        self._queue: asyncio.Queue[Call] = asyncio.Queue(waiting)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(self._at_once)]

    async def stop(self) -> None:
        """Drops what is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def offer(self, call: Call) -> None:
        """Copies a request for whom it concerns; returns at once."""
        for route in self._router.shadows(call.model, call.id):
            if self._queue.full():
                self._metrics.shadows_dropped.inc()
            else:
                self._queue.put_nowait(call.copy(route))

    async def _work(self) -> None:
        while True:
            call = await self._queue.get()
            with self._failures.within("shadows"):  # or one error would end the worker, and in time all of them
                await self._answer(call)

    async def _answer(self, call: Call) -> None:
        try:
            async with call.route.backend.gate:
                call.transcript.whole(await call.route.backend.complete(call.asked()))
            call.status = 200
        except ApiError as error:
            call.failed(error)
        self._record(call)
