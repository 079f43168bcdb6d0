"""Files of what people are to be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .parsing import load


def read_items(name: str | None, wanted: int) -> list[dict[str, Any]]:
    """Rows of items; of None there are none. Rows that do not say are asked of `wanted` people.

    Raises:
        ValueError: If a line is no JSON object; it is named by its number.
        FileNotFoundError: If there is no such file.
    """
    if name is None:
        return []
    rows = _lines(Path(name)) if name.endswith(".jsonl") else (_without_none(row) for row in load(name, "train"))
    return [{**row, "wanted": wanted if row.get("wanted") is None else row["wanted"]} for row in rows]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    # Not through a data set: that gives all rows the same keys, and a scale of one row would be a scale of all.
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {number}: expected an object with `prompt` and `responses`, got {line[:80]!r}."
                )
            yield row


def _without_none(row: dict[str, Any]) -> dict[str, Any]:
    """A data set's row without what its file did not say."""
    return {
        name: {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value
        for name, value in row.items()
        if value is not None
    }
