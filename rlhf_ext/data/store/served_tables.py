"""Tables of what a gateway served, who may use it, and what was said of its answers."""

from __future__ import annotations

from .metadata import BIG, METADATA, sa

SETTINGS = sa.Table(
    "served_settings",
    METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""What all gateways of a store agree on, such as the salt of user hashes."""

KEYS = sa.Table(
    "served_keys",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("requests_per_minute", sa.Float),
    sa.Column("max_body", sa.Integer),
    sa.Column("may_choose", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)
"""API keys, of which only a hash is kept."""

RESPONSES = sa.Table(
    "served_responses",
    METADATA,
    sa.Column("number", BIG, primary_key=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("experiment", sa.String(128)),
    sa.Column("variant", sa.String(128)),
    sa.Column("why", sa.String(16)),
    sa.Column("shadow_of", sa.String(64)),
    sa.Column("key", sa.String(32)),
    sa.Column("user_hash", sa.String(64), index=True),
    sa.Column("prompt_hash", sa.String(64), nullable=False, index=True),
    sa.Column("prompt", sa.Text),
    sa.Column("texts", sa.Text),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("error", sa.String(64)),
    sa.Column("finish_reason", sa.String(32)),
    sa.Column("ttft", sa.Float),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("filter_hits", sa.Text),
)
"""One row a request that was answered or failed. Texts only where that is configured."""

sa.Index("served_responses_variant", RESPONSES.c.experiment, RESPONSES.c.variant)

FEEDBACK = sa.Table(
    "served_feedback",
    METADATA,
    sa.Column("number", BIG, primary_key=True),
    sa.Column("id", sa.String(128), nullable=False, unique=True),
    sa.Column("response", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("key", sa.String(32)),
    sa.Column("user_hash", sa.String(64), index=True),
    sa.Column("created", sa.Float, nullable=False),
)
"""What was said of responses. Rows are added and, when their time is up or their user asks for it, deleted; never changed."""

BUCKETS = sa.Table(
    "served_buckets",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("left", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)
"""Token buckets that gateways share."""

TABLES = (SETTINGS, KEYS, RESPONSES, FEEDBACK, BUCKETS)

NEVER_CHANGED = {
    "sqlite": [
        "CREATE TRIGGER served_feedback_no_update BEFORE UPDATE ON served_feedback "
        "BEGIN SELECT RAISE(ABORT, 'served_feedback is never changed'); END"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION served_feedback_never_changed() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'served_feedback is never changed'; END $$",
        "CREATE TRIGGER served_feedback_no_update BEFORE UPDATE ON served_feedback "
        "FOR EACH STATEMENT EXECUTE FUNCTION served_feedback_never_changed()",
    ],
}
