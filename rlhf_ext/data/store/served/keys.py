"""API keys of a gateway, of which only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ..database import Database, sa
from ..records import check_name
from ..served_tables import KEYS


@dataclass(frozen=True)
class ApiKey:
    """Who may use a gateway, and how much.

    Args:
        id (`str`): What records and logs name.
        name (`str`): What it was called when it was made.
        requests_per_minute (`float`, *optional*): Its own limit; by default the gateway's.
        max_body (`int`, *optional*): Largest request in bytes; by default the gateway's.
        may_choose (`bool`): Whether its requests may name the variant of an experiment.
        created (`datetime`): When it was made.
        revoked (`datetime`, *optional*): Since when it opens nothing.
    """

    id: str
    name: str
    requests_per_minute: float | None
    max_body: int | None
    may_choose: bool
    created: datetime
    revoked: datetime | None


class ApiKeys:
    """Makes, lists and revokes keys.

    Args:
        database ([`~rlhf_ext.data.store.database.Database`]): Where they are kept.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store.served import ApiKeys, ServedStore
    >>> keys = ApiKeys(ServedStore(tempfile.mkdtemp() + "/gateway.sqlite").database)
    >>> secret = keys.add("the app")
    >>> [(key.name, key.revoked) for key in keys.list()]
    [('the app', None)]

    ```
    """

    def __init__(self, database: Database):
        self.database = database

    def add(
        self,
        name: str,
        requests_per_minute: float | None = None,
        max_body: int | None = None,
        may_choose: bool = False,
    ) -> str:
        """Makes a key; gives the secret, which is not stored and cannot be shown again.

        Raises:
            ValueError: If the name is empty or a limit is not positive.
        """
        check_name(name, "`name`")
        for limit, value in (("requests_per_minute", requests_per_minute), ("max_body", max_body)):
            if value is not None and not value > 0:
                raise ValueError(f"`{limit}` should be above 0, got {value!r}.")
        secret = f"rk-{secrets.token_urlsafe(32)}"
        with self.database.writing("served keys") as connection:
            connection.execute(
                sa.insert(KEYS).values(
                    id=f"key-{secrets.token_hex(5)}",
                    name=name,
                    key_hash=key_hash(secret),
                    requests_per_minute=requests_per_minute,
                    max_body=max_body,
                    may_choose=may_choose,
                    created=time.time(),
                )
            )
        return secret

    def revoke(self, key: str) -> ApiKey:
        """Ends a key, by its id or its name; gateways heed it within seconds.

        Raises:
            LookupError: If there is no such key that works, or several of that name.
        """
        with self.database.writing("served keys") as connection:
            mine = sa.and_(sa.or_(KEYS.c.id == key, KEYS.c.name == key), KEYS.c.revoked.is_(None))
            found = connection.execute(sa.select(KEYS).where(mine)).all()
            if len(found) != 1:
                why = "none" if not found else f"{len(found)} of that name; give the id of one"
                raise LookupError(f"There is no single key {key!r} that works: {why}.")
            now = time.time()
            connection.execute(sa.update(KEYS).where(KEYS.c.id == found[0].id).values(revoked=now))
        return _key(found[0], now)

    def list(self) -> list[ApiKey]:
        """All keys, in the order in which they were made."""
        return list(self.by_hash().values())

    def by_hash(self) -> dict[str, ApiKey]:
        """All keys, revoked ones too, by [`key_hash`] of their secrets."""
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(KEYS).order_by(KEYS.c.created, KEYS.c.id)).all()
        return {row.key_hash: _key(row, row.revoked) for row in rows}


def key_hash(secret: str) -> str:
    """What is kept of a key. Its 256 random bits need no slow hash, and no salt."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _key(row: sa.Row, revoked: float | None) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        row.requests_per_minute,
        row.max_body,
        row.may_choose,
        datetime.fromtimestamp(row.created, UTC),
        None if revoked is None else datetime.fromtimestamp(revoked, UTC),
    )
