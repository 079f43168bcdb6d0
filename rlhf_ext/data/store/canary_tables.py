"""The tables in which a canary's life is written down."""

from __future__ import annotations

from .metadata import METADATA, sa

TRANSITIONS = sa.Table(
    "canary_transitions",
    METADATA,
    sa.Column("canary", sa.String(128), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
"""Rows are added, never changed."""

FIGURES = sa.Table(
    "canary_figures",
    METADATA,
    sa.Column("canary", sa.String(128), primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("variant", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(256), primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("mean", sa.Float, nullable=False),
    sa.Column("squares", sa.Float, nullable=False),
)

USERS = sa.Table(
    "canary_users",
    METADATA,
    sa.Column("canary", sa.String(128), primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("variant", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(256), primary_key=True),
    sa.Column("user_hash", sa.String(32), primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("total", sa.Float, nullable=False),
)
"""What each user has contributed to the step that is on: a user's mean changes as values come."""

WORKERS = sa.Table(
    "canary_workers",
    METADATA,
    sa.Column("canary", sa.String(128), primary_key=True),
    sa.Column("worker", sa.String(64), primary_key=True),
    sa.Column("batch", sa.Integer, nullable=False),
)
"""The last batch of each worker that was counted in."""

TABLES = (TRANSITIONS, FIGURES, USERS, WORKERS)
