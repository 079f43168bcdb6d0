"""Alerts by rule: pending while a condition begins to hold, firing once it has held for long enough, resolved once it has not."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .settings import AlertRule

_LOG = logging.getLogger(__name__)
_LONG = 1800.0

Reader = Callable[[AlertRule], tuple[float | None, int]]
"""The value of a rule's metric now, and how many values it rests on."""


@dataclass(frozen=True)
class Notice:
    """What is told of an alert, twice for each time that it fires: when it begins, and when it ends.

    Args:
        id (`str`): The same for both: whoever gets one twice can tell.
        state (`Literal["firing", "resolved"]`): Which of them it is.
        rule ([`AlertRule`]): What it is about.
        value (`float`, *optional*): Of the metric, when it was told.
        since (`float`), time (`float`): When it began to fire and when it was told, in seconds since 1970.
    """

    id: str
    state: Literal["firing", "resolved"]
    rule: AlertRule
    value: float | None
    since: float
    time: float

    def body(self) -> dict[str, Any]:
        """As JSON."""
        rule = self.rule
        labels = {"model": rule.model, "variant": rule.variant, "name_of": rule.name_of}
        return {
            "id": self.id,
            "state": self.state,
            "alert": rule.name,
            "severity": rule.severity,
            "metric": rule.metric,
            "condition": rule.condition,
            "window": rule.window,
            "value": self.value,
            "labels": {name: one for name, one in labels.items() if one is not None},
            "since": self.since,
            "time": self.time,
            "text": f"{self.state.upper()}: {rule.name} ({rule.condition})",
        }


@dataclass
class AlertState:
    """How a rule stands.

    Args:
        rule ([`AlertRule`]): Which.
        state (`Literal["quiet", "pending", "firing"]`): Pending: the condition holds, not yet for long enough.
        value (`float`, *optional*): Of the metric, when it was last read.
        since (`float`, *optional*): When the state began.
        id (`str`): Of the alert that fires.
        turned (`float`, *optional*): Since when the condition has been the other way than the state.
        read (`float`): When the metric was last read.
    """

    rule: AlertRule
    state: Literal["quiet", "pending", "firing"] = "quiet"
    value: float | None = None
    since: float | None = None
    id: str = ""
    turned: float | None = None
    read: float = -math.inf


class Alerts:
    """Reads the metrics of rules and says what has changed.

    Args:
        rules (`Sequence[AlertRule]`): Each with a name of its own.
        tell (`Callable`): Is given each [`Notice`] once.
        clock (`Callable`, *optional*): Seconds since 1970.

    Example:

    ```python
    >>> from rlhf_ext.deployment.monitoring import AlertRule
    >>> from rlhf_ext.deployment.monitoring.alerts import Alerts
    >>> values, told = iter([0.2, 0.9, 0.9, 0.1]), []
    >>> alerts = Alerts([AlertRule(name="errors", metric="error_rate", above=0.5)], told.append)
    >>> for _ in range(4):
    ...     alerts.look(lambda rule: (next(values), 10))
    >>> [notice.state for notice in told]
    ['firing', 'resolved']

    ```
    """

    def __init__(
        self, rules: Sequence[AlertRule], tell: Callable[[Notice], None], clock: Callable[[], float] = time.time
    ):
        self.states: Mapping[str, AlertState] = {rule.name: AlertState(rule) for rule in rules}
        self.notices: deque[Notice] = deque(maxlen=50)
        """The last ones."""
        self._tell, self._clock = tell, clock

    def look(self, read: Reader) -> None:
        """Reads all rules once."""
        now = self._clock()
        for one in self.states.values():
            # What is of hours is work to read, and does not change within seconds.
            if one.rule.window > _LONG and now - one.read < one.rule.window / 120:
                continue
            one.read = now
            value, n = read(one.rule)
            # Too little to say: what fires goes on firing, since no traffic at all can be the worst of it.
            if value is None or n < one.rule.at_least:
                continue
            one.value = value
            self._step(one, one.rule.broken_by(value))

    def _step(self, one: AlertState, broken: bool) -> None:
        now = self._clock()
        if broken == (one.state != "quiet"):
            one.turned = None
            if one.state == "pending" and now - (one.since or now) >= one.rule.hold:
                self._fire(one, now)
        elif one.state == "pending":
            one.state, one.since = "quiet", None
        elif one.state == "firing":
            one.turned = now if one.turned is None else one.turned
            if now - one.turned >= one.rule.hold:
                self._say(Notice(one.id, "resolved", one.rule, one.value, one.since or now, now))
                one.state, one.since, one.turned, one.id = "quiet", None, None, ""
        else:
            one.state, one.since = "pending", now
            if not one.rule.hold:
                self._fire(one, now)

    def _fire(self, one: AlertState, now: float) -> None:
        one.state, one.since, one.id = "firing", now, f"alert-{secrets.token_hex(8)}"
        self._say(Notice(one.id, "firing", one.rule, one.value, now, now))

    def _say(self, notice: Notice) -> None:
        firing = notice.state == "firing"
        level = logging.WARNING if firing else logging.INFO
        value = "unknown" if notice.value is None else f"{notice.value:.4g}"
        words = ("fires", "it is") if firing else ("is resolved", "it is")
        _LOG.log(level, "Alert %s %s: %s, %s %s.", notice.rule.name, words[0], notice.rule.condition, words[1], value)
        self.notices.append(notice)
        self._tell(notice)
