"""The texts in a request or an answer: contents, their blocks, reasoning, arguments of tool calls."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...types import Message

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "name")


def texts_in(messages: Sequence[Message]) -> dict[str, str]:
    """Every text by where it stands: `"0.content"`, `"1.content.2.text"`, `"2.tool_calls.0.function.arguments"`.

    Raises:
        TypeError: If a message is no mapping.
    """
    found: dict[str, str] = {}
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(
                f"message {index} is {message!r:.80}, where a mapping with `role` and `content` was expected."
            )
        found |= {".".join(map(str, path)): text for path, text in _walk((index,), message)}
    return found


def unreadable(messages: Sequence[Message]) -> list[str]:
    """Where something stands that is no text: images, sounds, files, and objects where texts belong."""
    return [
        ".".join(map(str, path)) for index, message in enumerate(messages) for path in _not_text((index,), message)
    ]


def with_texts(messages: Sequence[Message], texts: Mapping[str, str]) -> list[Message]:
    """Copies of the messages with other texts in some places."""
    changed = copy.deepcopy(list(messages))
    for path, text in texts.items():
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place: Any = changed
        for step in steps:
            place = place[step]
        place[last] = text
    return changed


def _walk(path: tuple[str | int, ...], message: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for key in _TEXTS:
        value = message.get(key)
        if isinstance(value, str):
            yield (*path, key), value
        elif isinstance(value, list):
            for place, block in enumerate(value):
                if isinstance(block, str):
                    yield (*path, key, place), block
                elif isinstance(block, Mapping):
                    for field in ("text", "refusal"):
                        if isinstance(block.get(field), str):
                            yield (*path, key, place, field), block[field]
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else []):
        called = call.get("function", call.get("custom")) if isinstance(call, Mapping) else None
        which = "function" if isinstance(call, Mapping) and "function" in call else "custom"
        for field in ("name", "arguments", "input"):
            if isinstance(called, Mapping) and isinstance(called.get(field), str):
                yield (*path, "tool_calls", place, which, field), called[field]
    called = message.get("function_call")
    for field in ("name", "arguments"):
        if isinstance(called, Mapping) and isinstance(called.get(field), str):
            yield (*path, "function_call", field), called[field]


def _not_text(path: tuple[str | int, ...], message: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    for key in _TEXTS:
        value = message.get(key)
        for place, block in enumerate(value if isinstance(value, list) else []):
            inner = block.get("text", block.get("refusal")) if isinstance(block, Mapping) else block
            if not isinstance(inner, str):
                yield (*path, key, place)
        if value is not None and not isinstance(value, str | list):
            yield (*path, key)
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        yield (*path, "tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else []):
        for which in ("function", "custom") if isinstance(call, Mapping) else ():
            if not _only_texts(call.get(which)):
                yield (*path, "tool_calls", place, which)
        if not isinstance(call, Mapping):
            yield (*path, "tool_calls", place)
    if not _only_texts(message.get("function_call")):
        yield (*path, "function_call")


def _only_texts(called: Any) -> bool:
    """Whether a call of a function has texts where it should: arguments as an object are not read."""
    if called is None:
        return True
    texts = (called.get(name) for name in ("name", "arguments", "input")) if isinstance(called, Mapping) else (1,)
    return all(text is None or isinstance(text, str) for text in texts)
