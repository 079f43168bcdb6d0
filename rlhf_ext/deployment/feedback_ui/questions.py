"""An assignment as its annotator sees it: letters for sides, texts as they are, what can be chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup

from ...data.store import Assignment
from ...types import Completion, Message, Prompt
from .markdown import render_markdown
from .segments import is_long, segments, shown

ASKS = {
    "comparison": "Which answer is better?",
    "rating": "How good is this answer?",
    "ranking": "Put the answers in order",
}
# p(the left answer is better), from the left end of the slider to the right one: evenly spaced, as it is drawn.
STRENGTHS = tuple(round(1 - step / 6, 4) for step in range(7))
_WORDS = ("much better", "better", "slightly better")
_SPEAKERS = {"user": "User", "system": "System", "assistant": "Model", "tool": "Tool"}
# Scales with more steps are answered by writing a number.
MAX_STEPS = 10


@dataclass(frozen=True)
class ShownText:
    """A text, ready for the page: its pieces as they are written, and rendered (None: too long for that)."""

    id: str
    pieces: tuple[tuple[str, Markup], ...]
    rendered: Markup | None
    long: bool


@dataclass(frozen=True)
class Turn:
    """A message of the prompt."""

    who: str
    shown: ShownText


@dataclass(frozen=True)
class Answer:
    """A response: its letter on the screen, its index in the item."""

    letter: str
    index: int
    shown: ShownText


@dataclass(frozen=True)
class Scale:
    """A scale of a rating; `steps` is empty where there are too many to show."""

    index: int
    name: str
    low: float
    high: float

    @property
    def steps(self) -> list[int]:
        whole = float(self.low).is_integer() and float(self.high).is_integer() and self.high - self.low < MAX_STEPS
        return list(range(int(self.low), int(self.high) + 1)) if whole else []


@dataclass(frozen=True)
class Question:
    """All that a page with a question shows."""

    assignment: str
    kind: str
    asks: str
    category: str | None
    prompt: tuple[Turn, ...]
    answers: tuple[Answer, ...]
    scales: tuple[Scale, ...]
    stops: tuple[dict[str, Any], ...]


def question_of(assignment: Assignment) -> Question:
    """An assignment as a question: nothing of models, gold or utility is in it."""
    item = assignment.item
    answers = tuple(
        Answer(letter_of(place), index, shown_text(text_with_parts(item.responses[index]), f"answer-{place}"))
        for place, index in enumerate(assignment.shown_order)
    )
    scales = tuple(Scale(index, name, *ends) for index, (name, ends) in enumerate(item.scales.items()))
    return Question(
        assignment.id,
        item.kind,
        ASKS[item.kind],
        item.category,
        turns_of(item.prompt),
        answers,
        scales,
        _stops() if item.kind == "comparison" else (),
    )


def letter_of(place: int) -> str:
    """A, B, ... Z, then A2, B2, ..."""
    round_, letter = divmod(place, 26)
    return ascii_uppercase[letter] + (str(round_ + 1) if round_ else "")


def turns_of(prompt: Prompt) -> tuple[Turn, ...]:
    """The prompt's messages, each with who speaks."""
    messages: list[Message] = [{"role": "", "content": prompt}] if isinstance(prompt, str) else prompt
    return tuple(
        Turn(
            _SPEAKERS.get(str(message.get("role")), str(message.get("role") or "Prompt")),
            shown_text(text_with_parts([message]), f"turn-{number}"),
        )
        for number, message in enumerate(messages)
    )


def text_with_parts(text: Prompt | Completion) -> str:
    """All of a text: of messages their contents and, as JSON, whatever else they hold, so that nothing goes unseen."""
    if isinstance(text, str):
        return text
    parts = []
    for message in text:
        parts += _blocks(message.get("content"))
        other = {
            name: value for name, value in message.items() if name not in ("role", "content") and value is not None
        }
        if other:
            parts.append(_as_json(other))
    return "\n".join(parts)


def _blocks(content: Any) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    return [
        block["text"] if isinstance(block, Mapping) and isinstance(block.get("text"), str) else _as_json(block)
        for block in content
    ]


def _as_json(value: Any) -> str:
    return "```json\n" + json.dumps(value, ensure_ascii=False, indent=2) + "\n```"


@lru_cache(maxsize=512)  # an item is shown to several annotators, and again after a form that was not right
def _pieces(text: str) -> tuple[tuple[tuple[str, Markup], ...], Markup | None]:
    return tuple((kind, shown(piece)) for kind, piece in segments(text)), render_markdown(text)


def shown_text(text: str, name: str) -> ShownText:
    """A text, ready for the page."""
    pieces, rendered = _pieces(text)
    return ShownText(name, pieces, rendered, is_long(text))


def _stops() -> tuple[dict[str, Any], ...]:
    words = [f"A {word}" for word in _WORDS] + ["About the same"] + [f"B {word}" for word in reversed(_WORDS)]
    return tuple({"value": value, "word": word} for value, word in enumerate(words))
