"""Who is asked what next: each item by as many people as wanted, leases that run out, gold questions, taking back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .answers import answer_records, assignment_id, holding, skip_record
from .assignments import AlreadyAnswered, Assignment, LeaseExpired, NotAssigned, Progress
from .database import sa
from .feedback import FeedbackStore
from .items import FeedbackItem
from .leases import change, count, expire, held_by, item_of, lease, pick, release, take_up
from .overview import Overview, overview
from .records import FeedbackRecord, check_name, to_row
from .schema import ASSIGNMENTS, ITEMS, OPEN, RECORDS


class WorkQueue:
    """Gives items to annotators and takes their answers, each in one transaction: nothing is lost, doubled or asked too often.

    An item is leased to one annotator for a while; what is not answered by then is free for others. Never do more people
    answer an item than it wants, leases that hold counted in, and nobody gets an item twice. Items of higher priority come
    first.

    Args:
        store ([`FeedbackStore`]): Where items and answers are kept.
        lease (`float`, *optional*, defaults to `900.0`): Seconds for which an item is held.
        gold_rate (`float`, *optional*, defaults to `0.1`): Share of an annotator's questions, in [0, 1), that are gold ones, as
            long as there are gold items that this annotator has not seen.
        seed (`int`, *optional*, defaults to `0`): Of the choice of gold questions and of the order of responses.

    Raises:
        ValueError: If `lease` is not positive or `gold_rate` not in [0, 1).

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackItem, FeedbackStore, WorkQueue
    >>> store = FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")
    >>> queue = WorkQueue(store)
    >>> queue.add([FeedbackItem("comparison", "2+2?", ("4", "5"))])
    1
    >>> asked = queue.next("ann")
    >>> number = queue.submit(asked.id, "ann", {"strength": 0.9}, seconds=4.0)
    >>> queue.next("ann") is None
    True
    >>> [record.value for record in store.records(item=asked.item.id)]
    [{'strength': 0.9}]

    ```
    """

    def __init__(self, store: FeedbackStore, lease: float = 900.0, gold_rate: float = 0.1, seed: int = 0):
        if not lease > 0:
            raise ValueError(f"`lease` should be a positive number of seconds, got {lease}.")
        if not 0 <= gold_rate < 1:
            raise ValueError(f"`gold_rate` should be in [0, 1), got {gold_rate}.")
        self.store, self.lease, self.gold_rate, self.seed = store, lease, gold_rate, seed

    def add(self, items: Sequence[FeedbackItem | Mapping[str, Any]]) -> int:
        """Adds items, or rows with their fields, all or none; those that are there already are left as they are.

        Returns:
            `int`: how many were new.

        Raises:
            ValueError: If an item is bad or there is another one with its id; the message names the index and the field.
        """
        checked = []
        for index, item in enumerate(items):
            try:
                checked.append(item if isinstance(item, FeedbackItem) else FeedbackItem.from_row(item))
            except (TypeError, ValueError) as error:
                raise ValueError(f"item {index}: {error}") from error
        return self.store.add_items(checked)

    def next(self, annotator: str) -> Assignment | None:
        """The item that the annotator holds, else a new one; None if there is nothing left to ask this annotator."""
        check_name(annotator, "`annotator`")
        now = time.time()
        with self._writing() as connection:
            expire(connection, now)
            held = held_by(connection, annotator)
            if held is not None:
                return _assignment(connection, held, item_of(connection, held))
            item = pick(connection, annotator, self.gold_rate, self.seed)
            if item is None:
                return None
            row = lease(self.store.database, connection, item, annotator, now + self.lease, self.seed)
            return _assignment(connection, row, item)

    def submit(
        self,
        assignment_id: str,
        annotator: str,
        value: Mapping[str, Any],
        *,
        seconds: float,
        notes: str | None = None,
        flags: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Stores an answer; the same one sent twice is stored once.

        Args:
            assignment_id (`str`), annotator (`str`): What [`next`] gave to whom.
            value (`dict`): What the item's kind takes (see [`FeedbackRecord`]).
            seconds (`float`): How long it took.
            notes (`str`, *optional*): Free text, stored as a record of its own.
            flags (`list[dict]`, *optional*): Values of kind flag, stored as records of their own.

        Returns:
            `int`: id of the answer's record.

        Raises:
            NotAssigned: If it is not this annotator's, was skipped or taken back.
            AlreadyAnswered: If it has another answer, or the same with another note or other flags.
            LeaseExpired: If the lease ran out and the item has all the answers it wants, or holders of them.
            ValueError: If the value is not what the kind takes.
        """
        with self._writing() as connection:
            row = _mine(connection, assignment_id, annotator)
            item = item_of(connection, row)
            records = answer_records(row, item, value, seconds, notes, flags)
            if row.state == "answered":
                return _again(connection, row, records)
            if row.state == "skipped":
                raise NotAssigned(f"Assignment {assignment_id} was skipped.")
            # A lease whose time is over holds until somebody else asks for an item.
            if row.state == "free" and not take_up(connection, row):
                raise LeaseExpired(f"The lease of assignment {assignment_id} ran out, and others have the item now.")
            return self._close(connection, row, records, "answered")

    def skip(self, assignment_id: str, annotator: str, reason: str) -> int:
        """Gives an item up for good, with a reason; others may get it. Raises as [`submit`] does."""
        with self._writing() as connection:
            row = _mine(connection, assignment_id, annotator)
            record = skip_record(row, item_of(connection, row), reason)
            if row.state == "skipped":
                if _said(connection, row) != {(record.key, to_row(record)["value"])}:
                    raise NotAssigned(f"Assignment {assignment_id} was skipped, for another reason.")
                return int(row.record)
            if row.state == "answered":
                raise AlreadyAnswered(f"Assignment {assignment_id} has an answer; take that back first.")
            if row.state == "leased":
                count(connection, row.item, -1)
            return self._close(connection, row, [record], "skipped")

    def undo(self, annotator: str) -> Assignment | None:
        """Takes back the annotator's own last answer and leases its item again; None if there is none.

        Notes and flags that came with the answer are taken back too. What the annotator holds now is free for others. An answer
        that has been taken back already is not counted: calling this again goes one further back.
        """
        mine = ASSIGNMENTS.c.annotator == annotator
        with self._writing() as connection:
            answered = sa.select(ASSIGNMENTS).where(mine, ASSIGNMENTS.c.state == "answered")
            row = connection.execute(answered.order_by(ASSIGNMENTS.c.record.desc()).limit(1)).first()
            if row is None:
                return None
            release(connection, sa.and_(mine, ASSIGNMENTS.c.state == "leased"))
            taken_back = [
                FeedbackRecord("retraction", row.item, annotator, {}, replaces=number, key=f"retraction {number}")
                for number in holding(connection, row)
            ]
            if taken_back:
                self.store.add_within(connection, [to_row(record) for record in taken_back])
            until = time.time() + self.lease
            change(connection, row.number, state="leased", revision=row.revision + 1, until=until)
            return _assignment(connection, held_by(connection, annotator), item_of(connection, row))

    def progress(self, annotator: str) -> Progress:
        """How far an annotator is."""
        with self.store.database.reading() as connection:
            mine = ASSIGNMENTS.c.annotator == annotator
            counts = sa.select(ASSIGNMENTS.c.state, sa.func.count()).where(mine).group_by(ASSIGNMENTS.c.state)
            by_state = {row[0]: row[1] for row in connection.execute(counts)}
            open_items = connection.scalar(sa.select(sa.func.count()).select_from(ITEMS).where(OPEN))
            done = sa.and_(mine, ASSIGNMENTS.c.state.in_(("answered", "skipped", "leased")))
            seen = connection.scalar(
                sa.select(sa.func.count())
                .select_from(ASSIGNMENTS.join(ITEMS, ITEMS.c.id == ASSIGNMENTS.c.item))
                .where(done, OPEN)
            )
            held = by_state.get("leased", 0)
            return Progress(
                by_state.get("answered", 0), by_state.get("skipped", 0), (open_items or 0) - (seen or 0) + held
            )

    def overview(self) -> Overview:
        """Figures for the admin: items by state, annotators with their speed, gold answers and bias, labels for agreement."""
        with self.store.database.reading() as connection:
            return overview(connection)

    def _writing(self) -> Any:
        return self.store.database.writing("feedback")

    def _close(self, connection: sa.Connection, row: Any, records: list[FeedbackRecord], state: str) -> int:
        number = self.store.add_within(connection, [to_row(record) for record in records])[0]
        change(connection, row.number, state=state, record=number)
        return number


def _mine(connection: sa.Connection, name: str, annotator: str) -> Any:
    number, _, revision = str(name).partition("-")
    row = None
    if number.isascii() and number.isdecimal() and len(number) < 19:
        row = connection.execute(sa.select(ASSIGNMENTS).where(ASSIGNMENTS.c.number == int(number))).first()
    if row is None or row.annotator != annotator:
        raise NotAssigned(f"There is no assignment {name!r:.80} of {annotator!r:.80}.")
    if revision != str(row.revision):
        raise NotAssigned(f"The answer to assignment {name!r:.80} was taken back, and its item given anew.")
    return row


def _again(connection: sa.Connection, row: Any, records: list[FeedbackRecord]) -> int:
    """The stored answer, if this is the same, with the same note and flags."""
    if _said(connection, row) != {(record.key, to_row(record)["value"]) for record in records}:
        raise AlreadyAnswered(f"Assignment {assignment_id(row)} has another answer; take that back first.")
    return int(row.record)


def _said(connection: sa.Connection, row: Any) -> set[tuple[str, str]]:
    """What came with the answer to an assignment, as it came: keys and values of its records."""
    query = sa.select(RECORDS.c.key, RECORDS.c.value).where(RECORDS.c.item == row.item)
    mine = query.where(RECORDS.c.annotator == row.annotator, RECORDS.c.key.startswith(f"answer {assignment_id(row)} "))
    return {(record.key, record.value) for record in connection.execute(mine)}


def _assignment(connection: sa.Connection, row: Any, item: FeedbackItem) -> Assignment:
    previous = None
    if row.revision:
        previous = json.loads(connection.scalars(sa.select(RECORDS.c.value).where(RECORDS.c.id == row.record)).one())
    order, until = tuple(json.loads(row.shown_order)), datetime.fromtimestamp(row.until, UTC)
    return Assignment(assignment_id(row), item, row.annotator, order, until, previous)
