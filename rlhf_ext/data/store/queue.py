"""Who is asked what next: each item by as many people as wanted, leases that run out, gold questions, taking back."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .database import sa
from .feedback import FeedbackStore
from .items import FeedbackItem, from_stored
from .records import FeedbackRecord, check_name, check_value, to_row
from .schema import ASSIGNMENTS, ITEMS, OPEN, RECORDS


class NotAssigned(LookupError):
    """There is no such assignment of this annotator's, or it is no longer open."""


class AlreadyAnswered(NotAssigned):
    """The assignment has another answer already: take it back first ([`WorkQueue.undo`])."""


class LeaseExpired(NotAssigned):
    """The lease ran out, and others have answered the item since."""


@dataclass(frozen=True)
class Assignment:
    """An item that an annotator has now.

    Args:
        id (`str`): What an answer names.
        item ([`FeedbackItem`]): The question. `item.gold`, `item.models` and `item.priority` are not for the annotator's eyes.
        annotator (`str`): Whose it is.
        shown_order (`tuple[int, ...]`): The item's responses in the order in which they are to be shown: at random, and the
            same whenever this annotator sees this item.
        until (`datetime`): When the lease runs out.
        previous (`dict`, *optional*): The answer that was taken back, if this is one to give anew.
    """

    id: str
    item: FeedbackItem
    annotator: str
    shown_order: tuple[int, ...]
    until: datetime
    previous: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """How far an annotator is.

    Args:
        answered (`int`), skipped (`int`): Items.
        remaining (`int`): Items that could still be asked of this annotator, those others hold now left out.
    """

    answered: int
    skipped: int
    remaining: int


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
            self._expire(connection, now)
            held = connection.execute(
                sa.select(ASSIGNMENTS).where(ASSIGNMENTS.c.annotator == annotator, ASSIGNMENTS.c.state == "leased")
            ).first()
            if held is not None:
                item = self._item(connection, held.item)
            else:
                item = self._pick(connection, annotator)
                if item is None:
                    return None
                held = self._lease(connection, item, annotator, now)
            return self._assignment(connection, held, item)

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
            AlreadyAnswered: If it has another answer.
            LeaseExpired: If the lease ran out and the item has all the answers it wants, or holders of them.
            ValueError: If the value is not what the kind takes.
        """
        with self._writing() as connection:
            row, item = self._mine(connection, assignment_id, annotator)
            check_value(item.kind, value, len(item.responses))
            item.check_scales(value)
            records = _answer_records(row, item, value, notes, flags, seconds)
            if row.state == "answered":
                old = connection.execute(sa.select(RECORDS).where(RECORDS.c.id == row.record)).one()
                if json.loads(old.value) != json.loads(to_row(records[0])["value"]):
                    raise AlreadyAnswered(f"Assignment {assignment_id} has another answer; take that back first.")
                return int(old.id)
            self._still_mine(connection, row, assignment_id)
            number = self.store.add_within(connection, [to_row(record) for record in records])[0]
            self._set(connection, row.number, state="answered", record=number)
            return number

    def skip(self, assignment_id: str, annotator: str, reason: str) -> int:
        """Gives an item up for good, with a reason; others may get it. Raises as [`submit`] does."""
        with self._writing() as connection:
            row, item = self._mine(connection, assignment_id, annotator)
            record = _record("skip", row, item, {"reason": reason}, f"skip {assignment_id}")
            if row.state == "skipped":
                return int(row.record)
            if row.state == "answered":
                raise AlreadyAnswered(f"Assignment {assignment_id} has an answer; take that back first.")
            number = self.store.add_within(connection, [to_row(record)])[0]
            self._set(connection, row.number, state="skipped", record=number)
            if row.state == "leased":
                self._count(connection, row.item, -1)
            return number

    def undo(self, annotator: str) -> Assignment | None:
        """Takes back the annotator's own last answer and leases its item again; None if there is none.

        Notes and flags that came with the answer are taken back too. What the annotator holds now is free for others. An answer
        that has been taken back already is not counted: calling this again goes one further back.
        """
        now = time.time()
        with self._writing() as connection:
            answered = sa.and_(ASSIGNMENTS.c.annotator == annotator, ASSIGNMENTS.c.state == "answered")
            row = connection.execute(
                sa.select(ASSIGNMENTS).where(answered).order_by(ASSIGNMENTS.c.record.desc()).limit(1)
            ).first()
            if row is None:
                return None
            item = self._item(connection, row.item)
            self._release(connection, sa.and_(ASSIGNMENTS.c.annotator == annotator, ASSIGNMENTS.c.state == "leased"))
            prefix = f"{_key(row)} %"
            said = connection.scalars(sa.select(RECORDS.c.id).where(RECORDS.c.key.like(prefix)).order_by(RECORDS.c.id))
            taken_back = [
                FeedbackRecord("retraction", row.item, annotator, {}, replaces=number, key=f"retraction {number}")
                for number in said.all()
            ]
            self.store.add_within(connection, [to_row(record) for record in taken_back])
            self._set(connection, row.number, state="leased", revision=row.revision + 1, until=now + self.lease)
            row = connection.execute(sa.select(ASSIGNMENTS).where(ASSIGNMENTS.c.number == row.number)).one()
            return self._assignment(connection, row, item)

    def progress(self, annotator: str) -> Progress:
        """How far an annotator is."""
        with self.store.database.reading() as connection:
            mine = ASSIGNMENTS.c.annotator == annotator
            by_state = dict(
                connection.execute(
                    sa.select(ASSIGNMENTS.c.state, sa.func.count()).where(mine).group_by(ASSIGNMENTS.c.state)
                ).all()
            )
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

    def _writing(self) -> Any:
        return self.store.database.writing("queue")

    def _expire(self, connection: sa.Connection, now: float) -> None:
        self._release(connection, sa.and_(ASSIGNMENTS.c.state == "leased", ASSIGNMENTS.c.until < now))

    def _release(self, connection: sa.Connection, which: Any) -> None:
        for row in connection.execute(sa.select(ASSIGNMENTS).where(which)).all():
            self._set(connection, row.number, state="free")
            self._count(connection, row.item, -1)

    def _pick(self, connection: sa.Connection, annotator: str) -> FeedbackItem | None:
        seen = sa.exists().where(
            ASSIGNMENTS.c.annotator == annotator,
            ASSIGNMENTS.c.item == ITEMS.c.id,
            ASSIGNMENTS.c.state.in_(("answered", "skipped")),
        )
        query = sa.select(ITEMS).where(OPEN, ~seen).order_by(ITEMS.c.priority.desc(), ITEMS.c.number).limit(1)
        row = connection.execute(query).first()
        if row is None:
            return None
        asked = connection.scalar(
            sa.select(sa.func.count()).select_from(ASSIGNMENTS).where(ASSIGNMENTS.c.annotator == annotator)
        )
        if random.Random(f"{self.seed} gold {annotator} {asked}").random() < self.gold_rate:
            gold = sa.select(ITEMS).where(ITEMS.c.gold, ~seen).order_by(ITEMS.c.number)
            rows = connection.execute(gold).all()
            if rows:
                row = random.Random(f"{self.seed} which {annotator} {asked}").choice(rows)
        return from_stored(row)

    def _lease(self, connection: sa.Connection, item: FeedbackItem, annotator: str, now: float) -> Any:
        order = list(range(len(item.responses)))
        random.Random(f"{self.seed} order {annotator} {item.id}").shuffle(order)
        insert = self.store.database.insert(ASSIGNMENTS).values(
            item=item.id,
            annotator=annotator,
            state="leased",
            revision=0,
            until=now + self.lease,
            shown_order=json.dumps(order),
        )
        again = {"state": "leased", "until": insert.excluded.until}
        row = connection.execute(
            insert.on_conflict_do_update(index_elements=["annotator", "item"], set_=again).returning(ASSIGNMENTS)
        ).one()
        self._count(connection, item.id, 1)
        return row

    def _mine(self, connection: sa.Connection, assignment_id: str, annotator: str) -> tuple[Any, FeedbackItem]:
        number, _, revision = str(assignment_id).partition("-")
        row = None
        if number.isdecimal() and len(number) < 19:
            row = connection.execute(sa.select(ASSIGNMENTS).where(ASSIGNMENTS.c.number == int(number))).first()
        if row is None or row.annotator != annotator:
            raise NotAssigned(f"There is no assignment {assignment_id!r:.80} of {annotator!r:.80}.")
        if revision != str(row.revision):
            raise NotAssigned(
                f"The answer to assignment {assignment_id!r:.80} was taken back; the item was given anew."
            )
        return row, self._item(connection, row.item)

    def _still_mine(self, connection: sa.Connection, row: Any, assignment_id: str) -> None:
        """Takes an expired lease up again where the item still wants an answer."""
        if row.state == "skipped":
            raise NotAssigned(f"Assignment {assignment_id} was skipped.")
        if row.state == "leased":
            return  # even if its time is over: nobody has got it since
        item = connection.execute(sa.select(ITEMS).where(ITEMS.c.id == row.item)).one()
        if item.taken >= item.wanted and not item.gold:
            raise LeaseExpired(f"The lease of assignment {assignment_id} ran out, and others have the item now.")
        self._count(connection, row.item, 1)

    def _item(self, connection: sa.Connection, name: str) -> FeedbackItem:
        return from_stored(connection.execute(sa.select(ITEMS).where(ITEMS.c.id == name)).one())

    def _set(self, connection: sa.Connection, number: int, **values: Any) -> None:
        connection.execute(sa.update(ASSIGNMENTS).where(ASSIGNMENTS.c.number == number).values(**values))

    def _count(self, connection: sa.Connection, item: str, change: int) -> None:
        connection.execute(sa.update(ITEMS).where(ITEMS.c.id == item).values(taken=ITEMS.c.taken + change))

    def _assignment(self, connection: sa.Connection, row: Any, item: FeedbackItem) -> Assignment:
        previous = None
        if row.revision:
            old = connection.scalar(sa.select(RECORDS.c.value).where(RECORDS.c.id == row.record))
            previous = json.loads(old) if old is not None else None
        order, until = tuple(json.loads(row.shown_order)), datetime.fromtimestamp(row.until, UTC)
        return Assignment(f"{row.number}-{row.revision}", item, row.annotator, order, until, previous)


def _key(row: Any) -> str:
    return f"answer {row.number}-{row.revision}"


def _record(
    kind: Any, row: Any, item: FeedbackItem, value: Mapping[str, Any], key: str, seconds: float | None = None
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
        key=key,
    )


def _answer_records(
    row: Any,
    item: FeedbackItem,
    value: Mapping[str, Any],
    notes: str | None,
    flags: Sequence[Mapping[str, Any]],
    seconds: float,
) -> list[FeedbackRecord]:
    records = [_record(item.kind, row, item, value, f"{_key(row)} value", seconds)]
    if notes is not None and notes.strip():
        records.append(_record("text", row, item, {"text": notes}, f"{_key(row)} notes"))
    for number, flag in enumerate(flags):
        check_value("flag", flag, len(item.responses))
        records.append(_record("flag", row, item, flag, f"{_key(row)} flag {number}"))
    return records
