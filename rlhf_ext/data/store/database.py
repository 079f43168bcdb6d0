"""One database for all that a store keeps: a file (SQLite) or PostgreSQL, with writing transactions and plain errors."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise ImportError("A store needs SQLAlchemy: pip install rlhf_ext[label]") from error

from .schema import VERSION, check_version, upgrade, version_of

WAIT = 60.0
"""Seconds that a writer waits for the others before it gives up."""


class Database:
    """Connections to a store, whose tables are made or brought to this release's version when it is opened.

    SQLite runs with a write-ahead log and `synchronous=NORMAL`: what a transaction wrote survives the end of the process
    (kill -9, too) once it has returned; a power cut can take the last transactions, never the file. Several processes of one
    machine may share the file, which must lie on a local disk. Machines share PostgreSQL.

    Args:
        url (`str` or `Path`): A file for SQLite (made if it is missing), or a SQLAlchemy URL such as
            `postgresql+psycopg://user@host/name`.

    Raises:
        ImportError: If `sqlalchemy` or the database's driver is not installed.
        ValueError: If the database is of another kind, or written by a newer release.
        ConnectionError: If it cannot be opened, or the file is no database.
    """

    def __init__(self, url: str | Path):
        text = str(url)
        if "://" not in text:
            Path(text).expanduser().absolute().parent.mkdir(parents=True, exist_ok=True)
            text = f"sqlite:///{Path(text).expanduser().absolute()}"
        self.engine = sa.create_engine(text, pool_pre_ping=not text.startswith("sqlite"), max_overflow=40)
        self.kind = self.engine.dialect.name
        self.name = self.engine.url.render_as_string(hide_password=True)
        if self.kind not in ("sqlite", "postgresql"):
            raise ValueError(f"A store is a file (SQLite) or PostgreSQL, not {self.kind}.")
        if self.kind == "sqlite":
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        # Threads of one process queue here: SQLite's own waiting is by sleeping and trying again.
        self._turn = threading.Lock()
        try:
            self._open()
        except sa.exc.DatabaseError as error:
            raise ConnectionError(f"The store {self.name} cannot be opened: {error.orig}") from error

    def _open(self) -> None:
        with self.engine.connect() as connection:
            version = version_of(connection)
        if version != VERSION:
            try:
                check_version(version)
                with self.transaction("schema") as connection:
                    upgrade(connection)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None

    @contextmanager
    def transaction(self, turn: str | None) -> Iterator[sa.Connection]:
        """As [`writing`], with the database's own errors."""
        if self.kind == "sqlite":
            with self._turn, self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()  # after an error, closing the connection rolls back
            return
        with self.engine.connect() as connection:
            if turn is not None:
                connection.execute(
                    sa.text("SELECT pg_advisory_xact_lock(hashtext(:turn))"), {"turn": f"rlhf_ext {turn}"}
                )
            yield connection
            connection.commit()

    @contextmanager
    def writing(self, turn: str | None = None) -> Iterator[sa.Connection]:
        """A transaction that is stored when the block ends, and not at all if it fails.

        Args:
            turn (`str`, *optional*): Transactions that name the same turn come one after another, over all processes. SQLite
                has one writer at a time, whatever the turn.

        Raises:
            ConnectionError: If the database is locked for a minute or cannot be reached.
            OSError: If the disk is full or cannot be written.
        """
        with self._plain_errors(), self.transaction(turn) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database. Raises as [`writing`] does."""
        with self._plain_errors(), self.engine.connect() as connection:
            yield connection

    def insert(self, table: sa.Table) -> Any:
        """An insert that knows `ON CONFLICT`."""
        return (sqlite if self.kind == "sqlite" else postgresql).insert(table)

    def close(self) -> None:
        """Closes the connections."""
        self.engine.dispose()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.OperationalError as error:
            raise _plain(error, self.name) from error
        except sa.exc.TimeoutError as error:
            raise ConnectionError(
                f"The store {self.name} has no free connection: too many readers at once."
            ) from error


def _plain(error: sa.exc.OperationalError, name: str) -> OSError:
    said = str(error.orig)
    if "is full" in said or getattr(error.orig, "sqlstate", None) == "53100":
        return OSError(errno.ENOSPC, f"The disk of the store {name} is full, and nothing was stored", name)
    if "readonly" in said:
        return PermissionError(errno.EACCES, f"The store {name} cannot be written", name)
    if "disk I/O" in said:
        return OSError(errno.EIO, f"The disk of the store {name} failed, and nothing was stored", name)
    if "locked" in said:
        return ConnectionError(
            f"The store {name} was locked by another writer for {WAIT:g} seconds; nothing was stored."
        )
    return ConnectionError(f"The store {name} cannot be reached: {said}")


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun here, not by the driver
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={WAIT * 1000:.0f}"):
        connection.execute(f"PRAGMA {setting}")
