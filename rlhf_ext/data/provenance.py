"""Columns that say who made a label, beside data that has a column of that name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROVENANCE = ("source", "annotator", "model")
"""What made a label (`"human"`, `"ai"`, `"reward"`), who, and the model where it was one."""


def provenance_of(row: Mapping[str, Any], name: str) -> Any:
    """What a row says of its label's origin: in `label_source` where the data had a `source` of its own, else in `source`."""
    return row[f"label_{name}"] if f"label_{name}" in row else row.get(name)


def is_of_a_label(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row's column is the provenance of the label that it came with, and none of the data's own.

    Rows that were labelled have the answers as `chosen` and `rejected`, and an `annotator`.
    """
    return row.get("chosen") is not None and row.get("annotator") is not None and f"label_{name}" not in row
