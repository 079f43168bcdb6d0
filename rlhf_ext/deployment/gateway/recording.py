"""What was served goes into the store: by a thread of its own, in batches, each response once."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...data.store.served import Response, ServedStore
from ..filters import FilterSet, SpanFilter, personal_data

_LOG = logging.getLogger(__name__)
_GATHER = 0.05
_BATCH = 500
_AGAIN = 0.5
"""Seconds until a store that was away is tried again."""


@dataclass(frozen=True, slots=True)
class Unhashed:
    """A response whose prompt and user have not been hashed, nor its texts redacted: that is the thread's work."""

    fields: dict[str, Any]
    prompt: Any
    user: str | None
    texts: list[str] | None


class Redaction:
    """Takes personal data out of texts that are to be stored.

    Args:
        kinds (`list[str]`): See [`~rlhf_ext.deployment.filters.personal_data`]; none changes nothing.
        longest (`int`): Characters beyond which a text is not stored at all.

    Example:

    ```python
    >>> from rlhf_ext.deployment.gateway.recording import Redaction
    >>> Redaction(["email"], 1000)([{"role": "user", "content": "Write to ann@example.org."}])
    [{'role': 'user', 'content': 'Write to [email].'}]

    ```
    """

    def __init__(self, kinds: Sequence[str], longest: int):
        rules = [SpanFilter("personal", personal_data(kinds))] if kinds else []
        self._filters, self._longest = FilterSet(rules, not_text="allow"), longest

    def __call__(self, text: Any) -> Any:
        """The text or messages without them; None where they are too long, tokens as they are."""
        if len(text if isinstance(text, str) else json.dumps(text)) > self._longest:
            return None
        if isinstance(text, list) and text and not isinstance(text[0], dict):
            return [self(one) if isinstance(one, str) else one for one in text]
        return self._filters.check(text, "output").text


class Recorder:
    """Writes responses; holds them while the store is away, as many as fit.

    Args:
        store ([`~rlhf_ext.data.store.served.ServedStore`]): Where to.
        texts (`bool`): Whether prompts and texts are stored.
        redact ([`Redaction`]): What is taken out of them before.
        lost (`Callable`): Told how many were dropped.
        room (`int`, *optional*, defaults to `20_000`): Responses held; newer ones are dropped then.
    """

    def __init__(
        self, store: ServedStore, texts: bool, redact: Redaction, lost: Callable[[int], None], room: int = 20_000
    ):
        self.store, self.texts, self.redact, self.room = store, texts, redact, room
        self._lost = lost
        self._queue: queue.SimpleQueue[Unhashed | threading.Event | None] = queue.SimpleQueue()
        self._held: list[Response] = []
        self._away = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def away(self) -> bool:
        """Whether the store could not be written when it was last tried."""
        return self._away

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def put(self, response: Unhashed) -> None:
        """Takes a response, at once."""
        if self._queue.qsize() >= self.room:
            self._lost(1)
        else:
            self._queue.put(response)

    def flush(self, seconds: float) -> bool:
        """Waits until all that was put before is stored, or the store is away; gives whether it is stored."""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(seconds) and not self._away

    def stop(self, seconds: float) -> None:
        """Stores what is left, within `seconds`."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(seconds)
        left = len(self._held) + self._queue.qsize()
        if left and (self._thread.is_alive() or self._held):
            _LOG.error("%d responses could not be stored.", left)
            self._lost(left)

    def _run(self) -> None:
        going = True
        while going:
            going, waiting = self._gather()
            self._write()
            for written in waiting:
                written.set()

    def _gather(self) -> tuple[bool, list[threading.Event]]:
        """Takes what comes within a short while; False where it was told to stop."""
        until = 0.0
        waiting: list[threading.Event] = []
        while len(self._held) < _BATCH or self._away:
            left = max(0.0, until - time.monotonic()) if until else (_AGAIN if self._held else None)
            try:
                one = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if one is None:
                return False, waiting
            if isinstance(one, threading.Event):
                waiting.append(one)
                break
            if len(self._held) < self.room:
                self._held.append(self._finished(one))
            else:
                self._lost(1)
            until = until or time.monotonic() + _GATHER
        return True, waiting

    def _write(self) -> None:
        try:
            while self._held:
                self.store.record(self._held[:_BATCH])
                del self._held[:_BATCH]
            self._away = False
        except OSError as error:
            if not self._away:
                _LOG.error("Responses are held until the store is back: %s", error)
            self._away = True

    def _finished(self, one: Unhashed) -> Response:
        kept: dict[str, Any] = {}
        if self.texts:
            kept = {
                "prompt": self.redact(one.prompt),
                "texts": one.texts and [self.redact(text) for text in one.texts],
            }
            if None in (kept["texts"] or ()):
                kept["texts"] = None
        user = None if one.user is None else self.store.hash(one.user)
        return Response(**one.fields, **kept, prompt_hash=self.store.hash(one.prompt), user_hash=user)
