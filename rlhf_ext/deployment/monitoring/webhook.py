"""Sends notices to a webhook: in order, tried again while it fails, by a thread that nobody waits for."""

from __future__ import annotations

import http.client
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any

from .alerts import Notice
from .settings import WebhookSettings

_LOG = logging.getLogger(__name__)
_LONGEST = 60.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: what is posted, with its token, goes nowhere else."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class Webhook:
    """Posts notices as JSON.

    They are sent one after another, so that what was resolved is never told before it fired. A receiver that answers with a status of
    400 to 499 (but 408 and 429) will not like the notice later either: it is dropped. Everything else is tried again, after a second,
    two, four, up to a minute, for `keep_trying` seconds. A notice can come twice, with the same `id` and `state`: where an answer
    is lost. The log says that it fails, once until it works again, by the kind of error alone: addresses and answers can be secrets.

    Args:
        settings ([`WebhookSettings`]): Where to, and for how long.
        failed (`Callable`): Told of each notice that is dropped.
        pause (`float`, *optional*, defaults to `1.0`): Seconds before the second try.

    Raises:
        ValueError: If the address is not in the environment.
    """

    def __init__(self, settings: WebhookSettings, failed: Callable[[], None], pause: float = 1.0):
        self.settings, self.pause = settings, pause
        self._address, self._failed = settings.address(), failed
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._waiting: deque[Notice] = deque()
        self._changed = threading.Condition()
        self._stopping = self._down = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    @property
    def down(self) -> bool:
        """Whether the last try failed."""
        return self._down

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def put(self, notice: Notice) -> None:
        """Takes a notice, at once."""
        with self._changed:
            self._waiting.append(notice)
            if len(self._waiting) > self.settings.waiting:
                self._waiting.popleft()
                self._failed()
            self._changed.notify()

    def stop(self, seconds: float) -> None:
        """Sends what is left, each once, within `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                notice = self._waiting[0]
            done = self._send(notice)
            with self._changed:
                # It may have been dropped meanwhile, to make room.
                if done and self._waiting and self._waiting[0] is notice:
                    self._waiting.popleft()

    def _send(self, notice: Notice) -> bool:
        """Tries until it is taken, or given up."""
        wait, until = self.pause, time.monotonic() + self.settings.keep_trying
        while True:
            problem, again = self._post(notice)
            if not problem:
                self._down = False
                return True
            if not self._down:
                _LOG.error("The webhook for alerts fails: %s. It is tried again for as long as configured.", problem)
            self._down = True
            if not again or self._stopping or time.monotonic() + wait > until:
                _LOG.error("The alert %s (%s) was not taken by the webhook.", notice.rule.name, notice.state)
                self._failed()
                return True
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, wait)
            wait = min(_LONGEST, 2 * wait)

    def _post(self, notice: Notice) -> tuple[str, bool]:
        """What went wrong, if anything, and whether another try may help."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{notice.id}-{notice.state}"}
        token = os.environ.get(self.settings.bearer_env or "", "").strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self._address, json.dumps(notice.body()).encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.settings.timeout) as answer:
                answer.read(1)
            return "", False
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}", error.code in (408, 429) or error.code >= 500
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            kind = type(reason).__name__ if isinstance(reason, BaseException) else type(error).__name__
            return kind, not isinstance(error, ValueError)
