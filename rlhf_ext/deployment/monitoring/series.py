"""Figures of live traffic over time, in memory: so many steps of so many seconds, the oldest dropped."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...stats import Moments

_GROWTH = math.log(1.1)
_LEAST = 1e-4


_SUMS = ("requests", "failed", "prompt_tokens", "completion_tokens", "judged", "refused", "filtered", "stopped")


class Times:
    """Durations, sorted into bins that grow by a tenth: quantiles are right within 5 %, and two can be added up."""

    __slots__ = ("bins",)

    def __init__(self) -> None:
        self.bins: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Takes one, in seconds."""
        self.bins[max(0, math.floor(math.log(max(seconds, _LEAST) / _LEAST) / _GROWTH))] += 1

    @property
    def n(self) -> int:
        """How many there are."""
        return self.bins.total()

    def quantile(self, share: float) -> float | None:
        """The duration that `share` of them do not exceed; None of none."""
        left = share * self.n
        for bin_ in sorted(self.bins):
            left -= self.bins[bin_]
            if left <= 0:
                return _LEAST * math.exp((bin_ + 0.5) * _GROWTH)
        return None


class Key(NamedTuple):
    """Whose figures they are: a model, as asked for, the variant that an experiment chose, and whether anybody saw the answer."""

    model: str
    variant: str = ""
    shadow: bool = False


@dataclass(slots=True)
class Cell:
    """What was counted."""

    requests: int = 0
    failed: int = 0
    """Answered with a status of 500 or more."""
    errors: Counter[str] = field(default_factory=Counter)
    seconds: Times = field(default_factory=Times)
    """Of answers, not of errors."""
    ttft: Times = field(default_factory=Times)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: Moments = field(default_factory=Moments)
    judged: int = 0
    """Answers that were looked at for a refusal."""
    refused: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by filter and action."""
    filtered: int = 0
    """Requests with any hit."""
    stopped: int = 0
    """Requests that were blocked or replaced."""
    feedback: Counter[str] = field(default_factory=Counter)
    scores: dict[str, Moments] = field(default_factory=dict)

    def score(self, name: str, value: float) -> None:
        """Takes a score of a sampled answer."""
        self.scores[name] = self.scores.get(name, Moments()).added(value)

    def include(self, other: Cell) -> None:
        """Adds another's figures to these."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for counts in ("errors", "hits", "feedback"):
            getattr(self, counts).update(getattr(other, counts))
        self.seconds.bins.update(other.seconds.bins)
        self.ttft.bins.update(other.ttft.bins)
        self.characters = self.characters.merged(other.characters)
        for name, moments in other.scores.items():
            self.scores[name] = self.scores.get(name, Moments()).merged(moments)


class Series:
    """Cells by time and key, for any thread.

    Args:
        step (`float`): Seconds a cell.
        seconds (`float`): How far back it goes.
        clock (`Callable`, *optional*): Seconds since 1970.
    """

    def __init__(self, step: float, seconds: float, clock: Callable[[], float] = time.time):
        self.step, self.seconds, self.clock = step, seconds, clock
        self.begun = clock()
        self.most = math.ceil(seconds / step) + 1
        self._steps: OrderedDict[int, dict[Key, Cell]] = OrderedDict()
        self._newest = 0
        self._lock = threading.Lock()

    def update(self, key: Key, change: Callable[[Cell], None]) -> None:
        """Changes the cell of now."""
        with self._lock:
            # A clock that is set back does not reach what has been read.
            now = self._newest = max(self._newest, int(self.clock() // self.step))
            cells = self._steps.get(now)
            if cells is None:
                cells = self._steps[now] = {}
                while len(self._steps) > self.most:
                    self._steps.popitem(last=False)
            change(cells.setdefault(key, Cell()))

    def total(self, seconds: float, model: str | None = None, variant: str | None = None) -> Cell:
        """What was counted in the last `seconds`, of users' traffic alone, or of one model or variant."""
        found = Cell()
        for _, key, cell in self._since(seconds):
            if not key.shadow and model in (None, key.model) and variant in (None, key.variant):
                found.include(cell)
        return found

    def by_key(self, seconds: float) -> dict[Key, Cell]:
        """What was counted in the last `seconds`, of each model and variant."""
        found: dict[Key, Cell] = {}
        for _, key, cell in self._since(seconds):
            found.setdefault(key, Cell()).include(cell)
        return dict(sorted(found.items()))

    def over_time(self, seconds: float, points: int) -> list[tuple[float, float, dict[Key, Cell]]]:
        """The last `seconds` in about so many parts: how long ago each ended and how long it is, in seconds, and its figures."""
        every = max(1, math.ceil(seconds / self.step / points))
        now = self.clock()
        first, last = int((now - seconds) // self.step) + 1, int(now // self.step)
        parts: dict[int, dict[Key, Cell]] = {
            -part: {} for part in range((last - max(first, int(self.begun // self.step))) // every + 1)
        }
        for step, key, cell in self._since(seconds):
            into = parts.get(-((last - step) // every))
            if into is not None:
                into.setdefault(key, Cell()).include(cell)
        passed = now - last * self.step
        found = []
        for part, cells in sorted(parts.items()):
            # The newest part has not ended.
            length = (every - 1) * self.step + passed if part == 0 else every * self.step
            found.append((0.0 if part == 0 else passed + ((-part) * every - 1) * self.step, max(length, 1.0), cells))
        return found

    def _since(self, seconds: float) -> list[tuple[int, Key, Cell]]:
        oldest = int((self.clock() - seconds) // self.step)
        with self._lock:
            found = []
            for step, cells in self._steps.items():
                for key, cell in cells.items() if step > oldest else ():
                    if step == self._newest:  # it may change while it is read
                        kept = Cell()
                        kept.include(cell)
                        cell = kept
                    found.append((step, key, cell))
        return found
