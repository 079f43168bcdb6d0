"""How many requests are with a model server at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from .errors import too_many


class Gate:
    """Lets `at_once` in; others wait in order, at most `waiting` of them, for at most `seconds`.

    Args:
        at_once (`int`): Requests within.
        waiting (`int`): Requests that may wait. Beyond it, one is refused at once: a queue that grows without end only makes
            everybody late.
        seconds (`float`): Longest wait.

    Raises:
        ApiError: On entering: 429, with the time after which to try again.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float):
        self.at_once, self.waiting, self.seconds = at_once, waiting, seconds
        self.inside = 0
        self.queue: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.inside < self.at_once and not self.queue:
            self.inside += 1
            return
        if len(self.queue) >= self.waiting:
            raise too_many("Too many requests are waiting. Send yours again in a moment.", 1.0)
        turn = asyncio.get_running_loop().create_future()
        self.queue.append(turn)
        try:
            async with asyncio.timeout(self.seconds):
                await turn
        except TimeoutError:
            self._leave(turn)
            raise too_many(f"There was no free place within {self.seconds:g} seconds.", 1.0) from None
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next()

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Nobody waits for this turn any more; one that was given meanwhile goes to the next."""
        if turn.done() and not turn.cancelled():
            self._next()
        elif turn in self.queue:
            self.queue.remove(turn)

    def _next(self) -> None:
        while self.queue:
            turn = self.queue.popleft()
            if not turn.done():
                turn.set_result(None)  # the place passes on: `inside` stays as it is
                return
        self.inside -= 1
