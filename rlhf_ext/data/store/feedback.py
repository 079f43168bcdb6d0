"""Everything that people and judges said, append-only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .database import Database, postgresql, sa
from .items import FeedbackItem, content_of, from_stored, same_content
from .records import FeedbackRecord, from_row, to_row
from .schema import ITEMS, RECORDS, is_current

_IN = 500
"""Values a statement: databases bound them."""


_COLUMNS = [column.name for column in RECORDS.columns if column.name != "id"]
_SAME = ("kind", "item", "annotator", "source", "value", "replaces")
_POSTGRESQL_INSERT = (
    postgresql.insert(RECORDS).on_conflict_do_nothing(index_elements=["key"]).returning(RECORDS.c.key, RECORDS.c.id)
)
_SQLITE_INSERT = (
    f"INSERT INTO feedback_records ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (key) DO NOTHING"
)


class FeedbackStore:
    """Records and the items that they are about, in SQLite or PostgreSQL; processes and threads share it.

    Nothing is overwritten: a correction is a new record that `replaces` the old one, and the database itself refuses to change
    or delete a record. What [`add`] has returned for is stored, whatever happens to the process then.

    Args:
        url (`str` or `Path`): A file for SQLite (made if it is missing), or a SQLAlchemy URL such as
            `postgresql+psycopg://user@host/name`. It may hold a [`JudgementStore`] too.
        wait (`float`, *optional*, defaults to `60.0`): Seconds for which a writer waits for others before it gives up.

    Raises:
        ImportError: If `sqlalchemy` or the database's driver is not installed.
        ValueError: If the database is of another kind, or written by a newer release.
        ConnectionError: If it cannot be opened, or the file is no database.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackRecord, FeedbackStore
    >>> store = FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")
    >>> [first] = store.add([FeedbackRecord("thumb", "item 1", "ann", {"up": True})])
    >>> _ = store.add([FeedbackRecord("thumb", "item 1", "ann", {"up": False}, replaces=first)])
    >>> [record.value for record in store.records()]
    [{'up': False}]
    >>> [record.value for record in store.records(current=False)]
    [{'up': True}, {'up': False}]

    ```
    """

    def __init__(self, url: str | Path, wait: float = 60.0):
        self.database = Database(url, wait)

    def add(self, records: Sequence[FeedbackRecord]) -> list[int]:
        """Stores records, all or none.

        Args:
            records (`list[FeedbackRecord]`): A record whose `key` is stored already, with the same contents, is not stored
                again: a caller that does not know whether a call came through repeats it with the same records.

        Returns:
            `list[int]`: their ids, in order.

        Raises:
            ValueError: If a key is stored with other contents, or a record replaces one that is not there, is of another item
                or kind, or has been replaced already; the message names the record by its index.
            OSError: If the disk is full; then nothing is stored.
            ConnectionError: If the database is locked for too long or out of reach.
        """
        rows = [to_row(record) for record in records]
        if not rows:
            return []
        corrects = any(record.replaces is not None for record in records)
        with self.database.writing("feedback" if corrects else None) as connection:
            return self.add_within(connection, rows)

    def add_within(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """As [`add`], within the caller's transaction, which takes the turn `"feedback"` where a row replaces another."""
        _check_replaced(connection, rows)
        if self.database.kind == "sqlite":
            values = [tuple(row[name] for name in _COLUMNS) for row in rows]
            driver: Any = (
                connection.connection.driver_connection
            )  # half the time of a single record would be SQLAlchemy's
            if driver.executemany(_SQLITE_INSERT, values).rowcount == len(rows):
                # All are new, and SQLite has one writer: the numbers follow one another.
                [last] = driver.execute("SELECT last_insert_rowid()").fetchone()
                return list(range(last - len(rows) + 1, last + 1))
            return _stored(connection, rows)
        new = connection.execute(_POSTGRESQL_INSERT, list(rows)).all()
        if len(new) < len(rows):
            return _stored(connection, rows)
        ids = {row.key: row.id for row in new}
        return [ids[row["key"]] for row in rows]

    def records(
        self,
        kinds: Iterable[str] | None = None,
        item: str | None = None,
        annotator: str | None = None,
        current: bool = True,
    ) -> Iterator[FeedbackRecord]:
        """Streams records in the order in which they were stored.

        Args:
            kinds (`list[str]`, *optional*), item (`str`, *optional*), annotator (`str`, *optional*): Only these.
            current (`bool`, *optional*, defaults to `True`): Only what holds: neither corrected nor taken back.
        """
        query = sa.select(RECORDS).order_by(RECORDS.c.id)
        if kinds is not None:
            query = query.where(RECORDS.c.kind.in_(list(kinds)))
        if item is not None:
            query = query.where(RECORDS.c.item == item)
        if annotator is not None:
            query = query.where(RECORDS.c.annotator == annotator)
        if current:
            query = query.where(is_current())
        with self.database.reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield from_row(row)

    def add_items(self, items: Sequence[FeedbackItem]) -> int:
        """Stores items that are not there yet, all or none; gives how many were new.

        Raises:
            ValueError: If there is an item of the same id with other contents; the message names the index.
        """
        with self.database.writing("feedback") as connection:
            return self.add_items_within(connection, items)

    def add_items_within(self, connection: sa.Connection, items: Sequence[FeedbackItem]) -> int:
        """As [`add_items`], within the caller's transaction."""
        insert = self.database.insert(ITEMS).on_conflict_do_nothing(index_elements=["id"]).returning(ITEMS.c.id)
        rows = [_item_row(item) for item in items]
        new = set(connection.scalars(insert, rows)) if rows else set()
        if len(new) < len(rows):
            _check_items(connection, items)
        return len(new)

    def items(self, ids: Sequence[str] | None = None) -> Iterator[FeedbackItem]:
        """Streams items in the order in which they were added; all, or those of `ids` that there are."""
        queries = [sa.select(ITEMS).order_by(ITEMS.c.number)]
        if ids is not None:
            queries = [queries[0].where(ITEMS.c.id.in_(part)) for part in _parts(list(ids))]
        for query in queries:
            with self.database.reading() as connection:
                for row in connection.execution_options(yield_per=1000).execute(query):
                    yield from_stored(row)

    def close(self) -> None:
        """Closes its connections."""
        self.database.close()


def _check_replaced(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """A record replaces one that is there, of the same item and kind, and that no other replaces."""
    wanted = {row["replaces"]: (index, row) for index, row in enumerate(rows) if row["replaces"] is not None}
    if not wanted:
        return
    if len({row["key"] for row in rows if row["replaces"] is not None}) > len(wanted):
        raise ValueError("two of these records replace the same one; the second should replace the first.")
    found = set()
    for part in _parts(list(wanted)):
        for old in connection.execute(sa.select(RECORDS).where(RECORDS.c.id.in_(part))):
            index, row = wanted[old.id]
            found.add(old.id)
            if old.kind == "retraction" or old.item != row["item"] or row["kind"] not in (old.kind, "retraction"):
                raise ValueError(
                    f"record {index}: a {row['kind']} of item {row['item']!r} cannot replace record {old.id}, a {old.kind} of "
                    f"{old.item!r}."
                )
        for later in connection.execute(sa.select(RECORDS).where(RECORDS.c.replaces.in_(part))):
            index, row = wanted[later.replaces]
            if later.key != row["key"]:
                raise ValueError(
                    f"record {index}: record {later.replaces} has been replaced already, by {later.id}; replace that one."
                )
    for number, (index, _) in wanted.items():
        if number not in found:
            raise ValueError(f"record {index}: there is no record {number} to replace.")


def _stored(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Ids of rows of which some were there before; those must say the same."""
    old: dict[str, Any] = {}
    for part in _parts([row["key"] for row in rows]):
        old |= {one.key: one for one in connection.execute(sa.select(RECORDS).where(RECORDS.c.key.in_(part)))}
    for index, row in enumerate(rows):
        other = [name for name in _SAME if getattr(old[row["key"]], name) != row[name]]
        if other:
            raise ValueError(f"record {index}: the key {row['key']!r} is stored already, with another {other[0]}.")
    return [old[row["key"]].id for row in rows]


def _check_items(connection: sa.Connection, items: Sequence[FeedbackItem]) -> None:
    for start in range(0, len(items), _IN):
        part = items[start : start + _IN]
        query = sa.select(ITEMS.c.id, ITEMS.c.content).where(ITEMS.c.id.in_([item.id for item in part]))
        stored = {row.id: row.content for row in connection.execute(query)}
        for index, item in enumerate(part, start):
            if not same_content(stored[item.id], item):
                raise ValueError(f"item {index}: there is another item with the id {item.id!r}, with other contents.")


def _item_row(item: FeedbackItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "content": content_of(item),
        "gold": item.gold is not None,
        "wanted": item.wanted,
        "taken": 0,
        "priority": item.priority,
    }


def _parts(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _IN):
        yield values[start : start + _IN]
