"""Fresh items while people answer: drawn from a source when few are left, in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ...data.store import FeedbackItem, WorkQueue

_LOG = logging.getLogger(__name__)
Batch = Sequence[FeedbackItem | dict[str, Any]]


@dataclass(frozen=True)
class LiveState:
    """What the admin is told.

    Args:
        added (`int`): Items added since the start.
        state (`str`): `"waiting"`, `"working"`, `"finished"` (the source has no more) or `"failed"`.
        error (`str`, *optional*): What went wrong, in words.
    """

    added: int
    state: str
    error: str | None = None


class LiveItems:
    """Keeps a queue filled from a source of items, such as a model that writes candidates.

    The source is read lazily, in one thread of its own: another batch is asked for when fewer than `enough` items are open. An
    error of the source ends it and is shown to the admin; what was added stays, and people go on answering. While the store is
    locked or out of reach, it waits.

    Args:
        batches (`Iterable[list]`): Batches of items (or rows of items), made when asked for. [`stop`] takes hold between two of
            them, so let one take seconds, not minutes.
        enough (`int`, *optional*, defaults to `20`): Open items at which nothing is asked for.
        every (`float`, *optional*, defaults to `2.0`): Seconds between two looks at the queue.

    Example:
    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackItem, FeedbackStore, WorkQueue
    >>> from rlhf_ext.deployment.feedback_ui import LiveItems

    >>> queue = WorkQueue(FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite"))
    >>> live = LiveItems([[FeedbackItem("comparison", "2+2?", ("4", "5"))]])
    >>> live.start(queue)
    >>> live.wait()
    >>> live.state()
    LiveState(added=1, state='finished', error=None)
    >>> live.stop()

    ```
    """

    def __init__(self, batches: Iterable[Batch], enough: int = 20, every: float = 2.0) -> None:
        if enough < 1:
            raise ValueError(f"`enough` should be at least 1, got {enough}.")
        self.enough, self.every = enough, every
        self._batches = batches
        self._added = 0
        self._working = False
        self._stop = threading.Event()
        self._thread: ThreadPoolExecutor | None = None
        self._future: Future[None] | None = None

    def start(self, queue: WorkQueue) -> None:
        """Begins to fill a queue."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-items")
        self._future = self._thread.submit(self._fill, queue, iter(self._batches))
        self._future.add_done_callback(_log_error)

    def stop(self) -> None:
        """Ends it; waits for the batch that is being made."""
        self._stop.set()
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def wait(self, seconds: float | None = None) -> None:
        """Waits until the source is at its end, or failed.

        Raises:
            TimeoutError: If that takes longer than `seconds`.
        """
        if self._future is not None:
            self._future.exception(seconds)

    def state(self) -> LiveState:
        """How it goes."""
        if self._future is None or not self._future.done():
            return LiveState(self._added, "working" if self._working else "waiting")
        error = self._future.exception()
        if error is None:
            return LiveState(self._added, "finished")
        return LiveState(self._added, "failed", f"{type(error).__name__}: {error}")

    def _fill(self, queue: WorkQueue, batches: Iterator[Batch]) -> None:
        made: list[Any] | None = None  # and not stored yet
        while not self._stop.is_set():
            if made is None:
                waiting = _asked(open_items, queue)
                if waiting is None or waiting >= self.enough:
                    self._stop.wait(self.every)
                    continue
                self._working = True
                batch = next(batches, None)
                if batch is None:
                    return
                made = list(batch)
            added = _asked(queue.add, made)
            if added is None:
                self._stop.wait(self.every)
                continue
            self._added += added
            made, self._working = None, False


def _asked(store: Callable[[Any], int], given: Any) -> int | None:
    """What the store says; None while it is locked, full or out of reach, which passes and should end nothing."""
    try:
        return store(given)
    except OSError as error:
        _LOG.warning("Fresh items wait for the store: %s", error)
        return None


def _log_error(future: Future[None]) -> None:
    if error := future.exception():
        _LOG.error("Fresh items have stopped: %s: %s", type(error).__name__, error)


def open_items(queue: WorkQueue) -> int:
    """Items that somebody may still be asked."""
    return queue.progress("nobody in particular").remaining
