"""What a request asks for: the fields that the gateway reads, checked; the others pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from .errors import ApiError, invalid

Kind = Literal["chat", "completion"]
Check = tuple[Callable[[Any], bool], str]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _prompt(value: Any) -> bool:
    if _texts(value):
        return True
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    return all(isinstance(row, list) and all(_whole(token) for token in row) for row in rows)


_TYPES: dict[str, Check] = {
    "model": (lambda value: isinstance(value, str), "a string"),
    "messages": (_messages, "an array of objects"),
    "prompt": (_prompt, "a string, an array of strings, or tokens"),
    "stream": (lambda value: isinstance(value, bool), "a boolean"),
    "stream_options": (lambda value: isinstance(value, dict), "an object"),
    "user": (lambda value: isinstance(value, str), "a string"),
    "temperature": (_number, "a number"),
    "top_p": (_number, "a number"),
    "presence_penalty": (_number, "a number"),
    "frequency_penalty": (_number, "a number"),
    "n": (_whole, "an integer"),
    "max_tokens": (_whole, "an integer"),
    "max_completion_tokens": (_whole, "an integer"),
    "seed": (_whole, "an integer"),
    "stop": (_texts, "a string or an array of strings"),
    "tools": (_messages, "an array of objects"),
    "response_format": (lambda value: isinstance(value, dict), "an object"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "n": (1, 128),
    "max_tokens": (1, float("inf")),
    "max_completion_tokens": (1, float("inf")),
}
_REQUIRED: dict[Kind, tuple[str, ...]] = {"chat": ("model", "messages"), "completion": ("model", "prompt")}


def read_json(raw: bytes) -> dict[str, Any]:
    """A body that is an object.

    Raises:
        ApiError: If it is none.
    """
    try:
        body = _DECODER.decode(raw.decode(json.detect_encoding(raw)))
    except (ValueError, RecursionError):
        raise invalid("We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise invalid("The body of the request should be a JSON object.")
    return body


def check_body(body: dict[str, Any], kind: Kind) -> None:
    """Checks the fields that there are; null is as good as missing, unknown ones pass.

    Raises:
        ApiError: That names the field.
    """
    for name in _REQUIRED[kind]:
        if body.get(name) is None:
            raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    for name, value in body.items():
        if value is None or name not in _TYPES:
            continue
        right, expected = _TYPES[name]
        if not right(value):
            message = f"Invalid type for '{name}': expected {expected}, but got {_name(value)} instead."
            raise invalid(message, name, "invalid_type")
        if name in _RANGES:
            _check_range(name, value, *_RANGES[name])
    if kind == "chat":
        _check_messages(body["messages"])
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if value < low:
        raise invalid(f"Invalid '{name}': {value} is below the minimum of {low:g}.", name, "decimal_below_min_value")
    if value > high:
        raise invalid(f"Invalid '{name}': {value} is above the maximum of {high:g}.", name, "decimal_above_max_value")


def _check_messages(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise invalid("Invalid 'messages': an empty array, at least one message is needed.", "messages", "empty_array")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message.get("role"), str):
            name = f"{where}.role"
            raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
        content = message.get("content")
        if content is not None and not isinstance(content, str) and not _messages(content):
            expected = "a string or an array of objects"
            text = f"Invalid type for '{where}.content': expected {expected}, but got {_name(content)} instead."
            raise invalid(text, f"{where}.content", "invalid_type")


def _name(value: Any) -> str:
    """What JSON calls it."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def unknown_url(method: str, path: str) -> ApiError:
    """In OpenAI's words."""
    return ApiError(404, f"Invalid URL ({method} {path[:200]})", code="unknown_url")
