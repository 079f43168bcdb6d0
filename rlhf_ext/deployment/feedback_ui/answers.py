"""A form that came back, read strictly: what the annotator said, in the item's own order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from ...data.store import Assignment
from .questions import STRENGTHS, Scale

_MAX_FIELDS = 1_000
MAX_NOTE = 10_000


class BadForm(ValueError):
    """A form that no page of ours sends, or that lacks something; the message is for the annotator."""


Form = Mapping[str, Sequence[str]]


def read_form(body: bytes) -> dict[str, list[str]]:
    """The fields of a form, each with its values.

    Raises:
        BadForm: If it is no UTF-8, or has too many fields.
    """
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:  # also of the decoding
        raise BadForm(f"This form cannot be read: {error}.") from error
    fields: dict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        fields[name].append(value.replace("\r\n", "\n"))
    return dict(fields)


def one(form: Form, name: str) -> str:
    """The only value of a field; empty where it is missing.

    Raises:
        BadForm: If it came more than once.
    """
    values = form.get(name, [""])
    if len(values) != 1:
        raise BadForm(f"The field {name!r} came {len(values)} times.")
    return values[0]


@dataclass
class Given:
    """What is filled in on a page: nothing yet, what was taken back, or what came and could not be stored."""

    strength: int | None = None
    places: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    scales: dict[int, float | None] = field(default_factory=lambda: defaultdict(lambda: None))
    flags: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    note: str = ""
    reason: str = ""
    other_reason: str = ""
    view: str = "written"
    skipping: bool = False
    filled: bool = False

    @classmethod
    def from_form(cls, form: Form, assignment: Assignment) -> Given:
        """What a form has filled in, right or not; what makes no sense is left out."""
        given = cls(filled=True, view=form.get("view", ["written"])[0])
        strength = form.get("strength", [""])[0]
        given.strength = int(strength) if strength in {str(step) for step in range(len(STRENGTHS))} else None
        for index in range(len(assignment.item.responses)):
            place = form.get(f"place-{index}", [""])[0]
            given.places[index] = int(place) if place.isdecimal() and len(place) < 4 else 0
            given.flags[index] = list(form.get(f"flag-{index}", []))
        for index in range(len(assignment.item.scales)):
            given.scales[index] = _number(form.get(f"scale-{index}", [""])[0])
        for name in ("note", "reason", "other_reason"):
            setattr(given, name, form.get(name, [""])[0])
        return given

    @classmethod
    def from_value(
        cls, value: Mapping[str, Any], assignment: Assignment, notes: str = "", flags: Sequence[Mapping[str, Any]] = ()
    ) -> Given:
        """What an answer, which was taken back, had filled in."""
        given = cls(filled=True, note=notes)
        if "strength" in value:
            left = value["strength"] if assignment.shown_order[0] == 0 else 1 - value["strength"]
            given.strength = min(range(len(STRENGTHS)), key=lambda step: abs(STRENGTHS[step] - left))
        for place, group in enumerate(value.get("order", ()), start=1):
            for index in group if isinstance(group, list) else [group]:
                given.places[index] = place
        for index, name in enumerate(assignment.item.scales):
            given.scales[index] = value.get("scales", {}).get(name)
        for flag in flags:
            if flag.get("response") is not None:
                given.flags[flag["response"]].append(flag["category"])
        return given


def value_of(form: Form, assignment: Assignment) -> dict[str, Any]:
    """What was said, as the queue takes it.

    Raises:
        BadForm: If something was not chosen, or does not exist.
    """
    return {"comparison": _comparison, "rating": _rating, "ranking": _ranking}[assignment.item.kind](form, assignment)


def flags_of(form: Form, assignment: Assignment, allowed: Sequence[str]) -> list[dict[str, Any]]:
    """The flags, each with the response that it is about.

    Raises:
        BadForm: If there is no such flag.
    """
    flags = []
    for index in range(len(assignment.item.responses)):
        for category in dict.fromkeys(form.get(f"flag-{index}", [])):
            if category not in allowed:
                raise BadForm(f"There is no flag {category!r}.")
            flags.append({"category": category, "response": index})
    return flags


def note_of(form: Form) -> str | None:
    """The free text; None where there is none.

    Raises:
        BadForm: If it is too long.
    """
    note = one(form, "note")
    if len(note) > MAX_NOTE:
        raise BadForm(f"The note has {len(note):,} characters; at most {MAX_NOTE:,} are kept.")
    return note if note.strip() else None


def reason_of(form: Form, allowed: Sequence[str]) -> str:
    """Why a question is skipped: the annotator's own words, or one of the reasons offered.

    Raises:
        BadForm: If there is none.
    """
    own, offered = one(form, "other_reason").strip(), one(form, "reason")
    if own:
        return own[:1_000]
    if offered not in allowed:
        raise BadForm("Choose a reason for the skip, or write one.")
    return offered


def _comparison(form: Form, assignment: Assignment) -> dict[str, Any]:
    stop = one(form, "strength")
    if stop not in {str(step) for step in range(len(STRENGTHS))}:
        raise BadForm("Choose a point on the line between A and B.")
    left = STRENGTHS[int(stop)]
    return {"strength": left if assignment.shown_order[0] == 0 else round(1 - left, 4)}


def _rating(form: Form, assignment: Assignment) -> dict[str, Any]:
    scales = {}
    for index, (name, ends) in enumerate(assignment.item.scales.items()):
        number = _number(one(form, f"scale-{index}"))
        if number is None:
            raise BadForm(f"Rate the answer on the scale {name!r}.")
        steps = Scale(index, name, *ends).steps
        if not ends[0] <= number <= ends[1] or (steps and number not in steps):
            raise BadForm(f"{name!r} goes from {ends[0]:g} to {ends[1]:g}.")
        scales[name] = int(number) if number.is_integer() else number
    return {"scales": scales}


def _ranking(form: Form, assignment: Assignment) -> dict[str, Any]:
    """Best first; the places' numbers only have to be in order, so that 1, 1, 3 is as good as 1, 1, 2."""
    count = len(assignment.item.responses)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        place = one(form, f"place-{index}")
        if place not in {str(number) for number in range(1, count + 1)}:
            raise BadForm("Give every answer a place.")
        groups[int(place)].append(index)
    return {"order": [group[0] if len(group) == 1 else group for _, group in sorted(groups.items())]}


def _number(text: str) -> float | None:
    if not text or len(text) > 24 or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e15 else None  # neither infinite nor NaN
