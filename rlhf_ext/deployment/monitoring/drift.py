"""Whether live texts go on looking like those of a reference window, with a bound on false alarms over all looks."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...stats import ConformalMartingale
from ...types import text_of
from ..rates import RateLimit
from .features import FEATURES, Feature, edges_of
from .settings import DriftSettings

_LOG = logging.getLogger(__name__)
Side = Literal["input", "output"]
SIDES: tuple[Side, ...] = ("input", "output")


@dataclass(frozen=True)
class Change:
    """A change that was found.

    Args:
        side (`str`), feature (`str`): Where.
        time (`float`): When it was found, in seconds since 1970.
        after (`int`): Texts that had been compared by then.
    """

    side: Side
    feature: str
    time: float
    after: int


@dataclass(frozen=True)
class Standing:
    """How a feature of a side stands.

    Args:
        side (`str`), feature (`str`): Which.
        reference (`int`), wanted (`int`): Texts of the reference so far, and how many there are to be.
        compared (`int`): Texts compared since.
        evidence (`float`): Log capital over the log of what counts as a change: from 1 on there is one; below 0 there is less than none.
        changed ([`Change`], *optional*): Set from when a change is found until a new reference stands.
    """

    side: Side
    feature: str
    reference: int
    wanted: int
    compared: int
    evidence: float
    changed: Change | None = None


class SideWatch:
    """The texts of one side against their reference.

    Half of the reference teaches the features and a sixth where their bins end; the third that is left is what live texts are ranked
    among: nothing that is ranked was used before, so that ranks are exact. After a change a new reference is taken from what comes then, and
    `alpha` is spent by `1 / (k (k + 1))` on the k-th reference: what is spent in all is `alpha`, for ever.

    Args:
        side (`str`): Its name.
        makers (`Mapping[str, Callable]`): Features by name: each made with texts.
        alpha (`float`): Probability at most of ever reporting a change that is not there, in (0, 1).
        reference (`int`): Texts of the reference.
        seed (`int`, *optional*, defaults to `0`): Of the breaking of ties.
        clock (`Callable`, *optional*): Seconds since 1970.

    Example:

    ```python
    >>> from rlhf_ext.deployment.monitoring.drift import SideWatch
    >>> from rlhf_ext.deployment.monitoring.features import length
    >>> watch = SideWatch("input", {"length": length}, alpha=0.01, reference=200)
    >>> found = [watch.add("x" * (1 + i * 7 % 50)) for i in range(400)]
    >>> found = [watch.add("x" * (26 + i * 7 % 50)) for i in range(100)]
    >>> [change.feature for changes in found for change in changes]
    ['length']

    ```
    """

    def __init__(
        self,
        side: Side,
        makers: Mapping[str, Callable[[Sequence[str]], Feature]],
        alpha: float,
        reference: int,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ):
        self.side, self.makers, self.alpha, self.reference = side, dict(makers), alpha, reference
        self._seed, self._clock = seed, clock
        self._references = 0
        self._texts: list[str] = []
        self._tests: dict[str, tuple[Feature, np.ndarray, ConformalMartingale]] = {}
        self._changes: dict[str, Change] = {}

    @property
    def threshold(self) -> float:
        """Log capital at which a feature has changed: each of them has its part of `alpha`."""
        part = self.alpha / max(1, self._references * (self._references + 1))
        return math.log(len(self.makers) / part)

    def add(self, text: str) -> list[Change]:
        """Takes a text; gives the changes that it brought to light."""
        if not self._tests:
            self._texts.append(text)
            if len(self._texts) >= self.reference:
                self._learn()
            return []
        found = []
        for name, (feature, edges, test) in self._tests.items():
            test.add(int(np.searchsorted(edges, feature(text), side="right")))
            if test.most_evidence >= self.threshold:
                found.append(Change(self.side, name, self._clock(), test.bets))
        if found:
            self._changes = {change.feature: change for change in found}
            self._texts, self._tests = [], {}
        return found

    def standing(self) -> list[Standing]:
        """Of each feature."""
        found = []
        for name in self.makers:
            entry = self._tests.get(name)
            seen = self.reference if entry else len(self._texts)
            evidence = entry[2].log_evidence / self.threshold if entry else 0.0
            bets = entry[2].bets if entry else 0
            found.append(Standing(self.side, name, seen, self.reference, bets, evidence, self._changes.get(name)))
        return found

    def _learn(self) -> None:
        half = len(self._texts) // 2
        teaching, ranked = self._texts[:half], self._texts[half:]
        tests = {}
        for number, (name, make) in enumerate(self.makers.items()):
            feature = make(teaching)
            # Of other texts than those it was made with: a model fits its own texts better than any others.
            values = [feature(text) for text in ranked]
            edges = edges_of(values[::3])
            test = ConformalMartingale(len(edges) + 1, seed=self._seed + 97 * number + self._references)
            shown = [value for place, value in enumerate(values) if place % 3]
            test.show(np.searchsorted(edges, shown, side="right"))
            tests[name] = (feature, edges, test)
        self._tests, self._texts, self._changes = tests, [], {}
        self._references += 1


class DriftWatch:
    """Both sides of live traffic: what people send (the last message of a prompt), and what they get.

    The test takes texts for exchangeable as long as nothing changes. Traffic that follows the clock (other people by night) or comes in
    long conversations is not, and is reported as a change: rightly so, since the reference does not speak for it.

    Args:
        settings ([`DriftSettings`]): What is compared.
        clock (`Callable`, *optional*): Seconds since 1970.

    Raises:
        FileNotFoundError: If the file of the reference is not there.
        ValueError: If it has too few rows, or one that is none; it is named.
        ImportError: If what a feature needs is not installed.
    """

    def __init__(self, settings: DriftSettings, clock: Callable[[], float] = time.time):
        self.settings = settings
        self.changes: deque[Change] = deque(maxlen=50)
        """The last ones that were found."""
        makers = _makers(settings)
        self.sides = {
            side: SideWatch(side, makers, settings.alpha / len(SIDES), settings.reference, seed, clock)
            for seed, side in enumerate(SIDES)
        }
        self._limits = {side: RateLimit(settings.per_minute) for side in SIDES}
        if settings.file is not None:
            for row in _rows(Path(settings.file), settings.reference):
                for side, text in zip(SIDES, row, strict=True):
                    self.sides[side].add(text)

    def add(self, prompt: Any, answer: str | None) -> list[Change]:
        """Takes a request; gives the changes that it brought to light."""
        found = []
        for side, text in zip(SIDES, (asked_last(prompt), answer), strict=True):
            if text is not None and not self._limits[side].wait(side):
                found += self.sides[side].add(text)
        for change in found:
            _LOG.warning("Drift: %s of the %s changed, after %d texts.", change.feature, change.side, change.after)
        self.changes.extend(found)
        return found

    def standing(self) -> list[Standing]:
        """Of each side and feature."""
        return [one for side in self.sides.values() for one in side.standing()]


def asked_last(prompt: Any) -> str | None:
    """The last message of a prompt, or the prompt; None where there is no text."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt or not isinstance(prompt[-1], dict):
        return None
    content = prompt[-1].get("content")
    return text_of([prompt[-1]]) if isinstance(content, str | list) else None


def _makers(settings: DriftSettings) -> dict[str, Callable[[Sequence[str]], Feature]]:
    makers: dict[str, Callable[[Sequence[str]], Feature]] = {name: FEATURES[name] for name in settings.features}
    if "language" in makers:
        makers["language"](["checks that what it needs is installed"])
    if settings.encoder is not None:
        from transformers import AutoModel

        from ...rewards.functions.encoders import Encoder

        encoder, made = Encoder(AutoModel, settings.encoder), FEATURES["embedding"]
        makers["embedding"] = lambda texts: made(texts, encoder)
    return makers


def _rows(path: Path, wanted: int) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                rows.append((asked_last(row["prompt"]) or "", text_of(row["completion"])))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected JSON with `prompt` and `completion`, got {line[:80]!r}."
                ) from error
            if len(rows) == wanted:
                return rows
    raise ValueError(f"{path} has {len(rows)} rows, and the reference is to have {wanted}: set `reference` to fewer.")
