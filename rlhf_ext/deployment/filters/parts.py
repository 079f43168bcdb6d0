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
    """Where contents stand that are no text: images, sounds, files."""
    return [
        f"{index}.content.{place}"
        for index, message in enumerate(messages)
        if isinstance(message.get("content"), list)
        for place, block in enumerate(message["content"])
        if not (
            isinstance(block, str)
            or (isinstance(block, Mapping) and isinstance(block.get("text", block.get("refusal")), str))
        )
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
