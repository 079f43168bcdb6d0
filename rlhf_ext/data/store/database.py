"""One database for all that a store keeps: a file (SQLite) or PostgreSQL, with writing transactions and plain errors."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise ImportError("A store needs SQLAlchemy: pip install rlhf_ext[label]") from error

from .schema import VERSION, check_version, upgrade, version_of

_TAKE_TURN = sa.text(
    "SELECT set_config('lock_timeout', :wait, true), pg_advisory_xact_lock(hashtext(:turn))"  # true: in this transaction
)
_CHECKPOINT = "wal_autocheckpoint=8000"  # pages of 4 KiB: a third faster than SQLite's own 1,000 under load


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()
_PARENTS: list[Any] = []


class Database:
    """Connections to a store, whose tables are made or brought to this release's version when it is opened.

    SQLite runs with a write-ahead log and `synchronous=NORMAL`: what a transaction wrote survives the end of the process
    (kill -9, too) once it has returned; a power cut can take the last transactions, never the file. Several processes of one
    machine may share the file, which must lie on a local disk. Machines share PostgreSQL. Threads share one object; a process
    that is forked off, when no transaction was on its way, may go on using it.

    Args:
        url (`str` or `Path`): A file for SQLite (made if it is missing), or a SQLAlchemy URL such as
            `postgresql+psycopg://user@host/name`. `sqlite://` is gone with the object.
        wait (`float`, *optional*, defaults to `60.0`): Seconds for which a writer waits for others before it gives up.

    Raises:
        ImportError: If `sqlalchemy` or the database's driver is not installed.
        ValueError: If the database is of another kind, or written by a newer release, or `wait` is not positive.
        ConnectionError: If it cannot be opened, or the file is no database.
    """

    def __init__(self, url: str | Path, wait: float = 60.0):
        if not wait > 0:
            raise ValueError(f"`wait` should be a positive number of seconds, got {wait}.")
        self.wait, text = wait, str(url)
        if "://" not in text:
            Path(text).expanduser().absolute().parent.mkdir(parents=True, exist_ok=True)
            text = f"sqlite:///{Path(text).expanduser().absolute()}"
        parsed = sa.make_url(text)
        self.kind, self.name = parsed.get_backend_name(), parsed.render_as_string(hide_password=True)
        if self.kind not in ("sqlite", "postgresql"):
            raise ValueError(f"A store is a file (SQLite) or PostgreSQL, not {self.kind}.")
        self._folder: weakref.finalize | None = None
        if self.kind == "sqlite" and parsed.database in (None, "", ":memory:"):
            # A file for a while: of SQLite's own memory every connection has another one.
            folder = tempfile.mkdtemp(prefix="rlhf_ext-store-")
            self._folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            parsed = parsed.set(database=f"{folder}/store.sqlite")
        # A server bounds its connections; of a file there may be one a thread.
        pool = {"pool_pre_ping": True} if self.kind == "postgresql" else {"max_overflow": 60}
        self.engine = sa.create_engine(parsed, **pool)
        if self.kind == "sqlite":
            sa.event.listen(self.engine, "connect", partial(_prepare, wait))
        self._writer: sa.Connection | None = None
        self._start()
        _OPEN.add(self)
        try:
            self._open()
        except (sa.exc.DatabaseError, sqlite3.OperationalError) as error:
            said = getattr(error, "orig", error)
            raise ConnectionError(f"The store {self.name} cannot be opened: {said}") from error

    @contextmanager
    def writing(self, turn: str | None = None) -> Iterator[sa.Connection]:
        """A transaction that is stored when the block ends, and not at all if it fails.

        Args:
            turn (`str`, *optional*): Transactions that name the same turn come one after another, over all processes. SQLite
                has one writer at a time, whatever the turn.

        Raises:
            ConnectionError: If the database is locked for longer than `wait`, or cannot be reached.
            OSError: If the disk is full or cannot be written.
        """
        with self._plain_errors(), self._transaction(turn) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database throughout. Raises as [`writing`] does."""
        with self._plain_errors(), self.engine.connect() as connection:
            if self.kind == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def insert(self, table: sa.Table) -> Any:
        """An insert that knows `ON CONFLICT`."""
        return (sqlite if self.kind == "sqlite" else postgresql).insert(table)

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""
        with self._turn:
            if self._writer is not None:
                self._writer.close()
            self._writer = None
        self.engine.dispose()

    def _start(self) -> None:
        # Threads of one process queue here: SQLite's own waiting is by sleeping and trying again.
        self._turn = threading.Lock()
        self._writer = None

    def _leave_to_parent(self) -> None:
        """After a fork: the connections are the parent's; a child that closed them would take the file from under it."""
        _PARENTS.append((self.engine.pool, self._writer))
        if self._folder is not None:
            self._folder.detach()
        self.engine.dispose(close=False)
        self._start()

    def _open(self) -> None:
        with self.engine.connect() as connection:
            version = version_of(connection)
        if version != VERSION:
            try:
                check_version(version)
                with self._transaction("schema") as connection:
                    upgrade(connection)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None

    @contextmanager
    def _transaction(self, turn: str | None) -> Iterator[sa.Connection]:
        if self.kind == "postgresql":
            with self.engine.connect() as connection:
                if turn is not None:
                    connection.execute(_TAKE_TURN, {"turn": f"rlhf_ext {turn}", "wait": f"{self.wait * 1000:.0f}ms"})
                yield connection
                connection.commit()  # after an error, closing the connection rolls back
            return
        if not self._turn.acquire(timeout=self.wait):
            raise ConnectionError(f"The store {self.name} had no turn for {self.wait:g} seconds; nothing was stored.")
        try:
            if self._writer is None:
                self._writer = self.engine.connect()
                self._writer.exec_driver_sql("PRAGMA busy_timeout=0")
                self._writer.rollback()
            writer = self._writer
            with writer.begin():
                _execute_patiently(writer.connection.driver_connection, "BEGIN IMMEDIATE", self.wait)
                yield writer
        finally:
            self._turn.release()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise self._plain(error.orig) from error
        except sqlite3.OperationalError as error:
            raise self._plain(error) from error
        except sa.exc.TimeoutError as error:
            raise ConnectionError(
                f"The store {self.name} has no free connection: too many readers at once."
            ) from error

    def _plain(self, error: BaseException | None) -> OSError:
        said = str(error)
        if "is full" in said or getattr(error, "sqlstate", None) == "53100":
            return OSError(errno.ENOSPC, f"The disk of the store {self.name} is full, and nothing was stored")
        if "readonly" in said:
            return PermissionError(errno.EACCES, f"The store {self.name} cannot be written")
        if "disk I/O" in said:
            return OSError(errno.EIO, f"The disk of the store {self.name} cannot be written, and nothing was stored")
        if "locked" in said or getattr(error, "sqlstate", None) == "55P03":
            return ConnectionError(
                f"The store {self.name} was locked by another writer for {self.wait:g} seconds; nothing was stored."
            )
        return ConnectionError(f"The store {self.name} cannot be reached: {said}")


def _prepare(wait: float, connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun here, not by the driver
    connection.execute(f"PRAGMA busy_timeout={wait * 1000:.0f}")
    # SQLite does not wait by itself where several processes turn a new file to WAL at once.
    _execute_patiently(connection, "PRAGMA journal_mode=WAL", wait)
    for setting in ("synchronous=NORMAL", _CHECKPOINT):
        connection.execute(f"PRAGMA {setting}")


def _execute_patiently(connection: Any, statement: str, wait: float) -> None:
    """Tries again until it is this connection's turn. SQLite's own waiting, in steps of up to 100 ms, starves beside busy writers."""
    give_up = time.monotonic() + wait
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(0.0002, 0.002))


def _after_fork() -> None:
    for database in list(_OPEN):
        database._leave_to_parent()


if hasattr(os, "register_at_fork"):  # where there is no fork, there is nothing to do
    os.register_at_fork(after_in_child=_after_fork)
