"""Canaries that workers share through a database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ...data.store.canary_tables import FIGURES, TRANSITIONS, USERS, WORKERS
from ...data.store.database import Database, sa
from ...stats import Moments
from .transitions import Observation, Transition

_IN = 400


class StoredCanaries:
    """A [`CanaryStore`] on SQLite or PostgreSQL. Users are kept as hashes, and only for the step that is on.

    Args:
        database ([`~rlhf_ext.data.store.database.Database`]):
            That of the service.
    """

    def __init__(self, database: Database):
        self.database = database

    def transitions(self, canary: str) -> list[Transition]:
        columns = [c for c in TRANSITIONS.c if c is not TRANSITIONS.c.canary]
        query = sa.select(*columns).where(TRANSITIONS.c.canary == canary).order_by(TRANSITIONS.c.number)
        with self.database.reading() as connection:
            return [Transition(**row) for row in connection.execute(query).mappings()]

    def append(self, canary: str, transition: Transition) -> bool:
        with self.database.writing(f"canary {canary}") as connection:
            last = connection.scalar(
                sa.select(sa.func.max(TRANSITIONS.c.number)).where(TRANSITIONS.c.canary == canary)
            )
            if transition.number != (0 if last is None else last + 1):
                return False
            connection.execute(sa.insert(TRANSITIONS).values(canary=canary, **asdict(transition)))
            old = sa.and_(USERS.c.canary == canary, USERS.c.stage < transition.stage - 1)
            connection.execute(sa.delete(USERS).where(old))
            return True

    def add(self, canary: str, stage: int, observations: Sequence[Observation], worker: str, batch: int) -> None:
        with self.database.writing(f"canary {canary}") as connection:
            insert = self.database.insert(WORKERS).values(canary=canary, worker=worker, batch=batch)
            newer = insert.on_conflict_do_update(
                index_elements=["canary", "worker"], set_={"batch": batch}, where=WORKERS.c.batch < batch
            )
            if connection.execute(newer.returning(WORKERS.c.batch)).first() is None:
                return
            groups: dict[tuple[str, str], list[Observation]] = {}
            for one in observations:
                groups.setdefault((one.variant, one.key), []).append(one)
            for (variant, key), some in groups.items():
                place = {"canary": canary, "stage": stage, "variant": variant, "key": key}
                self._count(connection, place, some)

    def figures(self, canary: str, stage: int) -> Mapping[tuple[str, str], Moments]:
        query = sa.select(FIGURES).where(FIGURES.c.canary == canary, FIGURES.c.stage == stage)
        with self.database.reading() as connection:
            return {(row.variant, row.key): Moments(row.n, row.mean, row.squares) for row in connection.execute(query)}

    def _count(self, connection: sa.Connection, place: dict[str, object], some: Sequence[Observation]) -> None:
        """Counts values of one variant and key in: those of a user change that user's mean."""
        here = [FIGURES.c[name] == value for name, value in place.items()]
        row = connection.execute(sa.select(FIGURES).where(*here)).first()
        seen = Moments() if row is None else Moments(row.n, row.mean, row.squares)
        users: dict[str, list[float]] = {}
        for one in some:
            if one.user is None:
                seen = seen.added(one.value)
            else:
                users.setdefault(_hash(str(place["canary"]), one.user), []).append(one.value)
        known = self._known(connection, place, list(users))
        rows = []
        for user, values in users.items():
            n, total = known.get(user, (0, 0.0))
            more = (n + len(values), total + sum(values))
            seen = seen.replaced(total / n, more[1] / more[0]) if n else seen.added(more[1] / more[0])
            rows.append({**place, "user_hash": user, "n": more[0], "total": more[1]})
        self._write(connection, USERS, rows, ("n", "total"))
        self._write(
            connection,
            FIGURES,
            [{**place, "n": seen.n, "mean": seen.mean, "squares": seen.squares}],
            ("n", "mean", "squares"),
        )

    def _known(
        self, connection: sa.Connection, place: dict[str, object], users: list[str]
    ) -> dict[str, tuple[int, float]]:
        here = [USERS.c[name] == value for name, value in place.items()]
        found: dict[str, tuple[int, float]] = {}
        for start in range(0, len(users), _IN):
            query = sa.select(USERS).where(*here, USERS.c.user_hash.in_(users[start : start + _IN]))
            found |= {row.user_hash: (row.n, row.total) for row in connection.execute(query)}
        return found

    def _write(
        self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, object]], columns: Sequence[str]
    ) -> None:
        if not rows:
            return
        insert = self.database.insert(table)
        again = {column: insert.excluded[column] for column in columns}
        keys = [column.name for column in table.primary_key]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=again), rows)


def _hash(canary: str, user: str) -> str:
    """The user as it is kept: of each canary another, so that they cannot be put together."""
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16, key=canary.encode()[:64]).hexdigest()
