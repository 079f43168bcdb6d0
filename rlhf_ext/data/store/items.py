"""What people are asked about: a prompt, its responses, and how it is to be asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast, get_args

from ...types import Completion, Prompt, text_of
from .records import check_name, check_value, is_number, to_json

ItemKind = Literal["comparison", "rating", "ranking"]
_KINDS: tuple[str, ...] = get_args(ItemKind)


@dataclass(frozen=True)
class FeedbackItem:
    """A question to people: two responses to compare, one to rate, or several to rank.

    Args:
        kind (`str`): `"comparison"` (2 responses), `"rating"` (1) or `"ranking"` (2 or more).
        prompt (`str` or `list[dict]`): Text or messages.
        responses (`tuple`): Text or messages each.
        models (`tuple[str, ...]`, *optional*): What wrote each response; annotators are not shown it.
        category (`str`, *optional*): For quotas and for figures by category.
        scales (`dict[str, tuple[float, float]]`, *optional*): For ratings: the ends of each scale, such as
            `{"helpfulness": (1, 5)}`.
        gold (`dict`, *optional*): The value that a careful annotator gives, for attention checks (what counts as right:
            [`~rlhf_ext.data.store.gold.is_right`]). Every annotator may be asked a gold item: `wanted` does not bound it.
        wanted (`int`, *optional*, defaults to `1`): How many people are to answer. 0 keeps an item that nobody is asked, as
            for imported answers.
        priority (`float`, *optional*, defaults to `0.0`): Higher is asked earlier: the utility of active selection.
        prompt_version (`str`, *optional*): Which version of the prompt or the instructions this is.
        columns (`dict`, *optional*): Other columns that came with it and come out again in exports; plain JSON values.
        id (`str`, *optional*): By default a hash of kind, prompt, responses, models, scales and prompt version.

    Raises:
        ValueError: If a field is missing or not what it should be; the message names it.

    Example:

    ```python
    >>> from rlhf_ext.data.store import FeedbackItem
    >>> item = FeedbackItem("comparison", "2+2?", ("4", "5"), wanted=3)
    >>> item.id == FeedbackItem("comparison", "2+2?", ("4", "5")).id
    True

    ```
    """

    kind: ItemKind
    prompt: Prompt
    responses: tuple[Completion, ...]
    models: tuple[str, ...] = ()
    category: str | None = None
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gold: Mapping[str, Any] | None = None
    wanted: int = 1
    priority: float = 0.0
    prompt_version: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"`kind` should be one of {', '.join(_KINDS)}, got {self.kind!r}.")
        _check_texts(self)
        _check_settings(self)
        if self.gold is not None:
            try:
                check_value(self.kind, self.gold, len(self.responses))
                self.check_scales(self.gold)
            except ValueError as error:
                raise ValueError(f"`gold`: {error}") from None
        content = to_json(_content(self), "the item")
        if not self.id:
            named = {name: getattr(self, name) for name in _IDENTITY}
            object.__setattr__(self, "id", hashlib.sha256(to_json(named, "the item").encode()).hexdigest()[:32])
        check_name(self.id, "`id`")
        object.__setattr__(self, "_stored", content)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FeedbackItem:
        """An item of a row of a file or data set.

        Without a `kind`, one response is rated, two are compared and more are ranked. Unknown columns go to `columns`;
        `utility` is the priority if there is none.
        """
        known = {one.name for one in fields(cls)} - {"columns"}
        values = {name: value for name, value in row.items() if name in known and value is not None}
        for name in ("prompt", "responses"):
            if name not in values:
                raise ValueError(f"`{name}` is missing; the row has {sorted(map(str, row))}.")
        for name in ("responses", "models"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        values.setdefault("kind", _kind_of(values["responses"]))
        other = {name: value for name, value in row.items() if name not in known}
        values["columns"] = {**(other.pop("columns", None) or {}), **other}
        if "priority" not in values and is_number(row.get("utility")):
            values["priority"] = row["utility"]
        return cls(**values)

    def check_scales(self, value: Mapping[str, Any]) -> None:
        """Refuses a rating that leaves out a scale of this item, has another, or lies outside one."""
        if self.kind != "rating":
            return
        given = value["scales"]
        if set(given) != set(self.scales):
            raise ValueError(f"rating: `scales` should be {sorted(self.scales)}, got {sorted(given)}.")
        for name, (low, high) in self.scales.items():
            if not low <= given[name] <= high:
                raise ValueError(f"rating: {name!r} should be in [{low:g}, {high:g}], got {given[name]!r}.")


def _kind_of(responses: Any) -> ItemKind:
    """What one does with so many responses. What is no list at all is refused as the item is made."""
    count = len(responses) if isinstance(responses, tuple) else 2
    return "rating" if count == 1 else "comparison" if count == 2 else "ranking"


_IDENTITY = ("kind", "prompt", "responses", "models", "scales", "prompt_version")


def _check_texts(item: FeedbackItem) -> None:
    if not isinstance(item.responses, tuple | list):
        raise ValueError(f"`responses` should be a list, got {type(item.responses).__name__}.")
    object.__setattr__(item, "responses", tuple(item.responses))
    count = len(item.responses)
    exact = {"comparison": 2, "rating": 1}.get(item.kind)
    if count != exact if exact is not None else count < 2:
        raise ValueError(f"`responses` of a {item.kind} should be {exact or 'two or more'}, got {count}.")
    for where, text in [
        ("`prompt`", item.prompt),
        *((f"`responses[{i}]`", one) for i, one in enumerate(item.responses)),
    ]:
        if not isinstance(text, str | list) or not text:
            raise ValueError(f"{where} should be text or messages, got {text!r:.100}.")
        try:
            empty = not text_of(text).strip()
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None
        if empty:
            raise ValueError(f"{where} is empty. Leave the item out.")
    if len({to_json(one, "`responses`") for one in item.responses}) < count:
        raise ValueError("`responses` are not all different: there is nothing to prefer. Leave the item out.")


def _check_settings(item: FeedbackItem) -> None:
    object.__setattr__(item, "models", tuple(item.models or ()))
    if item.models and len(item.models) != len(item.responses):
        raise ValueError(
            f"`models` should name one for each of {len(item.responses)} responses, got {item.models!r:.200}."
        )
    if isinstance(item.wanted, bool) or not isinstance(item.wanted, int) or item.wanted < 0:
        raise ValueError(f"`wanted` should be a number of people, got {item.wanted!r}.")
    if not is_number(item.priority):
        raise ValueError(f"`priority` should be a finite number, got {item.priority!r}.")
    for name in ("category", "prompt_version"):
        if getattr(item, name) is not None:
            check_name(getattr(item, name), f"`{name}`")
    if bool(item.scales) != (item.kind == "rating"):
        raise ValueError(f"`scales` are for ratings, which need them: {item.kind} with {dict(item.scales)!r:.200}.")
    for name, ends in item.scales.items():
        if (
            not isinstance(ends, tuple | list)
            or len(ends) != 2
            or not all(map(is_number, ends))
            or not ends[0] < ends[1]
        ):
            raise ValueError(f"`scales`: {name!r} should be a pair (lowest, highest), got {ends!r}.")
    object.__setattr__(item, "scales", {name: tuple(ends) for name, ends in item.scales.items()})


def _content(item: FeedbackItem) -> dict[str, Any]:
    names = (*_IDENTITY, "category", "gold", "columns")
    return {name: getattr(item, name) for name in names if getattr(item, name)}


def content_of(item: FeedbackItem) -> str:
    """The item as it is stored, without what the queue counts."""
    return cast(Any, item)._stored


def same_content(stored: str, item: FeedbackItem) -> bool:
    """Whether an item is the stored one, columns that came with it apart."""
    one, other = json.loads(stored), json.loads(content_of(item))
    return {**one, "columns": None} == {**other, "columns": None}


def from_stored(row: Any) -> FeedbackItem:
    """The item of its row in the table of items; it was checked on its way in."""
    content = json.loads(row.content)
    item = object.__new__(FeedbackItem)
    values = {
        "models": (),
        "category": None,
        "scales": {},
        "gold": None,
        "prompt_version": None,
        "columns": {},
        **content,
        "wanted": row.wanted,
        "priority": row.priority,
        "id": row.id,
        "_stored": row.content,
    }
    for name in ("responses", "models"):
        values[name] = tuple(values[name])
    values["scales"] = {name: tuple(ends) for name, ends in values["scales"].items()}
    for name, value in values.items():
        object.__setattr__(item, name, value)
    return item
