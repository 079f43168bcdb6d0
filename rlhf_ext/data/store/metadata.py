"""What all tables of a store share."""

from __future__ import annotations

try:
    import sqlalchemy as sa
except ImportError as error:
    raise ImportError("A store needs SQLAlchemy: pip install rlhf_ext[label]") from error

METADATA = sa.MetaData()
BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up plain INTEGER keys only
