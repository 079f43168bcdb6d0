"""Work that no request waits for: a bounded queue and a thread; what fails is counted, and logged once of each kind."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

_LOG = logging.getLogger(__name__)
_KINDS = 200

T = TypeVar("T")


class Failures:
    """Errors of what watches, which must not be errors of what it watches.

    They are counted, and logged the first time that each kind comes up in a part: kind and place alone, since a message may hold what
    people wrote. It is a context manager, and no broad `except`: nothing is swallowed, alerts and `/metrics` show how many there were.

    Args:
        counted (`Callable`, *optional*): Told of each: part and kind of error.
        clock (`Callable`, *optional*): Seconds since 1970.
    """

    def __init__(
        self, counted: Callable[[str, str], None] = lambda part, kind: None, clock: Callable[[], float] = time.time
    ):
        self._counted, self._clock = counted, clock
        self._logged: set[tuple[str, str]] = set()
        self.recent: deque[tuple[float, str, str]] = deque(maxlen=1000)
        """Time, part and kind of the last ones."""

    def within(self, part: str) -> Guarded:
        """A block whose errors concern nobody else."""
        return Guarded(self, part)

    def count(self, since: float, part: str | None = None) -> int:
        """How many there were since a time (at most 1,000 are remembered)."""
        return sum(1 for when, whose, _ in list(self.recent) if when >= since and part in (None, whose))

    def note(self, part: str, error: Exception) -> None:
        """Counts an error."""
        kind = type(error).__name__
        self.recent.append((self._clock(), part, kind))
        self._counted(part, kind)
        if (part, kind) not in self._logged and len(self._logged) < _KINDS:
            self._logged.add((part, kind))
            words = "%s failed (%s at %s), and goes on; further errors of this kind are only counted."
            _LOG.error(words, part, kind, _place(error))


class Guarded:
    """See [`Failures.within`]."""

    def __init__(self, failures: Failures, part: str):
        self._failures, self._part = failures, part
        self.failed = False

    def __enter__(self) -> Guarded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False  # an interrupt goes its way
        self.failed = True
        self._failures.note(self._part, error)
        return True


class Background(Generic[T]):
    """Handles things in a thread of its own, in batches; takes them at once, or drops them.

    The thread looks for work a few times a second. Were it woken for each thing, it would take turns with the event loop for each, and
    answers would wait for it.

    Args:
        part (`str`): What it is, for logs and counters.
        handle (`Callable`): Is given one to `batch` things.
        failures ([`Failures`]): Where its errors go.
        room (`int`): Things that may wait; others are dropped.
        dropped (`Callable`): Told of each of those.
        batch (`int`, *optional*, defaults to `1`): Things at once.
        every (`float`, *optional*, defaults to `0.2`): Seconds between two looks.
    """

    def __init__(
        self,
        part: str,
        handle: Callable[[list[T]], None],
        failures: Failures,
        room: int,
        dropped: Callable[[], None],
        batch: int = 1,
        every: float = 0.2,
    ):
        self.part, self.room, self.batch, self.every = part, room, batch, every
        self.waiting: deque[T] = deque()
        self._handle, self._failures, self._dropped = handle, failures, dropped
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=part, daemon=True)
        self._busy = False

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def put(self, thing: T) -> bool:
        """Takes something, at once; gives whether there was room."""
        if len(self.waiting) >= self.room:
            self._dropped()
            return False
        self.waiting.append(thing)
        return True

    def work(self) -> None:
        """Handles all that waits, in whoever's thread calls it; one at a time may."""
        while self.waiting:
            self._busy = True
            things = [self.waiting.popleft() for _ in range(min(self.batch, len(self.waiting)))]
            with self._failures.within(self.part):
                self._handle(things)
        self._busy = False

    def settle(self, seconds: float) -> bool:
        """Waits until all that was put before is handled; gives whether it is."""
        until = time.monotonic() + seconds
        while (self.waiting or self._busy) and time.monotonic() < until:
            time.sleep(0.005)
        return not self.waiting and not self._busy

    def stop(self, seconds: float) -> None:
        """Handles what is left, within `seconds`; what takes longer is left where it is."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self.every):
            self.work()
        self.work()


def _place(error: BaseException) -> str:
    """Where an error came from: the last file and line that it passed."""
    found = error.__traceback__
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    return "unknown" if found is None else f"{found.tb_frame.f_code.co_filename}:{found.tb_lineno}"
