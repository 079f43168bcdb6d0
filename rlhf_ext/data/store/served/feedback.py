"""What somebody says of a response: a thumb, a correction, a preference."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..records import check_name, is_number

ServedKind = Literal["thumb", "correction", "preference"]


class UnknownResponse(LookupError):
    """There is no such response."""


def _new_id() -> str:
    return f"fb-{secrets.token_hex(12)}"


@dataclass(frozen=True)
class ServedFeedback:
    """One thing that was said of a response, as it is stored: never changed. What the same user says later counts.

    Args:
        response (`str`): Id of the response.
        kind (`str`): What was said, which says what `value` holds:
            `"thumb"`: `{"up": True}`;
            `"correction"`: `{"text": "..."}`, what the answer should have been;
            `"preference"`: `{"over": "other response's id", "strength": 0.9}`: this one is better than that one, to the same
            prompt; `strength` is p(this one is better) in [0.5, 1], 1 if it is missing. Where both are choices of one response,
            `over` is missing and `"over_choice"` is there.
            All may have `"choice"`, the index of the choice (0 if it is missing), and `"comment"`.
        value (`dict`): As above.
        key (`str`, *optional*): Id of the API key that it came with.
        user (`str`, *optional*): Who says it; only a hash is stored.
        id (`str`, *optional*): What is stored once only: the same id again stores nothing. By default a new one.

    Raises:
        ValueError: If a field is not what the kind says; the message begins with its name.

    Example:

    ```python
    >>> from rlhf_ext.data.store.served import ServedFeedback
    >>> ServedFeedback("resp-1", "thumb", {"up": "yes"})
    Traceback (most recent call last):
    ...
    ValueError: up: should be true or false, got 'yes'.

    ```
    """

    response: str
    kind: ServedKind
    value: Mapping[str, Any]
    key: str | None = None
    user: str | None = None
    id: str = field(default_factory=_new_id)

    def __post_init__(self) -> None:
        check_name(self.response, "response_id:")
        check_name(self.id, "id:")
        if self.kind not in get_args(ServedKind):
            raise ValueError(
                f"kind: should be one of {', '.join(map(repr, get_args(ServedKind)))}, got {self.kind!r}."
            )
        fields = {"thumb": {"up"}, "correction": {"text"}, "preference": {"over", "strength", "over_choice"}}[
            self.kind
        ]
        if unknown := sorted(set(self.value) - fields - {"choice", "comment"}):
            raise ValueError(f"{unknown[0]}: a {self.kind} has no such field.")
        self._check_value()

    def _check_value(self) -> None:
        value = self.value
        if self.kind == "thumb" and not isinstance(value.get("up"), bool):
            raise ValueError(f"up: should be true or false, got {value.get('up')!r:.200}.")
        if self.kind == "correction":
            _check_text(value, "text")
        for name in ("choice", "over_choice"):
            number = value.get(name, 0)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"{name}: should be the index of a choice, got {number!r:.200}.")
        if value.get("comment") is not None:
            _check_text(value, "comment")
        if self.kind != "preference":
            return
        if value.get("over") is not None:
            check_name(value["over"], "over:")
        strength = value.get("strength", 1.0)
        if not is_number(strength) or not 0.5 <= strength <= 1:
            raise ValueError(f"strength: should be a number in [0.5, 1], got {strength!r:.200}.")
        if self.over == (self.response, self.choice):
            raise ValueError("over: a response is not better than itself.")

    @property
    def choice(self) -> int:
        """Which of the response's choices it is about."""
        return int(self.value.get("choice", 0))

    @property
    def over(self) -> tuple[str, int] | None:
        """Response and choice that a preference is against."""
        if self.kind != "preference":
            return None
        return self.value.get("over") or self.response, int(self.value.get("over_choice", 0))


def _check_text(value: Mapping[str, Any], name: str) -> None:
    if not isinstance(value.get(name), str) or not value[name].strip():
        raise ValueError(f"{name}: should be text, got {value.get(name)!r:.200}.")
