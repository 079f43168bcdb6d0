"""Sending requests to an endpoint: several at a time, again after a failure, no faster than it allows, until told to stop."""

from __future__ import annotations

import asyncio
import email.utils
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from transformers.utils import logging

from .answer import Unanswered

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

logger = logging.get_logger(__name__)

_LONGEST_WINDOW = 60.0
"""Seconds: a server that says that this window of requests is used up is asked again after so long at the latest."""
_LONG = 30.0
"""Seconds: a wait that is worth a word."""


class Sender:
    """Chat requests on their way, in an event loop of its own thread; a context that cancels what is left when it ends.

    What may pass (429, 408, 409, 5xx, no connection, a timeout, a body that is no JSON) is sent again after the time that the
    server asks for (`Retry-After`, `x-ratelimit-reset-requests` once nothing remains), or else after a wait that doubles, with
    jitter. While one waits because of a limit, no other is sent. What concerns one request alone becomes [`Unanswered`]; what
    concerns all of them (a wrong key, no such model, a longer wait than `max_wait`) ends the work.

    Args:
        base_url (`str`): The endpoint.
        api_key_env (`str`): Environment variable with the key.
        timeout (`float`): Seconds an attempt may take.
        max_retries (`int`): How often a request is sent again.
        max_wait (`float`): Seconds that the server may ask to wait.
    """

    def __init__(self, base_url: str, api_key_env: str, timeout: float, max_retries: int, max_wait: float):
        self.base_url, self.timeout, self.max_retries, self.max_wait = base_url, timeout, max_retries, max_wait
        self._has_warned = False
        self._key_name, self._key = api_key_env, os.environ.get(api_key_env, "").strip()
        self._results: queue.Queue[tuple[int, Future[Any]]] = queue.Queue()
        self._not_before = 0.0
        self._jitter = random.Random()

    def __enter__(self) -> Sender:
        from openai import AsyncOpenAI

        key = self._key or "not-needed"
        self._client = AsyncOpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if sys.is_finalizing():  # the loop's thread has ended with the program: nobody would answer
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.close()

    def submit(self, index: int, request: Mapping[str, Any]) -> None:
        """Sends a request; its outcome will be among [`next_result`]'s under `index`."""
        sent = asyncio.run_coroutine_threadsafe(self._send(request), self._loop)
        sent.add_done_callback(lambda future: self._results.put((index, future)))

    def next_result(self) -> tuple[int, ChatCompletion | Unanswered, int]:
        """The next outcome, when there is one, with its index and the attempts that it took.

        Raises:
            PermissionError, ValueError, TimeoutError: What concerns all requests: a refused key, an unknown model, a server that
                asks to wait for longer than `max_wait`.
        """
        index, future = self._results.get()
        return index, *future.result()

    async def _send(self, request: Mapping[str, Any]) -> tuple[ChatCompletion | Unanswered, int]:
        outcome, attempts = None, 0
        while outcome is None:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            attempts += 1
            outcome = await self._attempt(request, attempts)
        return outcome, attempts

    async def _attempt(self, request: Mapping[str, Any], attempts: int) -> ChatCompletion | Unanswered | None:
        """An answer, a reason why there will be none, or None: to be sent again."""
        import openai

        failure: Exception
        headers: Mapping[str, str] = {}
        try:
            raw = await self._client.chat.completions.with_raw_response.create(**request)
            self._heed(raw.headers)
            return raw.parse()
        except openai.APIStatusError as error:
            if error.status_code in (401, 403) or error.code == "insufficient_quota":
                what = (
                    f"refuses the key in {self._key_name}"
                    if self._key
                    else f"asks for a key, and {self._key_name} is not set"
                )
                words = f"{self.base_url} {what}: {self._words(error)}"
                raise PermissionError(words) from None  # the client's own error holds the request with the key
            if error.status_code == 404:
                raise ValueError(f"{self.base_url} does not know {request['model']!r}: {self._words(error)}") from None
            passing = error.status_code in (408, 409, 429) or error.status_code >= 500
            failure, headers = error, error.response.headers
        except (openai.APIConnectionError, openai.APIResponseValidationError, ValueError) as error:
            passing, failure = True, error  # a timeout, a cut connection, a body that is no JSON
        if not passing or attempts > self.max_retries:
            return self._unanswered(failure, attempts)
        wait = _asked_wait(headers)
        if wait is None:
            wait = min(0.5 * 2 ** (attempts - 1), 8.0) * self._jitter.uniform(0.75, 1.25)
        else:
            self._check_wait(wait, failure)
            if isinstance(failure, openai.RateLimitError):
                self._not_before = max(self._not_before, time.monotonic() + wait)
        await asyncio.sleep(wait)
        return None

    def _check_wait(self, wait: float, failure: Exception) -> None:
        """Says so when the server asks to wait for long, once; refuses what is too long."""
        if wait > self.max_wait:
            raise TimeoutError(
                f"{self.base_url} asks to wait for {wait:,.0f} s, which is more than `max_wait`, {self.max_wait:,.0f} s "
                f"({self._words(failure)}). Try again later, or set a larger one; what a store holds is not asked again."
            ) from None  # the client's own error holds the request with the key
        if wait >= _LONG and not self._has_warned:
            self._has_warned = True
            logger.warning(f"{self.base_url} asks to wait for {wait:,.0f} s: waiting. This is said once.")

    def _unanswered(self, failure: Exception, attempts: int) -> Unanswered:
        words = f"{self.base_url} gave no answer in {attempts} attempts ({self._words(failure)})"
        found = Unanswered(words, attempts)
        found.__cause__ = failure
        return found

    def _words(self, failure: Exception) -> str:
        words = f"{type(failure).__name__}: {failure}"
        return words.replace(self._key, "***") if self._key else words  # some servers repeat the key that they refuse

    def _heed(self, headers: Mapping[str, str]) -> None:
        """Waits for the next window where the server says that this one is used up."""
        if headers.get("x-ratelimit-remaining-requests") == "0":
            wait = _seconds(headers.get("x-ratelimit-reset-requests"))
            if wait is not None:
                self._not_before = max(self._not_before, time.monotonic() + min(wait, _LONGEST_WINDOW))


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """The wait that a server asks for, in seconds."""
    milliseconds, asked = headers.get("retry-after-ms"), headers.get("retry-after")
    if milliseconds is not None and _seconds(milliseconds) is not None:
        return float(milliseconds) / 1000
    if asked is None:
        return None
    if (seconds := _seconds(asked)) is not None:
        return seconds
    date = email.utils.parsedate_tz(asked)
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


def _seconds(text: str | None) -> float | None:
    """`1`, `1.5`, `250ms`, `6m0s` as seconds."""
    if text is None:
        return None
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    rest = text.strip()
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hms"))] or "s"
        rest = rest.lstrip("hms")
        if not number.replace(".", "", 1).isdigit() or unit not in units:
            return None
        total += float(number) * units[unit]
    return total
