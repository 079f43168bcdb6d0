"""Token buckets that several gateways share."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..database import Database, sa
from ..served_tables import BUCKETS


class SharedBuckets:
    """Buckets that fill at a rate and are emptied by whoever takes from them, over all processes.

    Args:
        database ([`~rlhf_ext.data.store.database.Database`]): Where they are kept.
        clock (`Callable`, *optional*): Seconds, alike on all machines.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store.served import ServedStore, SharedBuckets
    >>> buckets = SharedBuckets(ServedStore(tempfile.mkdtemp() + "/gateway.sqlite").database, clock=lambda: 0.0)
    >>> buckets.take("ann", per_minute=6, wanted=4), buckets.take("ann", per_minute=6, wanted=4)
    ((4, 0.0), (2, 0.0))
    >>> buckets.take("ann", per_minute=6, wanted=4)
    (0, 10.0)

    ```
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def take(self, name: str, per_minute: float, wanted: int = 1) -> tuple[int, float]:
        """Takes up to `wanted` tokens out of a bucket that holds `per_minute` and fills within a minute.

        Returns:
            `tuple[int, float]`: how many it gave; where that is none, the seconds until there is one.
        """
        size = max(1.0, per_minute)
        with self.database.writing(f"bucket {name}") as connection:
            now = self._clock()
            row = connection.execute(sa.select(BUCKETS).where(BUCKETS.c.name == name)).first()
            # Clocks of machines differ a little: time does not go backwards here.
            left = size if row is None else min(size, row.left + max(0.0, now - row.updated) * per_minute / 60)
            taken = min(wanted, int(left))
            values = {"left": left - taken, "updated": now if row is None else max(now, row.updated)}
            insert = self.database.insert(BUCKETS).values(name=name, **values)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
        return taken, 0.0 if taken else (1 - left) * 60 / per_minute

    def forget(self, before: float) -> None:
        """Drops buckets that nobody has used since: they would be full."""
        with self.database.writing("served buckets") as connection:
            connection.execute(sa.delete(BUCKETS).where(BUCKETS.c.updated < before))
