"""The records of an answer to an assignment, and which of them hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .database import sa
from .items import FeedbackItem
from .records import FeedbackRecord, Kind, check_value
from .schema import RECORDS


def assignment_id(row: Any) -> str:
    """How an annotator's page names an assignment: another name after each answer that was taken back."""
    return f"{row.number}-{row.revision}"


def answer_records(
    row: Any,
    item: FeedbackItem,
    value: Mapping[str, Any],
    seconds: float,
    notes: str | None = None,
    flags: Sequence[Mapping[str, Any]] = (),
) -> list[FeedbackRecord]:
    """The answer, then the notes and the flags that came with it; their keys make each of them storable once only.

    Raises:
        ValueError: If a value is not what its kind takes.
    """
    check_value(item.kind, value, len(item.responses))
    item.check_scales(value)
    records = [_record(item.kind, row, item, value, "value", seconds)]
    if notes is not None and notes.strip():
        records.append(_record("text", row, item, {"text": notes}, "notes"))
    for number, flag in enumerate(flags):
        check_value("flag", flag, len(item.responses))
        records.append(_record("flag", row, item, flag, f"flag {number}"))
    return records


def skip_record(row: Any, item: FeedbackItem, reason: str) -> FeedbackRecord:
    """Why an annotator does not answer."""
    return _record("skip", row, item, {"reason": reason}, "skip")


def holding(connection: sa.Connection, row: Any) -> list[int]:
    """Records of an assignment's answer that hold: the answer, notes and flags, or what has corrected them since."""
    query = sa.select(RECORDS).where(RECORDS.c.item == row.item).order_by(RECORDS.c.id)
    found: set[int] = set()
    for record in connection.execute(query):
        own = record.annotator == row.annotator and record.key.startswith(f"answer {assignment_id(row)} ")
        if record.replaces in found:
            found.remove(record.replaces)
            own = record.kind != "retraction"
        if own:
            found.add(record.id)
    return sorted(found)


def _record(
    kind: Kind, row: Any, item: FeedbackItem, value: Mapping[str, Any], part: str, seconds: float | None = None
) -> FeedbackRecord:
    return FeedbackRecord(
        kind,
        item.id,
        row.annotator,
        value,
        shown_order=tuple(json.loads(row.shown_order)),
        models=item.models or None,
        prompt_version=item.prompt_version,
        seconds=seconds,
        key=f"answer {assignment_id(row)} {part}",
    )
