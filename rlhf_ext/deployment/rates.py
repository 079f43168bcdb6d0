"""How often somebody may do something: token buckets in memory, a bounded number of them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Lets `per_minute` events a minute through for each key, as many at once.

    Args:
        per_minute (`int`):
            Events a minute and key.
        max_keys (`int`, *optional*, defaults to `10_000`):
            Keys remembered; the one that was seen longest ago is forgotten.
        clock (`Callable`, *optional*):
            Seconds that only go forward.

    Example:
    ```python
    >>> from rlhf_ext.deployment.rates import RateLimit

    >>> limit = RateLimit(per_minute=2, clock=lambda: 0.0)
    >>> [limit.wait("127.0.0.1") for _ in range(3)]
    [0.0, 0.0, 30.0]

    ```
    """

    def __init__(self, per_minute: int, max_keys: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.max_keys = max_keys
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until the event may happen: 0.0 where it may now, and then it is counted."""
        with self._lock:
            now = self._clock()
            left, seen = self._buckets.pop(key, (float(self.per_minute), now))
            left = min(float(self.per_minute), left + (now - seen) * self.per_minute / 60)
            allowed = left >= 1
            self._buckets[key] = (left - allowed, now)
            if len(self._buckets) > self.max_keys:
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1 - left) * 60 / self.per_minute
