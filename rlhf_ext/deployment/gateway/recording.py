"""What was served goes into the store: by a thread of its own, in batches, each response once."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
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
        self._queue: deque[Unhashed] = deque()
        self._held: list[Response] = []
        self._flushing: deque[threading.Event] = deque()
        self._wake, self._now = threading.Event(), threading.Event()
        self._stopped = self._away = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def away(self) -> bool:
        """Whether nothing is written: the store could not be when it was last tried, or the thread that writes has died."""
        return self._away or (self._thread.ident is not None and not self._thread.is_alive())

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def put(self, response: Unhashed) -> None:
        """Takes a response, at once."""
        if len(self._queue) + len(self._held) >= self.room:
            self._lost(1)
            return
        self._queue.append(response)
        if not self._wake.is_set():  # waking a thread takes longer than all else here: once a batch
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Waits until all that was put before is stored, or the store is away; gives whether it is stored."""
        written = threading.Event()
        self._flushing.append(written)
        self._now.set()
        self._wake.set()
        return written.wait(seconds) and not self.away

    def stop(self, seconds: float) -> None:
        """Stores what is left, within `seconds`."""
        self._stopped = True
        self._now.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        if left := len(self._held) + len(self._queue):
            _LOG.error("%d responses could not be stored.", left)
            self._lost(left)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(_AGAIN if self._away else None)
            self._now.wait(_GATHER)  # for company, unless somebody waits
            self._now.clear()
            self._wake.clear()
            waiting = [self._flushing.popleft() for _ in range(len(self._flushing))]
            self._write()
            for written in waiting:
                written.set()
        self._write()

    def _write(self) -> None:
        try:
            while self._held or self._queue:
                while self._queue and len(self._held) < _BATCH:
                    self._held.append(self._finished(self._queue.popleft()))
                self.store.record(self._held)
                self._held = []
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
