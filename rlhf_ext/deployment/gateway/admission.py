"""Who may ask, and how often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from ...data.store.served import ApiKey, ApiKeys, SharedBuckets
from ...data.store.served.keys import key_hash
from ..rates import RateLimit
from .errors import ApiError, too_many
from .exchange import Exchange

_LOG = logging.getLogger(__name__)
_LOOK = 2.0
"""Seconds between two looks at the keys: so long a revoked one may still work."""
_STALE = 5.0
"""Seconds after which tokens that were taken from a shared bucket and not used are dropped."""
_MOST = 10_000


class KeyRing:
    """Knows the keys, and looks for new and revoked ones every two seconds.

    Args:
        keys ([`~rlhf_ext.data.store.served.ApiKeys`]): Where they are kept. Once there is one, nobody gets in without, even if all have
            been revoked.
    """

    def __init__(self, keys: ApiKeys):
        self._keys = keys
        self._by_hash: dict[str, ApiKey] = {}

    @property
    def needed(self) -> bool:
        """Whether requests need a key."""
        return bool(self._by_hash)

    def load(self) -> None:
        """Looks once.

        Raises:
            OSError: If the store is away.
        """
        self._by_hash = self._keys.by_hash()

    async def keep_looking(self) -> None:
        """Looks again and again. While the store is away, the keys stay as they were last seen."""
        away = False
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await asyncio.to_thread(self.load)
                away = False
            except OSError as error:
                if not away:
                    _LOG.error("Keys cannot be read, those known go on working: %s", error)
                away = True

    def knows(self, secret: str) -> bool:
        """Whether a key works."""
        key = self._by_hash.get(key_hash(secret))
        return key is not None and key.revoked is None

    def check(self, exchange: Exchange) -> ApiKey | None:
        """The key of a request; None where none is needed.

        Raises:
            ApiError: If it has none that works.
        """
        if not self.needed:
            return None
        scheme, _, secret = exchange.header("authorization").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else exchange.header("api-key")
        if not secret:
            message = "You didn't provide an API key. Send it in the header: Authorization: Bearer YOUR_KEY."
            raise ApiError(401, message, code="missing_api_key")
        key = self._by_hash.get(key_hash(secret))
        if key is None or key.revoked is not None:
            raise ApiError(401, "Incorrect API key provided, or one that has been revoked.", code="invalid_api_key")
        return key


@dataclass
class _Lease:
    """Tokens that were taken from a shared bucket and are used here."""

    left: int = 0
    until: float = 0.0
    not_before: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimits:
    """Requests a minute of each client, over all gateways of a store.

    Tokens are taken out of the store's bucket a second's worth at a time, so that most requests ask no database. What is taken and not
    used is lost: the limit is never exceeded, and a gateway among several may give a little less. While the store is away each
    gateway holds the limit for itself.

    Args:
        buckets ([`~rlhf_ext.data.store.served.SharedBuckets`]): The store's.
    """

    def __init__(self, buckets: SharedBuckets):
        self._buckets = buckets
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._alone: dict[float, RateLimit] = {}

    async def take(self, client: str, per_minute: float | None) -> None:
        """Counts a request.

        Raises:
            ApiError: 429, if there were too many.
        """
        if per_minute is None:
            return
        lease = self._leases.setdefault(client, _Lease())
        self._leases.move_to_end(client)
        if len(self._leases) > _MOST:
            self._leases.popitem(last=False)
        if not self._use(lease, per_minute):
            async with lease.lock:
                if not self._use(lease, per_minute):
                    await self._fill(lease, client, per_minute)

    def _use(self, lease: _Lease, per_minute: float) -> bool:
        now = time.monotonic()
        if now < lease.not_before:
            raise _refused(per_minute, lease.not_before - now)
        if lease.left < 1 or now > lease.until:
            return False
        lease.left -= 1
        return True

    async def _fill(self, lease: _Lease, client: str, per_minute: float) -> None:
        wanted = min(50, max(1, int(per_minute / 60)))
        try:
            taken, wait = await asyncio.to_thread(self._buckets.take, client, per_minute, wanted)
        except OSError as error:
            _LOG.warning("The store is away, and each gateway holds the limits for itself: %s", error)
            alone = self._alone.setdefault(per_minute, RateLimit(max(1, int(per_minute))))
            taken, wait = 1, alone.wait(client)
        if wait:
            lease.not_before = time.monotonic() + wait
            raise _refused(per_minute, wait)
        lease.left, lease.until = taken - 1, time.monotonic() + _STALE


def _refused(per_minute: float, wait: float) -> ApiError:
    return too_many(f"Rate limit reached: {per_minute:g} requests a minute. Try again in {wait:.1f} seconds.", wait)
