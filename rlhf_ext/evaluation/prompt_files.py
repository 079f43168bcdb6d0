"""Prompts from CSV, JSON and JSONL files, checked row by row as they are read."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..types import Message, text_of
from .suite import Case

Duplicates = Literal["refuse", "first"]
"""What two rows with the same prompt are: an error, or one row, the first."""


@dataclass(frozen=True)
class Row:
    """One row of a prompt file, which signs its errors with file, row and field.

    Args:
        path (`Path`):
            The file.
        place (`str`):
            Where the row stands in it (`"line 3"`).
        fields (`Mapping[str, Any]`):
            Its fields.
    """

    path: Path
    place: str
    fields: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A field that must hold text.

        Raises:
            ValueError: If it is missing, empty or no text.
        """
        value = self.value(field)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, f"should be text that is not empty, got {value!r}")
        return value.strip()

    def optional(self, field: str) -> str:
        """A field that may be missing or empty; text, or empty text.

        Raises:
            ValueError: If it holds something else.
        """
        value = self.fields.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(field, f"should be text, got {value!r}")
        return value.strip()

    def value(self, field: str) -> Any:
        """A field that must be there.

        Raises:
            ValueError: If it is not; the fields that are there are named.
        """
        if field not in self.fields:
            known = ", ".join(str(name) for name in self.fields) or "none"
            raise ValueError(f"{self.path} {self.place} has no field `{field}`; its fields are {known}.")
        return self.fields[field]

    def one_of(self, field: str, allowed: tuple[str, ...]) -> str:
        """A field that must hold one of some texts.

        Raises:
            ValueError: If it holds something else.
        """
        if (value := self.text(field)) not in allowed:
            raise self.wrong(field, f"should be one of {', '.join(allowed)}, got {value!r}")
        return value

    def wrong(self, field: str, what: str) -> ValueError:
        """The error for a field."""
        return ValueError(f"{self.path} {self.place}: `{field}` {what}.")


@dataclass(frozen=True)
class Rows:
    """The rows of a prompt file. Make one with [`Rows.read`]."""

    path: Path
    rows: list[Row]

    @classmethod
    def read(cls, path: str | Path) -> Rows:
        """Reads a `.csv`, `.jsonl`, `.jsonl.gz` or `.json` (a list of objects) file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is another kind of file, is empty, or a row cannot be read; the row is named.
        """
        path = Path(path)
        readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".jsonl.gz": _jsonl_rows, ".json": _json_rows}
        kind = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()
        if kind not in readers:
            raise ValueError(f"Cannot read {path}: expected a file that ends in {', '.join(readers)}.")
        if not path.is_file():
            raise FileNotFoundError(f"No such file: {path}.")
        try:
            rows = [Row(path, place, fields) for place, fields in readers[kind](path)]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8: {error}.") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}.") from error
        if not rows:
            raise ValueError(f"{path} has no rows.")
        return cls(path, rows)

    def cases(
        self,
        prompt: Callable[[Row], str | list[Message]],
        id: Callable[[Row], str],
        category: Callable[[Row], str],
        columns: Callable[[Row], dict[str, Any]],
        duplicates: Duplicates = "refuse",
    ) -> list[Case]:
        """Cases of the rows, by what makes each part of one.

        Raises:
            ValueError: If a row is bad, two rows have the same id, or the same prompt (but for case and spaces) and
                duplicates are refused; both rows are named.
        """
        if duplicates not in ("refuse", "first"):
            raise ValueError(f"`duplicates` should be 'refuse' or 'first', got {duplicates!r}.")
        ids: dict[str, str] = {}
        prompts: dict[str, str] = {}
        cases = []
        for row in self.rows:
            case = Case(id(row), prompt(row), category(row), columns(row))
            key = " ".join(text_of(case.prompt).casefold().split())
            if case.id in ids:
                raise ValueError(f"{self.path}: {ids[case.id]} and {row.place} have the same id, {case.id!r}.")
            if key in prompts and duplicates == "refuse":
                raise ValueError(
                    f"{self.path}: {prompts[key]} and {row.place} have the same prompt, {key[:80]!r}, which would count "
                    "twice. Remove one, or keep the first of each with `duplicates='first'`."
                )
            ids[case.id] = row.place
            if prompts.setdefault(key, row.place) == row.place:
                cases.append(case)
        return cases


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        while True:
            line = max(reader.line_num + 1, 2)  # of the file: the header is the first
            try:
                fields: Any = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{path} line {line} is not CSV: {error}.") from error
            if None in fields:
                raise ValueError(
                    f"{path} line {line} has more values than the header has names: is a comma not quoted?"
                )
            yield f"line {line}", fields


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"line {number}", _object(path, f"line {number}", line)


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} should hold a list of objects, got {type(rows).__name__}.")
    for index, fields in enumerate(rows):
        if not isinstance(fields, dict):
            raise ValueError(f"{path} row {index} should be an object, got {fields!r}.")
        yield f"row {index}", fields


def _object(path: Path, place: str, text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} {place} is not JSON: {error}.") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} {place} should be an object, got {fields!r}.")
    return fields
