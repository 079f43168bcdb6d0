"""Judgements that were paid for: kept where no crash, no second process and no second run loses or repeats one."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .database import Database, sa
from .schema import JUDGEMENTS as _TABLE

_IN = 500
"""Keys a statement: SQLite takes 999 variables."""


@dataclass(frozen=True)
class Judgement:
    """A question's answer, or why there is none, and what it cost.

    Args:
        result (`dict`, *optional*): What was answered, plain values.
        failure (`str`, *optional*): Why there is no answer. One of the two is given.
        requests (`int`, *optional*), input_tokens (`int`, *optional*), output_tokens (`int`, *optional*), cost (`float`,
            *optional*): What was spent.
    """

    result: dict[str, Any] | None = None
    failure: str | None = None
    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class Spent:
    """What a job has spent, and what is set aside for questions on their way."""

    requests: int = 0
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Allowance:
    """What may be spent in all, and what one more question may cost at most.

    Args:
        max_requests (`int`, *optional*), max_cost (`float`, *optional*): The limits; None is no limit.
        requests (`dict[str, int]`, *optional*), costs (`dict[str, float]`, *optional*): By key, the most that it may take.
    """

    max_requests: int | None = None
    max_cost: float | None = None
    requests: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)


class JudgementStore:
    """Judgements by key, in SQLite or PostgreSQL; several processes or machines work on one store.

    A worker claims questions before it asks them, so that no two ask the same one; what a worker that died had claimed is
    free again when its claim runs out, and at once where the worker ran on this machine. A judgement is in the store once [`record`] returns, whatever happens then.

    Args:
        url (`str` or `Path`): A file for SQLite (made if it is missing), or a SQLAlchemy URL such as
            `postgresql+psycopg://user@host/name`.
        lease (`float`, *optional*, defaults to `600.0`): Seconds that a claim holds; recording renews it. Longer than the
            longest group of questions takes.

    Raises:
        ImportError: If `sqlalchemy` is not installed.
        ValueError: If the database is of another kind or written by a newer release, or `lease` is not positive.
        ConnectionError: If it cannot be opened, or the file is no database.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import Judgement, JudgementStore
    >>> store = JudgementStore(tempfile.mkdtemp() + "/judgements.sqlite")
    >>> store.claim(["k1", "k2"], job="labels")
    ['k1', 'k2']
    >>> store.record("labels", {"k1": Judgement({"text": "1"})})
    >>> store.finished(["k1", "k2"])["k1"].result
    {'text': '1'}

    ```
    """

    def __init__(self, url: str | Path, lease: float = 600.0):
        if not lease > 0:
            raise ValueError(f"`lease` should be a positive number of seconds, got {lease}.")
        self.lease, self.owner = lease, f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
        self._database = Database(url)

    def finished(self, keys: Sequence[str]) -> dict[str, Judgement]:
        """Judgements among `keys` that there are, failures too."""
        found: dict[str, Judgement] = {}
        with self._database.reading() as connection:
            for part in _parts(keys):
                rows = connection.execute(
                    sa.select(_TABLE).where(_TABLE.c.key.in_(part), _TABLE.c.state.in_(("done", "failed")))
                )
                found |= {row.key: _judgement(row) for row in rows}
        return found

    def claim(self, keys: Sequence[str], job: str, allowance: Allowance | None = None) -> list[str]:
        """Takes those of `keys` that nobody has done or is at, as far as the allowance reaches.

        Args:
            keys (`list[str]`): Questions, in the order in which they are wanted.
            job (`str`): Who pays: what is spent is counted by job.
            allowance ([`Allowance`], *optional*): Limits for the job, over all processes.

        Returns:
            `list[str]`: the keys that are this worker's now.
        """
        now = time.time()
        with self._database.writing(job) as connection:
            held = self._held(connection, now)
            taken: set[str] = set()
            for part in _parts(keys):
                busy = sa.or_(_TABLE.c.state != "claimed", held)
                taken |= set(connection.scalars(sa.select(_TABLE.c.key).where(_TABLE.c.key.in_(part), busy)))
            free = [key for key in keys if key not in taken]
            if allowance is not None:
                free = _affordable(free, allowance, self._spent(connection, job))
            for part in _parts(free):
                rows = [
                    {
                        "key": key,
                        "job": job,
                        "state": "claimed",
                        "owner": self.owner,
                        "until": now + self.lease,
                        "requests": allowance.requests.get(key, 0) if allowance else 0,
                        "cost": allowance.costs.get(key, 0.0) if allowance else 0.0,
                    }
                    for key in part
                ]
                self._put(connection, rows)
        return free

    def record(self, job: str, judgements: Mapping[str, Judgement]) -> None:
        """Writes finished judgements in one transaction, and renews this worker's other claims."""
        rows = [
            {
                "key": key,
                "job": job,
                "state": "done" if one.failure is None else "failed",
                "owner": None,
                "until": None,
                "result": json.dumps(one.result if one.failure is None else {"failure": one.failure}),
                "requests": one.requests,
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "cost": one.cost,
            }
            for key, one in judgements.items()
        ]
        with self._database.writing(job) as connection:
            for start in range(0, len(rows), _IN // len(_TABLE.c)):
                self._put(connection, rows[start : start + _IN // len(_TABLE.c)])
            mine = sa.and_(_TABLE.c.owner == self.owner, _TABLE.c.state == "claimed")
            connection.execute(sa.update(_TABLE).where(mine).values(until=time.time() + self.lease))

    def claimed(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that some worker is at."""
        with self._database.reading() as connection:
            held = self._held(connection, time.time())
            return [
                key
                for part in _parts(keys)
                for key in connection.scalars(sa.select(_TABLE.c.key).where(_TABLE.c.key.in_(part), held))
            ]

    def release(self) -> None:
        """Gives up what this worker has claimed and not recorded."""
        with self._database.writing("release") as connection:
            connection.execute(sa.delete(_TABLE).where(_TABLE.c.owner == self.owner, _TABLE.c.state == "claimed"))

    def reopen_failures(self, keys: Sequence[str]) -> int:
        """Makes failed questions among `keys` open again; what they cost stays counted. Gives their number."""
        count, stamp = 0, f":{uuid.uuid4().hex[:12]}"
        with self._database.writing("reopen") as connection:
            for part in _parts(keys):
                failed = sa.and_(_TABLE.c.key.in_(part), _TABLE.c.state == "failed")
                count += connection.execute(sa.update(_TABLE).where(failed).values(key=_TABLE.c.key + stamp)).rowcount
        return count

    def spent(self, job: str) -> Spent:
        """What a job has spent, with what is set aside for claimed questions."""
        with self._database.reading() as connection:
            return self._spent(connection, job)

    def close(self) -> None:
        """Closes its connections."""
        self._database.close()

    def _held(self, connection: sa.Connection, now: float) -> Any:
        """Claims that hold: not run out, and not of a process of this machine that is gone."""
        claimed = sa.and_(_TABLE.c.state == "claimed", _TABLE.c.until >= now)
        owners = connection.scalars(sa.select(_TABLE.c.owner).where(claimed).distinct()).all()
        return sa.and_(claimed, _TABLE.c.owner.not_in([owner for owner in owners if _is_gone(owner)]))

    def _spent(self, connection: sa.Connection, job: str) -> Spent:
        columns = (_TABLE.c.requests, _TABLE.c.cost, _TABLE.c.input_tokens, _TABLE.c.output_tokens)
        row = connection.execute(
            sa.select(*(sa.func.coalesce(sa.func.sum(column), 0) for column in columns)).where(_TABLE.c.job == job)
        ).one()
        return Spent(int(row[0]), float(row[1]), int(row[2]), int(row[3]))

    def _put(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        insert = self._database.insert(_TABLE)
        changed = {name: insert.excluded[name] for name in rows[0] if name != "key"}
        connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=changed), rows)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun here, not by the driver
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {setting}")


def _is_gone(owner: str) -> bool:
    host, process, _ = owner.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, which runs
        return False
    return False


def _affordable(keys: Sequence[str], allowance: Allowance, spent: Spent) -> list[str]:
    """The first keys that fit into what is left."""
    requests, cost, fitting = spent.requests, spent.cost, []
    for key in keys:
        requests += allowance.requests.get(key, 1)
        cost += allowance.costs.get(key, 0.0)
        too_many = allowance.max_requests is not None and requests > allowance.max_requests
        if too_many or (allowance.max_cost is not None and cost > allowance.max_cost):
            break
        fitting.append(key)
    return fitting


def _judgement(row: Any) -> Judgement:
    result = json.loads(row.result)
    failure = result.get("failure") if row.state == "failed" else None
    spent = (row.requests, row.input_tokens, row.output_tokens, row.cost)
    return Judgement(None if failure else result, failure, *spent)


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _IN):
        yield keys[start : start + _IN]
