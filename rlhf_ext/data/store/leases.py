"""The queue's bookkeeping within a transaction: who holds which item until when, and which one comes next.

`taken` of an item is always the number of people who have answered it or hold it; every change of an assignment that
changes that number goes through here.
"""

from __future__ import annotations

import json
import random
from typing import Any

from .database import Database, sa
from .items import FeedbackItem, from_stored
from .schema import ASSIGNMENTS, ITEMS, OPEN


def expire(connection: sa.Connection, now: float) -> None:
    """Frees what was not answered in time."""
    release(connection, sa.and_(ASSIGNMENTS.c.state == "leased", ASSIGNMENTS.c.until < now))


def release(connection: sa.Connection, which: Any) -> None:
    """Frees leases."""
    for row in connection.execute(sa.select(ASSIGNMENTS).where(which)).all():
        change(connection, row.number, state="free")
        count(connection, row.item, -1)


def held_by(connection: sa.Connection, annotator: str) -> Any:
    """The assignment that an annotator holds, or None."""
    mine = sa.and_(ASSIGNMENTS.c.annotator == annotator, ASSIGNMENTS.c.state == "leased")
    return connection.execute(sa.select(ASSIGNMENTS).where(mine)).first()


def pick(connection: sa.Connection, annotator: str, gold_rate: float, seed: int) -> FeedbackItem | None:
    """The open item of highest priority that this annotator has not seen, or in its place a gold one now and then."""
    seen = sa.exists().where(
        ASSIGNMENTS.c.annotator == annotator,
        ASSIGNMENTS.c.item == ITEMS.c.id,
        ASSIGNMENTS.c.state.in_(("answered", "skipped")),
    )
    query = sa.select(ITEMS).where(OPEN, ~seen).order_by(ITEMS.c.priority.desc(), ITEMS.c.number).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    mine = sa.select(sa.func.count()).select_from(ASSIGNMENTS).where(ASSIGNMENTS.c.annotator == annotator)
    draw = random.Random(f"{seed} gold {annotator} {connection.scalar(mine)}")
    if draw.random() < gold_rate:
        numbers = connection.scalars(sa.select(ITEMS.c.number).where(ITEMS.c.gold, ~seen).order_by(ITEMS.c.number))
        if golden := numbers.all():
            row = connection.execute(sa.select(ITEMS).where(ITEMS.c.number == draw.choice(golden))).one()
    return from_stored(row)


def lease(
    database: Database, connection: sa.Connection, item: FeedbackItem, annotator: str, until: float, seed: int
) -> Any:
    """Gives an item to an annotator; who had it before and let it go gets it in the same order of responses."""
    order = list(range(len(item.responses)))
    random.Random(f"{seed} order {annotator} {item.id}").shuffle(order)
    insert = database.insert(ASSIGNMENTS).values(
        item=item.id, annotator=annotator, state="leased", revision=0, until=until, shown_order=json.dumps(order)
    )
    again = {"state": "leased", "until": insert.excluded.until}
    insert = insert.on_conflict_do_update(index_elements=["annotator", "item"], set_=again)
    row = connection.execute(insert.returning(ASSIGNMENTS)).one()
    count(connection, item.id, 1)
    return row


def take_up(connection: sa.Connection, row: Any) -> bool:
    """Counts in a lease that ran out, if its item still wants somebody."""
    item = connection.execute(sa.select(ITEMS).where(ITEMS.c.id == row.item)).one()
    if item.taken >= item.wanted and not item.gold:
        return False
    count(connection, row.item, 1)
    return True


def item_of(connection: sa.Connection, row: Any) -> FeedbackItem:
    """The item of an assignment."""
    return from_stored(connection.execute(sa.select(ITEMS).where(ITEMS.c.id == row.item)).one())


def change(connection: sa.Connection, number: int, **values: Any) -> None:
    """Writes columns of an assignment."""
    connection.execute(sa.update(ASSIGNMENTS).where(ASSIGNMENTS.c.number == number).values(**values))


def count(connection: sa.Connection, item: str, by: int) -> None:
    """Changes the number of people who have answered or hold an item."""
    connection.execute(sa.update(ITEMS).where(ITEMS.c.id == item).values(taken=ITEMS.c.taken + by))
