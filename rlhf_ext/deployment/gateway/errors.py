"""Errors as OpenAI's API words them: what clients of any language already know how to read."""

from __future__ import annotations

import json
import math
from typing import Any


class ApiError(Exception):
    """What a client is told instead of an answer.

    Args:
        status (`int`): HTTP status.
        message (`str`): In words, without secrets.
        type (`str`, *optional*): OpenAI's `type`; by default by the status.
        param (`str`, *optional*): The field at fault.
        code (`str`, *optional*): For programs.
        retry_after (`float`, *optional*): Seconds after which it is worth another try.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.type = type or ("server_error" if status >= 500 else "invalid_request_error")
        self.retry_after = retry_after

    @property
    def fields(self) -> dict[str, Any]:
        """The `error` of a body or of an event in a stream."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    def body(self) -> bytes:
        """The whole answer."""
        return json.dumps({"error": self.fields}).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Beside those that every answer has."""
        if self.retry_after is None:
            return []
        return [(b"retry-after", str(max(1, math.ceil(self.retry_after))).encode())]


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that is not as it should be."""
    return ApiError(400, message, param=param, code=code)


def no_such_model(model: str) -> ApiError:
    """In OpenAI's words."""
    message = f"The model `{model[:200]}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")


def too_many(message: str, retry_after: float) -> ApiError:
    """A limit, or a queue that is full."""
    return ApiError(429, message, "requests", code="rate_limit_exceeded", retry_after=retry_after)


def draining() -> ApiError:
    """The gateway is about to stop."""
    return ApiError(503, "The gateway is shutting down. Send the request again.", code="shutting_down", retry_after=1)


def unavailable(name: str) -> ApiError:
    """No connection to a model server."""
    message = f"The model server {name!r} cannot be reached. Send the request again in a moment."
    return ApiError(503, message, code="upstream_unavailable", retry_after=1)


def timed_out(name: str, what: str) -> ApiError:
    """A model server that is too slow."""
    return ApiError(504, f"The model server {name!r} {what}.", code="upstream_timeout")


def broken(name: str, what: str) -> ApiError:
    """A model server whose answer is of no use."""
    return ApiError(502, f"The model server {name!r} {what}.", code="upstream_error")


def of_upstream(name: str, status: int, body: bytes, retry_after: str | None) -> ApiError:
    """What a client is told of an error of the model server.

    What concerns the request passes on, in OpenAI's shape whatever the server's was. What concerns the server or the gateway's
    own key does not, beyond its status: such messages tell of paths and machines.
    """
    if status == 429 or status == 503:
        wait = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
        if status == 429:
            return ApiError(
                429, f"The model server {name!r} is busy.", "requests", code="rate_limit_exceeded", retry_after=wait
            )
        found = unavailable(name)
        found.retry_after = wait
        return found
    if status == 504:
        return timed_out(name, "was too slow")
    if status in (401, 403) or not 400 <= status < 500:
        return broken(name, f"answered with status {status}")
    told = _told(body)
    fields = {field: told[field] for field in ("type", "param", "code") if isinstance(told.get(field), str)}
    message = told.get("message") or f"The model server {name!r} refused the request with status {status}."
    return ApiError(status, str(message)[:2000], **fields)


def _told(body: bytes) -> dict[str, Any]:
    """The fields of an error, as OpenAI's API, older vLLM's or FastAPI's word it."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    for name in ("error", "detail"):
        if isinstance(found.get(name), dict):
            return dict(found[name])
        if found.get(name):
            return {"message": found[name] if isinstance(found[name], str) else json.dumps(found[name])}
    return found if isinstance(found.get("message"), str) else {}
