"""`/v1/feedback`: what people say of answers, stored before it is acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from ...data.store.served import ServedFeedback, ServedStore, UnknownResponse
from .admission import KeyRing, RateLimits
from .bodies import read_json
from .errors import ApiError, invalid
from .exchange import Exchange
from .recording import Recorder, Redaction
from .settings import GatewaySettings

_OURS = re.compile(r"(chatcmpl|cmpl)-[0-9a-f]{32}")
_ASK_AGAIN = (0.0, 0.1, 0.3, 0.6)
"""Seconds: another gateway of this store may be about to store the response."""
_COMMON = ("response_id", "kind", "user", "id")


class Feedback:
    """Takes feedback.

    Args:
        settings ([`GatewaySettings`]), keys ([`KeyRing`]), limits ([`RateLimits`]): Who may speak.
        store ([`~rlhf_ext.data.store.served.ServedStore`]), recorder ([`Recorder`]): Where it goes, and where responses come from.
        redact ([`Redaction`]): What is taken out of texts.
        said (`Callable`): Told of what was stored, in a thread.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        keys: KeyRing,
        limits: RateLimits,
        store: ServedStore,
        recorder: Recorder,
        redact: Redaction,
        said: Callable[[ServedFeedback], None],
    ):
        self.settings, self.keys, self.limits = settings, keys, limits
        self.store, self.recorder, self.redact, self.said = store, recorder, redact, said

    async def handle(self, exchange: Exchange) -> tuple[int, dict[str, Any]]:
        """Takes one; gives status and answer.

        Raises:
            ApiError: If it is none, about no known response, or could not be stored.
        """
        key = self.keys.check(exchange)
        limits = self.settings.limits
        client = key.id if key is not None else f"address {exchange.address}"
        await self.limits.take(
            f"feedback {client}", (key.requests_per_minute if key else None) or limits.requests_per_minute
        )
        body = read_json(await exchange.body((key.max_body if key else None) or limits.max_body, limits.body_seconds))
        said = self._read(body, exchange, key.id if key else None)
        try:
            new = await self._store(said)
        except UnknownResponse as error:
            message = f"No response with id '{str(error.args[0])[:200]}' found."
            raise ApiError(404, message, param="response_id", code="response_not_found") from None
        except ValueError as error:
            raise _invalid(error) from None
        except OSError:
            message = "The feedback could not be stored. Send it again in a moment."
            raise ApiError(503, message, code="store_unavailable", retry_after=2) from None
        if new:
            await asyncio.to_thread(self.said, said)
        return 200, {"id": said.id, "object": "feedback", "response_id": said.response, "kind": said.kind}

    def _read(self, body: dict[str, Any], exchange: Exchange, key: str | None) -> ServedFeedback:
        for name in ("response_id", "kind"):
            if body.get(name) is None:
                raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
        for name in _COMMON:
            if body.get(name) is not None and not isinstance(body[name], str):
                raise invalid(f"Invalid type for '{name}': expected a string.", name, "invalid_type")
        value = {name: one for name, one in body.items() if name not in _COMMON and one is not None}
        user = exchange.header(self.settings.user_header) or body.get("user") or None
        given = body.get("id") or exchange.header("idempotency-key") or None
        # Of clients that do not know of one another: the same id of another key is another feedback.
        number = {} if given is None else {"id": f"{key}:{given}" if key else given}
        try:
            said = ServedFeedback(body["response_id"], body["kind"], value, key, user, **number)
        except ValueError as error:
            raise _invalid(error) from None
        texts = {name: self.redact(value[name]) for name in ("text", "comment") if isinstance(value.get(name), str)}
        for name, text in texts.items():
            if text is None:
                raise invalid(f"Invalid '{name}': it is too long.", name, "string_above_max_length")
        return ServedFeedback(said.response, said.kind, {**value, **texts}, key, user, said.id)

    async def _store(self, said: ServedFeedback) -> bool:
        check = self.keys.needed
        for seconds in (0.0, *_ASK_AGAIN):
            await asyncio.sleep(seconds)
            try:
                return await asyncio.to_thread(self.store.add_feedback, said, check)
            except UnknownResponse as error:
                if not _OURS.fullmatch(str(error.args[0])):
                    raise
                await asyncio.to_thread(self.recorder.flush, 5.0)
        return await asyncio.to_thread(self.store.add_feedback, said, check)


def _invalid(error: ValueError) -> ApiError:
    name, _, words = str(error).partition(": ")
    return invalid(f"Invalid '{name}': {words}", name, "invalid_value")
