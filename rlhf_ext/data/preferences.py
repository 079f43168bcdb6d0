"""Preference data: one schema, checked as a whole before anything is done with it.

The columns are TRL's (`prompt`, `chosen`, `rejected`, text or messages) plus the optional `preference_strength`,
`margin` and `weight`. A bad row is refused with its index, its field and what was expected; a data set is never half
taken.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from datasets import Dataset

from ..types import is_messages, text_of

COLUMNS = ("prompt", "chosen", "rejected")
STRENGTH = "preference_strength"

StrengthScale = Literal["probability", "unit"]


def prepare_preferences(
    rows: Dataset | Sequence[dict[str, Any]],
    strength_scale: StrengthScale = "probability",
    name: str = "preference_dataset",
) -> Dataset:
    """Checks preference rows and gives them back as a `datasets.Dataset` that TRL reads.

    Args:
        rows (`datasets.Dataset` or `list[dict]`):
            Rows with `prompt`, `chosen` and `rejected` (text, or messages in all three) and, if there are, the
            optional `preference_strength` in [0.5, 1], `margin` (finite) and `weight` (finite, not negative).
            Other columns are kept. A prompt may also be implicit, as in `trl-lib/ultrafeedback_binarized`: the messages
            that `chosen` and `rejected` begin with alike.
        strength_scale (`str`, *optional*, defaults to `"probability"`):
            `"probability"`: a strength is p(chosen is better), 0.5 to 1. `"unit"`: strengths were given on 0 (no
            difference) to 1 (certain) and are read as (1 + s) / 2.
        name (`str`, *optional*):
            How errors name the data set.

    Returns:
        `datasets.Dataset`: the same rows in the same order.

    Raises:
        TypeError: If `rows` is neither a data set nor a list of dicts, or a field has the wrong type.
        ValueError: If it is empty, a column is missing, or a row is bad; the message names the row and the field.

    Example:

    ```python
    >>> from rlhf_ext.data.preferences import prepare_preferences
    >>> rows = [{"prompt": "2+2?", "chosen": "4", "rejected": "5", "preference_strength": 0.9}]
    >>> prepare_preferences(rows).column_names
    ['prompt', 'chosen', 'rejected', 'preference_strength']

    ```
    """
    if strength_scale not in ("probability", "unit"):
        raise ValueError(f"`strength_scale` must be 'probability' or 'unit', got {strength_scale!r}.")
    dataset = _as_dataset(rows, name)
    if len(dataset) == 0:
        raise ValueError(f"`{name}` is empty: at least one row with {', '.join(COLUMNS)} is needed.")
    if _prompt_is_implicit(dataset):
        from trl import extract_prompt

        dataset = dataset.map(extract_prompt, desc="Taking prompts out of the answers")
    missing = [column for column in COLUMNS if column not in dataset.column_names]
    if missing:
        raise ValueError(
            f"`{name}` has no column {', '.join(map(repr, missing))}. It has {dataset.column_names}; rename with "
            "`dataset.rename_column(old, new)`."
        )
    if strength_scale == "unit" and STRENGTH in dataset.column_names:
        # The scale is checked before the conversion, so that errors show the value the user wrote.
        for index, value in enumerate(dataset[STRENGTH]):
            _check_number(value, f"`{name}` row {index}: `{STRENGTH}`", low=0.0, high=1.0)
        dataset = dataset.map(_unit_to_probability, desc="Reading strengths")
    kind = None
    for index, row in enumerate(dataset):
        kind = _check_row(row, f"`{name}` row {index}", kind)
    return dataset


def load_preferences(path: str | Path, split: str = "train") -> Dataset:
    """Reads preference rows from a `.jsonl`, `.json` or `.parquet` file, or a folder written by `save_to_disk`.

    Args:
        path (`str` or `Path`):
            The file or folder. What is no local path is taken as the name of a data set on the hub.
        split (`str`, *optional*, defaults to `"train"`):
            Which split of a data set on the hub, `"test"` or `"train[:1000]"` for example. Files and folders have one.

    Returns:
        `datasets.Dataset`: the rows, not yet checked (see [`prepare_preferences`]).

    Raises:
        FileNotFoundError: If `path` looks like a file and there is none.
        ValueError: If a line is not JSON (named by its number), the kind of file is not known, or a split of it is wanted.
    """
    path = Path(path)
    if split != "train" and path.exists():
        raise ValueError(
            f"{path} has no split {split!r}: files and folders are read whole. Give one file for each split."
        )
    if path.is_dir():
        return Dataset.load_from_disk(str(path))
    if path.suffix in (".jsonl", ".json", ".parquet") and not path.is_file():
        raise FileNotFoundError(f"No such file: {path}. Give a .jsonl, .json or .parquet file with preference rows.")
    if path.suffix == ".jsonl":
        return Dataset.from_list(list(_read_jsonl(path)))
    if path.suffix == ".json":
        return Dataset.from_list(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".parquet":
        return Dataset.from_parquet(str(path))
    if path.is_file():
        raise ValueError(f"Cannot read {path}: expected a .jsonl, .json or .parquet file.")
    from datasets import load_dataset

    return load_dataset(str(path), split=split)


def assistant_preferences(split: Literal["train", "heldout"]) -> Dataset:
    """The project's own preferences for a helpful and harmless assistant (data card: `rlhf_ext/data/assistant/`).

    Args:
        split (`str`):
            `"train"` or `"heldout"`. Held-out prompts are different requests, not paraphrases.

    Returns:
        `datasets.Dataset`: columns `prompt`, `chosen`, `rejected` (messages), `preference_strength`, `category`,
        `topic`. Categories: everyday, explanation, code, summary, harmful (to be refused), borderline (sounds harmful,
        is not).

    Example:

    ```python
    >>> from rlhf_ext.data.preferences import assistant_preferences
    >>> sorted(set(assistant_preferences("heldout")["category"]))
    ['borderline', 'code', 'everyday', 'explanation', 'harmful', 'summary']

    ```
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"`split` must be 'train' or 'heldout', got {split!r}.")
    rows = []
    for row in _read_jsonl(Path(__file__).parent / "assistant" / f"{split}.jsonl"):
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
        for answer in ("chosen", "rejected"):
            row[answer] = [{"role": "assistant", "content": row[answer]}]
        rows.append(row)
    return Dataset.from_list(rows)


def has_messages(dataset: Dataset) -> bool:
    """Whether the rows of a checked data set are conversations rather than plain text."""
    return is_messages(dataset[0]["prompt"])


def _as_dataset(rows: Any, name: str) -> Dataset:
    if isinstance(rows, Dataset):
        return rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError(f"`{name}` must be a `datasets.Dataset` or a list of dicts, got {type(rows).__name__}.")
    if not rows:
        raise ValueError(f"`{name}` is empty: at least one row with {', '.join(COLUMNS)} is needed.")
    # Arrow would otherwise fill a field that only some rows lack with null, or stop with a message about bytes.
    columns = COLUMNS if any("prompt" in row for row in rows) else COLUMNS[1:]
    for index, row in enumerate(rows):
        for column in columns:
            if column not in row:
                raise ValueError(f"`{name}` row {index} has no `{column}`; it has {sorted(row)}.")
            kind, first = is_messages(row[column]), is_messages(rows[0][columns[0]])
            if kind != first:
                raise ValueError(_mixed(f"`{name}` row {index}", column, kind))
    return Dataset.from_list(rows)


def _prompt_is_implicit(dataset: Dataset) -> bool:
    """Whether both answers are whole conversations that begin alike, beside no prompt or one that says so in text."""
    row = dataset[0]
    both = [row.get(column) for column in COLUMNS[1:]]
    if not all(isinstance(answer, list) and answer for answer in both):
        return False
    return not isinstance(row.get("prompt"), list) and both[0][0] == both[1][0]


def _check_row(row: dict[str, Any], where: str, kind: bool | None) -> bool:
    for column in COLUMNS:
        value = row[column]
        if value is None or value == [] or (isinstance(value, str) and column != "prompt" and not value.strip()):
            raise ValueError(f"{where}: `{column}` is empty. Fill it or leave the row out.")
        if not isinstance(value, str | list):
            raise TypeError(f"{where}: `{column}` must be text or a list of messages, got {type(value).__name__}.")
        if kind is not None and is_messages(value) != kind:
            raise ValueError(_mixed(where, column, is_messages(value)))
        kind = is_messages(value)
        if kind:
            _check_messages(cast(list[Any], value), f"{where}: `{column}`")
    assert kind is not None
    if text_of(row["chosen"]) == text_of(row["rejected"]):
        raise ValueError(f"{where}: `chosen` equals `rejected`, so there is nothing to prefer. Leave the row out.")
    _check_number(row.get(STRENGTH), f"{where}: `{STRENGTH}`", low=0.5, high=1.0, optional=STRENGTH not in row)
    _check_number(row.get("margin"), f"{where}: `margin`", optional="margin" not in row)
    _check_number(row.get("weight"), f"{where}: `weight`", low=0.0, optional="weight" not in row)
    return kind


def _check_messages(messages: list[Any], where: str) -> None:
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise ValueError(f"{where}: message {number} must be a dict with `role` and `content`, got {message!r}.")
    text_of(messages)


def _check_number(
    value: Any, where: str, low: float = -math.inf, high: float = math.inf, optional: bool = False
) -> None:
    if optional:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} must be a number, got {value!r}.")
    if not math.isfinite(value) or not low <= value <= high:
        hint = ""
        if low == 0.5:
            hint = (
                " It is p(chosen is better): swap the answers below 0.5, or set `strength_scale='unit'` for "
                "strengths on 0 to 1."
            )
        bounds = "finite" if math.isinf(low) else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{where} must be {bounds}, got {value!r}.{hint}")


def _mixed(where: str, column: str, kind: bool) -> str:
    found, other = ("messages", "text") if kind else ("text", "messages")
    return f"{where}: `{column}` is {found} where the rows before it are {other}. Use one kind in all rows and fields."


def _unit_to_probability(row: dict[str, Any]) -> dict[str, float]:
    return {STRENGTH: (1.0 + row[STRENGTH]) / 2.0}


def _read_jsonl(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path} line {number} is not JSON: {error}.") from error
