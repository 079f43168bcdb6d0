"""What the reward functions share: reading rows and columns, and showing their parts in the logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...types import Completion, text_of


def texts_of(completions: Sequence[Completion]) -> list[str]:
    """The texts of completions, messages or not."""
    return [text_of(completion) for completion in completions]


def column_of(columns: Mapping[str, Any], name: str, rows: int, reader: str) -> list[Any]:
    """A column of the data set, one value a row; a value that is empty becomes None.

    Args:
        columns (`Mapping[str, Any]`):
            What a reward function got beside `prompts` and `completions`.
        name (`str`):
            The column.
        rows (`int`):
            How many rows there are.
        reader (`str`):
            The reward function that reads it, for messages.

    Returns:
        `list`: the column.

    Raises:
        ValueError: If there is no such column (those that there are, are named), or it has another length.
    """
    if name not in columns:
        there = [key for key, value in columns.items() if isinstance(value, Sequence) and not isinstance(value, str)]
        raise ValueError(
            f"{reader} reads the column {name!r}, which is not there; the columns are {', '.join(there) or 'none'}. Name "
            "the right one with `column`, or add it to the data set."
        )
    values = list(columns[name])
    if len(values) != rows:
        raise ValueError(f"{reader} got {rows} completions, but {len(values)} values of the column {name!r}.")
    return [None if _empty(value) else value for value in values]


def references_of(columns: Mapping[str, Any], name: str, rows: int, reader: str) -> list[list[str] | None]:
    """A column of reference texts: one text or a list of texts a row, always given as a list; None where there is none.

    Raises:
        ValueError: As [`column_of`].
        TypeError: If a value is neither text nor a list of texts, naming the row.
    """
    references: list[list[str] | None] = []
    for row, value in enumerate(column_of(columns, name, rows, reader)):
        texts = [value] if isinstance(value, str) else value
        if texts is None:
            references.append(None)
        elif isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts):
            references.append([text for text in texts if text.strip()] or None)
        else:
            raise TypeError(f"Row {row} of the column {name!r} should be text or a list of texts, got {value!r}.")
    return references


def log_mean(columns: Mapping[str, Any], name: str, values: Iterable[float | None]) -> None:
    """Shows the mean of the values that apply as a metric, where the caller (a TRL trainer) offers `log_metric`."""
    known = [value for value in values if value is not None]
    if known and columns.get("log_metric") is not None:
        columns["log_metric"](name, sum(known) / len(known))


def need(package: str, extra: str, reader: str) -> ImportError:
    """The error for a package that is not installed."""
    return ImportError(f"{reader} needs the package {package}: pip install rlhf_ext[{extra}]")


def _empty(value: Any) -> bool:
    return value is None or (
        isinstance(value, str | list | tuple | dict) and not (value.strip() if isinstance(value, str) else value)
    )
