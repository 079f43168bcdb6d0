"""What was answered, as the parts of an answer come: texts, how it ended, what it took."""

from __future__ import annotations

import json
import time
from typing import Any

from .errors import ApiError, broken


class Transcript:
    """Reads the parts of an answer.

    Args:
        backend (`str`): Who answers, for errors.
        keep_text (`bool`): Whether to keep the texts.
    """

    def __init__(self, backend: str, keep_text: bool):
        self.backend, self.keep_text = backend, keep_text
        self.first: float | None = None
        """When the first text came."""
        self.finish_reasons: dict[int, str] = {}
        self.begun: set[int] = set()
        """Choices that there was a part of."""
        self.usage: dict[str, Any] | None = None
        self._parts: dict[int, list[str]] = {}

    def whole(self, body: bytes) -> dict[str, Any]:
        """An answer that is not streamed.

        Raises:
            ApiError: If it is none.
        """
        answer = self._object(body)
        if not isinstance(answer.get("choices"), list):
            raise broken(self.backend, "sent an answer without choices")
        self._read(answer, "message")
        return answer

    def part(self, data: bytes) -> dict[str, Any]:
        """A part of a stream.

        Raises:
            ApiError: If it is none, or an error.
        """
        part = self._object(data)
        self._read(part, "delta")
        return part

    @property
    def texts(self) -> list[str] | None:
        """A text a choice."""
        if not self.keep_text:
            return None
        return ["".join(self._parts.get(index, ())) for index in range(max(self._parts, default=-1) + 1)]

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise broken(self.backend, "sent something that is no JSON") from None
        if not isinstance(found, dict):
            raise broken(self.backend, "sent something that is no answer")
        if found.get("error"):
            raise _error(self.backend, found["error"])
        return found

    def _read(self, found: dict[str, Any], where: str) -> None:
        choices = found.get("choices")
        if isinstance(found.get("usage"), dict):
            self.usage = found["usage"]
        if choices is None:
            return
        if not isinstance(choices, list):
            raise broken(self.backend, "sent choices that are no list")
        for choice in choices:
            if not isinstance(choice, dict):
                raise broken(self.backend, "sent a choice that is none")
            index = choice.get("index") or 0
            if not isinstance(index, int):
                raise broken(self.backend, "sent a choice without its number")
            self.begun.add(index)
            if isinstance(choice.get("finish_reason"), str):
                self.finish_reasons[index] = choice["finish_reason"]
            inner = choice.get(where)
            if inner is not None and not _said(inner):
                raise broken(self.backend, f"sent a {where} that is none")
            text = inner.get("content") if isinstance(inner, dict) else choice.get("text")
            if (text or (isinstance(inner, dict) and inner.get("tool_calls"))) and self.first is None:
                self.first = time.monotonic()
            if self.keep_text and isinstance(text, str):
                self._parts.setdefault(index, []).append(text)


def _said(inner: Any) -> bool:
    """Whether it is a message, or a part of one, as far as the gateway reads it."""
    calls = inner.get("tool_calls") or [] if isinstance(inner, dict) else None
    return isinstance(calls, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("function") or {}, dict)
        and isinstance(call.get("index") or 0, int)
        for call in calls
    )


def _error(backend: str, told: Any) -> ApiError:
    """An error in the middle of a stream: its words may tell of the server, and stay with the gateway."""
    status = told.get("code") if isinstance(told, dict) else None
    if isinstance(status, int) and status in (429, 503, 504):
        return ApiError(status, f"The model server {backend!r} broke off.", code="upstream_error")
    return broken(backend, "broke off with an error")


class Renamed:
    """Gives answers the gateway's own id, and the name of the model that was asked for.

    What a model server sent is passed on byte for byte otherwise: it is not written anew.

    Args:
        id (`str`), model (`str`): What clients see.
    """

    def __init__(self, id: str, model: str):
        self._new = {"id": id, "model": model}
        self._patterns: list[tuple[bytes, bytes]] | None = None

    def __call__(self, data: bytes, parsed: dict[str, Any]) -> bytes:
        if self._patterns is None:
            self._patterns = self._find(data, parsed)
        for old, new in self._patterns:
            if data.count(old) != 1:
                break
            data = data.replace(old, new)
        else:
            return data
        return _written({**parsed, **self._new})

    def _find(self, data: bytes, parsed: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        """How this server writes the two. Quotes within texts are escaped, so that only fields look like this."""
        found = []
        for name, new in self._new.items():
            gap = b" " if f'"{name}": '.encode() in data else b""
            written = f'"{name}":'.encode() + gap
            found.append((written + _written(parsed.get(name)), written + _written(new)))
        return found


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def _written(value: Any) -> bytes:
    return _ENCODER.encode(value).encode(errors="surrogatepass")
