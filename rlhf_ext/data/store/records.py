"""One thing that a person or a judge said about an item: who, when, what, and what it corrects."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

Kind = Literal["comparison", "rating", "ranking", "text", "flag", "thumb", "skip", "retraction", "judgement"]
KINDS: tuple[str, ...] = get_args(Kind)


_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _now() -> datetime:
    return datetime.now(UTC)


def _new_key() -> str:
    """Never the same twice; rising, which keeps an index of millions of keys quick."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


@dataclass(frozen=True)
class FeedbackRecord:
    """What somebody said about an item, as it is stored: never changed afterwards.

    Args:
        kind (`str`): What was said, which says what `value` holds:
            `"comparison"`: `{"strength": 0.8}`, p(the item's first response is better) in [0, 1], 0.5 for about the same;
            `"rating"`: `{"scales": {"helpfulness": 4}}`, with `"response": index` where the item has several;
            `"ranking"`: `{"order": [2, 0, 1]}`, the item's responses, best first, equals in a list of their own;
            `"text"`: `{"text": "..."}`; `"flag"`: `{"category": "unsafe", "response": 0}`, None for the item as a whole;
            `"thumb"`: `{"up": True}`, with `"response": index`; `"skip"`: `{"reason": "..."}`;
            `"retraction"`: `{}`, takes back what it `replaces`;
            `"judgement"`: `{"strength": 0.8}` by a model or a reward, with whatever else it said.
            Indices are the item's own, whatever order was shown.
        item (`str`): Id of the item.
        annotator (`str`): Who said it.
        value (`dict`): What was said, by kind; plain JSON values.
        source (`str`, *optional*, defaults to `"human"`): `"human"` or `"ai"`.
        shown_order (`tuple[int, ...]`, *optional*): The item's responses in the order on the screen.
        models (`tuple[str, ...]`, *optional*): What wrote the responses, or for a judgement who judged.
        prompt_version (`str`, *optional*): Which version of the prompt or the instructions was answered.
        seconds (`float`, *optional*): How long it took.
        created (`datetime`, *optional*): When, with a time zone; by default now.
        replaces (`int`, *optional*): Id of the record that this one corrects.
        key (`str`, *optional*): What is stored once only: adding the same key again stores nothing. By default a new one.
        id (`int`, *optional*): The stored record's number; the store gives it.

    Raises:
        ValueError: If a field or the value is not what the kind says; the message names it.

    Example:

    ```python
    >>> from rlhf_ext.data.store import FeedbackRecord
    >>> FeedbackRecord("comparison", "item 1", "ann", {"strength": 0.8}, shown_order=(1, 0), seconds=12.5).value
    {'strength': 0.8}
    >>> FeedbackRecord("comparison", "item 1", "ann", {"strength": 4})
    Traceback (most recent call last):
    ...
    ValueError: comparison: `strength` should be a number in [0, 1], got 4.

    ```
    """

    kind: Kind
    item: str
    annotator: str
    value: Mapping[str, Any]
    source: Literal["human", "ai"] = "human"
    shown_order: tuple[int, ...] | None = None
    models: tuple[str, ...] | None = None
    prompt_version: str | None = None
    seconds: float | None = None
    created: datetime = field(default_factory=_now)
    replaces: int | None = None
    key: str = field(default_factory=_new_key)
    id: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _CHECKS:
            raise ValueError(f"`kind` should be one of {', '.join(KINDS)}, got {self.kind!r}.")
        for name in ("item", "annotator", "key"):
            check_name(getattr(self, name), f"{self.kind}: `{name}`")
        check_value(self.kind, self.value)
        if self.source not in ("human", "ai"):
            raise ValueError(f"{self.kind}: `source` should be 'human' or 'ai', got {self.source!r}.")
        if self.seconds is not None and not (is_number(self.seconds) and self.seconds >= 0):
            raise ValueError(f"{self.kind}: `seconds` should be a number of at least 0, got {self.seconds!r}.")
        if self.created.tzinfo is None:
            raise ValueError(f"{self.kind}: `created` should have a time zone, got {self.created!r}.")
        if self.kind == "retraction" and self.replaces is None:
            raise ValueError("retraction: `replaces` should be the id of the record that is taken back, got None.")


def check_name(value: Any, where: str) -> None:
    """Refuses what cannot stand in a column of names: 1 to 128 characters that every database takes."""
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise ValueError(f"{where} should be text of 1 to 128 characters, got {value!r:.200}.")
    if "\0" in value or not value.isprintable():
        raise ValueError(f"{where} should be printable text, got {value!r}.")


def check_value(kind: str, value: Any, responses: int | None = None) -> None:
    """Checks what was said against its kind and, where it is known, the item's number of responses.

    Raises:
        ValueError: Names what is wrong.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{kind}: `value` should be a dict, got {value!r:.200}.")
    _CHECKS[kind](value, kind, responses)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def places(order: Any) -> list[list[int]]:
    """A ranking as groups of equals, best first."""
    return [list(place) if isinstance(place, list | tuple) else [place] for place in order]


def _only(value: Mapping[str, Any], kind: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    for name in needed:
        if name not in value:
            raise ValueError(f"{kind}: `value` has no `{name}`; it has {sorted(value)}.")
    if unknown := sorted(set(value) - {*needed, *optional}, key=str):
        raise ValueError(f"{kind}: `value` has {unknown}, which it should not; it takes {[*needed, *optional]}.")


def _response(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    index = value.get("response")
    if index is None:
        return
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ValueError(f"{kind}: `response` should be the index of a response or None, got {index!r}.")
    if responses is not None and index >= responses:
        raise ValueError(f"{kind}: `response` is {index}, but the item has {responses} responses (0 is the first).")


def _text(value: Mapping[str, Any], kind: str, name: str) -> None:
    if not isinstance(value[name], str) or not value[name].strip():
        raise ValueError(f"{kind}: `{name}` should be text, got {value[name]!r:.200}.")


def _strength(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    if "strength" not in value:
        raise ValueError(f"{kind}: `value` has no `strength`; it has {sorted(value)}.")
    if not is_number(value["strength"]) or not 0 <= value["strength"] <= 1:
        raise ValueError(f"{kind}: `strength` should be a number in [0, 1], got {value['strength']!r}.")


def _comparison(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("strength",))
    _strength(value, kind, responses)


def _rating(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("scales",), ("response",))
    scales = value["scales"]
    if not isinstance(scales, Mapping) or not scales:
        raise ValueError(f"{kind}: `scales` should be a dict of numbers by scale, got {scales!r:.200}.")
    for name, number in scales.items():
        if not isinstance(name, str) or not name or not is_number(number):
            raise ValueError(f"{kind}: `scales` should hold finite numbers by name, got {name!r}: {number!r}.")
    _response(value, kind, responses)


def _ranking(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("order",))
    order = value["order"]
    if not isinstance(order, list | tuple):
        raise ValueError(f"{kind}: `order` should be a list, best first, got {order!r:.200}.")
    found = [index for place in places(order) for index in place]
    wanted = responses if responses is not None else max(len(found), 2)
    whole = all(isinstance(index, int) and not isinstance(index, bool) for index in found)
    if not whole or sorted(found) != list(range(wanted)):
        raise ValueError(
            f"{kind}: `order` should name each of the responses 0 to {wanted - 1} once, got {order!r:.200}."
        )


def _free_text(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("text",), ("response",))
    _text(value, kind, "text")
    _response(value, kind, responses)


def _flag(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("category",), ("response",))
    _text(value, kind, "category")
    _response(value, kind, responses)


def _thumb(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("up",), ("response",))
    if not isinstance(value["up"], bool):
        raise ValueError(f"{kind}: `up` should be true or false, got {value['up']!r}.")
    _response(value, kind, responses)


def _skip(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ("reason",))
    _text(value, kind, "reason")


def _retraction(value: Mapping[str, Any], kind: str, responses: int | None) -> None:
    _only(value, kind, ())


_CHECKS: dict[str, Callable[[Mapping[str, Any], str, int | None], None]] = {
    "comparison": _comparison,
    "rating": _rating,
    "ranking": _ranking,
    "text": _free_text,
    "flag": _flag,
    "thumb": _thumb,
    "skip": _skip,
    "retraction": _retraction,
    "judgement": _strength,
}


def to_row(record: FeedbackRecord) -> dict[str, Any]:
    """The record as its columns."""
    return {
        "key": record.key,
        "kind": record.kind,
        "item": record.item,
        "annotator": record.annotator,
        "source": record.source,
        "value": to_json(record.value, f"{record.kind}: `value`"),
        "shown_order": None if record.shown_order is None else json.dumps(record.shown_order),
        "models": None if record.models is None else json.dumps(record.models),
        "prompt_version": record.prompt_version,
        "seconds": record.seconds,
        "created": record.created.timestamp(),
        "replaces": record.replaces,
    }


def from_row(row: Any) -> FeedbackRecord:
    """The record of its columns; what the store holds was checked on its way in."""
    record = object.__new__(FeedbackRecord)
    values = {
        **row._mapping,
        "value": json.loads(row.value),
        "shown_order": None if row.shown_order is None else tuple(json.loads(row.shown_order)),
        "models": None if row.models is None else tuple(json.loads(row.models)),
        "created": datetime.fromtimestamp(row.created, UTC),
    }
    for name in cast(Any, FeedbackRecord).__dataclass_fields__:
        object.__setattr__(record, name, values[name])
    return record


def to_json(value: Any, where: str) -> str:
    """JSON in plain ASCII, which every database takes, whatever the text.

    Raises:
        ValueError: If there is something that JSON does not have, such as NaN or an object.
    """
    try:
        return _JSON.encode(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} cannot be stored as JSON: {error}.") from error
