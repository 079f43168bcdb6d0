"""The tables of a store, their version, and the steps from each version to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .canary_tables import TABLES as CANARIES
from .metadata import BIG, METADATA, sa
from .served_tables import NEVER_CHANGED
from .served_tables import TABLES as SERVED

VERSIONS = sa.Table("rlhf_ext_schema", METADATA, sa.Column("version", sa.Integer, nullable=False))

JUDGEMENTS = sa.Table(
    "judgements",
    METADATA,
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("job", sa.String(64), nullable=False, index=True),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("owner", sa.String(160)),
    sa.Column("until", sa.Float),
    sa.Column("result", sa.Text),
    sa.Column("requests", sa.Integer, nullable=False, default=0),
    sa.Column("input_tokens", sa.Integer, nullable=False, default=0),
    sa.Column("output_tokens", sa.Integer, nullable=False, default=0),
    sa.Column("cost", sa.Float, nullable=False, default=0.0),
)

RECORDS = sa.Table(
    "feedback_records",
    METADATA,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("key", sa.String(128), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("item", sa.String(128), nullable=False, index=True),
    sa.Column("annotator", sa.String(128), nullable=False),
    sa.Column("source", sa.String(8), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("shown_order", sa.Text),
    sa.Column("models", sa.Text),
    sa.Column("prompt_version", sa.String(128)),
    sa.Column("seconds", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("replaces", BIG),
)
"""What people and judges said. Rows are added, never changed: the database itself refuses to."""

_REPLACED = RECORDS.c.replaces.is_not(None)
sa.Index(
    "feedback_records_replaces", RECORDS.c.replaces, unique=True, sqlite_where=_REPLACED, postgresql_where=_REPLACED
)

ITEMS = sa.Table(
    "feedback_items",
    METADATA,
    sa.Column("number", BIG, primary_key=True),
    sa.Column("id", sa.String(128), nullable=False, unique=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("gold", sa.Boolean, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("taken", sa.Integer, nullable=False),
    sa.Column("priority", sa.Float, nullable=False),
)
"""What is asked. `taken` counts the people who have answered or hold the item."""

OPEN = sa.and_(ITEMS.c.taken < ITEMS.c.wanted, sa.not_(ITEMS.c.gold))
sa.Index("feedback_items_open", ITEMS.c.priority.desc(), ITEMS.c.number, sqlite_where=OPEN, postgresql_where=OPEN)
sa.Index("feedback_items_gold", ITEMS.c.number, sqlite_where=ITEMS.c.gold, postgresql_where=ITEMS.c.gold)

ASSIGNMENTS = sa.Table(
    "feedback_assignments",
    METADATA,
    sa.Column("number", BIG, primary_key=True),
    sa.Column("item", sa.String(128), nullable=False),
    sa.Column("annotator", sa.String(128), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("shown_order", sa.Text, nullable=False),
    sa.Column("record", BIG),
    sa.UniqueConstraint("annotator", "item", name="feedback_assignments_once"),
)
"""Who has which item: leased, answered, skipped, or free again. One row for a person and an item, ever."""

_LEASED = ASSIGNMENTS.c.state == "leased"
sa.Index("feedback_assignments_leased", ASSIGNMENTS.c.until, sqlite_where=_LEASED, postgresql_where=_LEASED)

ANNOTATORS = sa.Table(
    "feedback_annotators",
    METADATA,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)

INVITATIONS = sa.Table(
    "feedback_invitations",
    METADATA,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("annotator", sa.String(128), nullable=False, index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("used", sa.Float),
    sa.Column("revoked", sa.Float),
)

_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER feedback_records_no_{verb} BEFORE {verb} ON feedback_records "
        "BEGIN SELECT RAISE(ABORT, 'feedback_records is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION feedback_records_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'feedback_records is append-only'; END $$",
        "CREATE TRIGGER feedback_records_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON feedback_records "
        "FOR EACH STATEMENT EXECUTE FUNCTION feedback_records_append_only()",
    ],
}


def is_current() -> Any:
    """Neither corrected nor taken back, and no taking back itself."""
    later = RECORDS.alias()
    return sa.and_(
        RECORDS.c.kind != "retraction", ~sa.exists().where(later.c.replaces == RECORDS.c.id).correlate(RECORDS)
    )


def _judgements(connection: sa.Connection) -> None:
    JUDGEMENTS.create(connection)


def _feedback(connection: sa.Connection) -> None:
    METADATA.create_all(connection, [VERSIONS, RECORDS, ITEMS, ASSIGNMENTS, ANNOTATORS, INVITATIONS], checkfirst=False)
    for statement in _APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def _served(connection: sa.Connection) -> None:
    METADATA.create_all(connection, [*SERVED, *CANARIES], checkfirst=False)
    for statement in NEVER_CHANGED[connection.dialect.name]:
        connection.exec_driver_sql(statement)


# A step that has been released stays as it is: when a later version changes a table, the step that first made it gets the
# old form in so many words, and the change is a step of its own.
STEPS: tuple[Callable[[sa.Connection], None], ...] = (_judgements, _feedback, _served)
VERSION = len(STEPS)


def version_of(connection: sa.Connection) -> int:
    """The version of a database: 0 is an empty one, 1 one of the releases that knew judgements only and no version."""
    names = set(sa.inspect(connection).get_table_names())
    if VERSIONS.name in names:
        return connection.scalars(sa.select(VERSIONS.c.version)).one()
    return 1 if JUDGEMENTS.name in names else 0


def check_version(version: int) -> None:
    """Refuses what a newer release has written.

    Raises:
        ValueError: If the version is newer than this release knows.
    """
    if version > VERSION:
        raise ValueError(
            f"the store has schema version {version}, this release knows versions up to {VERSION}. Install a newer "
            "rlhf_ext: an older one would not keep what the newer one wrote."
        )


def upgrade(connection: sa.Connection) -> None:
    """Brings a database to this release's version, within the caller's writing transaction: all steps or none."""
    version = version_of(connection)
    check_version(version)
    for step in STEPS[version:]:
        step(connection)
    if version < VERSION:
        connection.execute(sa.delete(VERSIONS))
        connection.execute(sa.insert(VERSIONS).values(version=VERSION))
