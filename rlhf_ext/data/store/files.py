"""Exports as files: JSONL or Parquet, in constant memory, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .exports import demonstrations, preferences, ratings, thumbs
from .feedback import FeedbackStore
from .records import FeedbackRecord
from .served.pairs import outcomes, served_preferences, served_thumbs

_BATCH = 2000


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        path (`Path`): The file.
        rows (`int`): Rows in it.
        left_out (`dict[str, int]`): What did not get into it, by reason.
    """

    path: Path
    rows: int
    left_out: dict[str, int] = field(default_factory=dict)


def export(store: FeedbackStore, path: str | Path, what: str = "preferences", **options: Any) -> Exported:
    """Writes an export to a `.jsonl` or `.parquet` file, which is there when it is whole and not before.

    Args:
        store ([`FeedbackStore`]): Where answers come from.
        path (`str` or `Path`): The file; its ending says the format. One that is there is replaced.
        what (`str`, *optional*, defaults to `"preferences"`): `"preferences"`, `"ratings"`, `"demonstrations"` or `"thumbs"` (see
            the functions of those names, which take `options`), `"records"`: every record as it is stored, with what has been
            corrected or taken back unless `current=True`, or `"outcomes"`: what came of a gateway's experiments. Preferences and
            thumbs are followed by those that people gave to a gateway's responses, where this is the database of one
            ([`~rlhf_ext.data.store.served.pairs.served_preferences`]).

    Returns:
        [`Exported`]: how many rows, and what was left out.

    Raises:
        ValueError: If the ending or `what` is another, or rows cannot share a Parquet file: texts beside messages (then
            `as_messages=True` helps), or columns whose values are of different types.
        OSError: If the disk is full; what stood at `path` before stands there still.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackRecord, FeedbackStore, export
    >>> folder = tempfile.mkdtemp()
    >>> store = FeedbackStore(folder + "/feedback.sqlite")
    >>> _ = store.add([FeedbackRecord("thumb", "item 1", "ann", {"up": True})])
    >>> export(store, folder + "/records.jsonl", "records").rows
    1

    ```
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"Cannot write {path}: expected a name that ends in .jsonl or .parquet.")
    if what not in _WHAT:
        raise ValueError(f"`what` should be one of {', '.join(map(repr, _WHAT))}, got {what!r}.")
    left_out: Counter[str] = Counter()
    if what == "records":
        rows = _records(store, as_text=path.suffix == ".parquet", **options)
    else:
        rows = _WHAT[what](store, left_out=left_out, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        count = (_write_jsonl if path.suffix == ".jsonl" else _write_parquet)(partial, rows)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(path, count, dict(left_out))


def _records(store: FeedbackStore, as_text: bool, current: bool = False) -> Iterator[dict[str, Any]]:
    for record in store.records(current=current):
        yield record_row(record, as_text)


def _preferences(store: FeedbackStore, **options: Any) -> Iterator[dict[str, Any]]:
    """Of items, and of a gateway's responses."""
    yield from preferences(store, **options)
    if "human" in options.get("sources", ("human",)):
        names = ("strength", "min_strength", "min_annotators", "as_messages", "left_out")
        yield from served_preferences(store.database, **{name: options[name] for name in names if name in options})


def _thumbs(store: FeedbackStore, **options: Any) -> Iterator[dict[str, Any]]:
    yield from thumbs(store, **options)
    if "human" in options.get("sources", ("human",)):
        names = ("min_annotators", "as_messages", "left_out")
        yield from served_thumbs(store.database, **{name: options[name] for name in names if name in options})


def _outcomes(store: FeedbackStore, **options: Any) -> Iterator[dict[str, Any]]:
    return outcomes(store.database, **options)


_WHAT: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "preferences": _preferences,
    "ratings": ratings,
    "demonstrations": demonstrations,
    "thumbs": _thumbs,
    "records": _records,
    "outcomes": _outcomes,
}


def record_row(record: FeedbackRecord, as_text: bool = False) -> dict[str, Any]:
    """A record as plain values; `value` as JSON text where the format wants one type in a column."""
    return {
        "id": record.id,
        "key": record.key,
        "kind": record.kind,
        "item": record.item,
        "annotator": record.annotator,
        "source": record.source,
        "value": json.dumps(record.value) if as_text else record.value,
        "shown_order": record.shown_order,
        "models": record.models,
        "prompt_version": record.prompt_version,
        "seconds": record.seconds,
        "created": record.created.isoformat(),
        "replaces": record.replaces,
    }


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(_line(row))
        _to_disk(file)
    return count


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Twice through the rows, which are kept in a file meanwhile: the types of all are known only after the last."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = pa.schema([]), 0
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for part in _batches(rows):
            try:
                schema = pa.unify_schemas([schema, _table(part).schema], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise ValueError(
                    f"rows {count} to {count + len(part) - 1} have columns of different types, which Parquet does not hold "
                    f"({error}). Texts beside messages: pass `as_messages=True`. Otherwise write .jsonl."
                ) from error
            spool.writelines(_line(row) for row in part)
            count += len(part)
        spool.seek(0)
        with path.open("wb") as file:
            with pq.ParquetWriter(file, schema) as writer:
                for lines in _batches(spool):
                    writer.write_table(pa.Table.from_pylist([json.loads(line) for line in lines], schema=schema))
            _to_disk(file)
    return count


def _table(rows: list[dict[str, Any]]) -> Any:
    """With every column that any of the rows has."""
    import pyarrow as pa

    plain = [json.loads(_line(row)) for row in rows]
    names = dict.fromkeys(name for row in plain for name in row)
    return pa.table({name: [row.get(name) for row in plain] for name in names})


def _batches(things: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(things)
    while part := list(islice(source, _BATCH)):
        yield part


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
