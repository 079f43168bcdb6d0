"""What a filter finds, and what becomes of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...types import Message

Action = Literal["allow", "flag", "redact", "replace", "block"]
Side = Literal["input", "output"]

ACTIONS: tuple[Action, ...] = ("allow", "flag", "redact", "replace", "block")
"""From the mildest to the strictest: of several hits the strictest decides."""


@dataclass(frozen=True)
class Hit:
    """One thing that one filter found. It never holds the text itself, so that it can be logged.

    Args:
        filter (`str`):
            The filter's name.
        action (`Literal["flag", "redact", "replace", "block"]`):
            What is done.
        label (`str`):
            What it is: `"email"`, or why the filter is closed: `"raised ValueError"`, `"gave no score"`.
        start (`int`, *optional*), end (`int`, *optional*):
            Where, in characters of the text (of the whole stream); `None` where it is about all of it.
        part (`str`, *optional*, defaults to `""`):
            Which text of the messages: `"2.content"` is that of the third.
        score (`float`, *optional*):
            What the reward function gave.
    """

    filter: str
    action: Action
    label: str
    start: int | None = None
    end: int | None = None
    part: str = ""
    score: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What becomes of a text or of messages.

    Args:
        action (`Literal["allow", "flag", "redact", "replace", "block"]`):
            The strictest of the hits' actions; `"allow"` where there is none.
        text (`str` or `list[Message]`):
            What may go on, of the same kind as what was checked: redacted where that was asked, replaced by the filter's
            text, empty where it is blocked.
        hits (`tuple[Hit, ...]`):
            All that was found, in the order of the filters.
    """

    action: Action
    text: str | list[Message]
    hits: tuple[Hit, ...] = ()


def strictest(hits: tuple[Hit, ...]) -> Action:
    return max((hit.action for hit in hits), key=ACTIONS.index, default="allow")
