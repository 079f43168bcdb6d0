"""The monitor: is told of every request, keeps figures, scores a sample, looks for drift and raises alerts."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...rewards.refusal import Refusal
from .alerts import Alerts, Notice
from .background import Background, Failures
from .drift import DriftWatch
from .sampling import drawn, load_scores, score_all
from .series import Cell, Key, Series
from .settings import AlertRule, MonitoringSettings
from .webhook import Webhook

if TYPE_CHECKING:
    from ..gateway.metrics import Metrics
    from ..gateway.observing import Served

_REMEMBERED = 20_000
_LOOK = 5.0
ALWAYS = (
    AlertRule(name="monitoring_errors", metric="monitoring_errors", above=0),
    AlertRule(name="drift", metric="drift", above=0),
    AlertRule(name="canary_rolled_back", metric="canaries_rolled_back", above=0),
)
"""Alerts that nobody has to ask for; one of the same name in the settings takes the place of it."""

Said = tuple[str, str, dict[str, Any]]


class Monitor:
    """An observer of a gateway.

    What it is told it takes at once and handles in threads of its own, as far as there is room; what there is no room for is counted as
    `unwatched`. An error in any of its parts ends nothing but what it was at: it is counted, logged once of its kind, and an alert.

    Args:
        settings ([`MonitoringSettings`]): What to watch.
        metrics ([`~rlhf_ext.deployment.gateway.metrics.Metrics`]): The gateway's, which it adds to.
        key_of (`Callable`, *optional*): Model and variant of a response that is not remembered any more, for feedback.
        canaries (`Callable`, *optional*): How canaries stand, by name.
        scored (`Callable`, *optional*): Told of each score of a sampled answer: the request, the score's name, its value.
        clock (`Callable`, *optional*): Seconds since 1970.

    Raises:
        ValueError, FileNotFoundError, ImportError: If a reward function cannot be made, the reference of the drift test cannot be
            read, or the webhook has no address.
    """

    def __init__(
        self,
        settings: MonitoringSettings,
        metrics: Metrics,
        key_of: Callable[[str], tuple[str, str | None] | None] = lambda response: None,
        canaries: Callable[[], Mapping[str, Any]] = dict,
        clock: Callable[[], float] = time.time,
        scored: Callable[[Served, str, float], None] = lambda served, name, value: None,
    ):
        self.settings, self.metrics, self.canaries, self.clock = settings, metrics, canaries, clock
        self._key_of, self._scored_to = key_of, scored
        self.failures = Failures(lambda part, kind: metrics.watch_errors.labels(part, kind).inc(), clock)
        self.series = Series(settings.step, settings.hours * 3600, clock)
        self.drift = None if settings.drift is None else DriftWatch(settings.drift, clock)
        self.webhook = None if settings.webhook is None else Webhook(settings.webhook, metrics.notices_lost.inc)
        given = {rule.name: rule for rule in (*ALWAYS, *settings.alerts)}
        self.alerts = Alerts([rule for rule in given.values() if self._can(rule)], self._tell, clock)
        self._refusal = Refusal()
        self._drops: deque[float] = deque(maxlen=10_000)
        self._keys: OrderedDict[str, Key] = OrderedDict()
        self._figures = self._part("figures", self._figure, settings.waiting, 64)
        self._compared = self._part("drift", self._compare, 256, 1)
        sample = settings.sample
        self._functions = {} if sample is None else load_scores(sample)
        self._scored = self._part(
            "scores", self._score, sample.waiting if sample else 1, sample.batch if sample else 1
        )
        self._stopping = threading.Event()
        self._looking = threading.Thread(target=self._keep_looking, name="alerts", daemon=True)

    def start(self) -> None:
        """Begins."""
        for part in (self._figures, self._compared, self._scored, self.webhook, self._looking):
            if part is not None:
                part.start()

    def stop(self, seconds: float) -> None:
        """Handles what is left, within `seconds`."""
        until = time.monotonic() + seconds
        self._stopping.set()
        for part in (self._figures, self._compared, self._scored, self.webhook):
            if part is not None:
                part.stop(max(0.0, until - time.monotonic()))
        if self._looking.is_alive():
            self._looking.join(max(0.0, until - time.monotonic()))

    def served(self, served: Served) -> None:
        """A request is done with."""
        self._figures.put(served)

    def said(self, response: str, kind: str, value: dict[str, Any]) -> None:
        """Feedback has been stored."""
        self._figures.put((response, kind, value))

    def settle(self, seconds: float = 10.0) -> bool:
        """Waits until all that was told before is handled; gives whether it is. For tests and notebooks."""
        return self._figures.settle(seconds) and self._compared.settle(seconds) and self._scored.settle(seconds)

    def dropped(self, seconds: float) -> int:
        """How many things there was no room for in the last `seconds` (at most 10,000 are remembered)."""
        since = self.clock() - seconds
        return sum(when >= since for when in list(self._drops))

    def look(self) -> None:
        """Reads alerts once, which otherwise happens every five seconds."""
        self.alerts.look(self._read)
        for name, state in self.alerts.states.items():
            self.metrics.firing.labels(name).set(state.state == "firing")
        for one in self.drift.standing() if self.drift else ():
            evidence = max(1.0, one.evidence) if one.changed else one.evidence
            self.metrics.drift.labels(one.side, one.feature).set(evidence)

    def _part(self, name: str, handle: Callable[[list[Any]], None], room: int, batch: int) -> Background[Any]:
        return Background(name, handle, self.failures, room, lambda: self._dropped(name), batch)

    def _dropped(self, part: str) -> None:
        self._drops.append(self.clock())
        self.metrics.unwatched.labels(part).inc()

    def _tell(self, notice: Notice) -> None:
        if self.webhook is not None:
            self.webhook.put(notice)

    def _can(self, rule: AlertRule) -> bool:
        return rule.metric != "drift" or self.drift is not None

    def _keep_looking(self) -> None:
        while not self._stopping.wait(min(_LOOK, self.settings.step)):
            with self.failures.within("alerts"):
                self.look()

    def _read(self, rule: AlertRule) -> tuple[float | None, int]:
        since = self.clock() - rule.window
        read = rule.shape.read
        if read is not None:
            if rule.metric.endswith("per_second") and since < self.series.begun:
                return None, 0  # the window is not full
            return read(self.series.total(rule.window, rule.model, rule.variant), rule.window, rule.name_of)
        if rule.metric == "monitoring_errors":
            return float(self.failures.count(since, rule.name_of)), 1
        if rule.metric == "dropped":
            return float(self.dropped(rule.window)), 1
        if rule.metric == "drift":
            found = [] if self.drift is None else self.drift.standing()
            named = [one for one in found if rule.name_of in (None, one.side, one.feature)]
            return float(sum(one.changed is not None for one in named)), 1
        standings = self.canaries().items()
        rolled = [name for name, one in standings if one.state == "rolled_back" and rule.name_of in (None, name)]
        return float(len(rolled)), 1

    def _figure(self, told: list[Served | Said]) -> None:
        for one in told:
            with self.failures.within("figures"):
                if isinstance(one, tuple):
                    self._feedback(*one)
                else:
                    self._request(one)

    def _request(self, served: Served) -> None:
        key = Key(*self.metrics.of(served.model, served.variant, served.status < 400), served.shadow_of is not None)
        self._keys[served.id] = key
        if len(self._keys) > _REMEMBERED:
            self._keys.popitem(last=False)
        answered = served.status < 400 and served.text is not None
        refuses = False
        if answered and served.text:
            [score] = self._refusal(prompts=[""], completions=[served.text])
            refuses = score > 0
        self.series.update(key, lambda cell: _count(cell, served, self.metrics.kinds(served.error), refuses))
        if key.shadow or not answered:
            return
        self.metrics.characters.labels(key.model, key.variant).observe(len(served.text or ""))
        if refuses:
            self.metrics.refusals.labels(key.model, key.variant).inc()
        if self.drift is not None:
            self._compared.put(served)
        sample = self.settings.sample
        if sample is not None and drawn(served.id, sample.share, sample.seed):
            self._scored.put((key, served))

    def _feedback(self, response: str, kind: str, value: dict[str, Any]) -> None:
        key = self._keys.get(response)
        if key is None:
            found = self._key_of(response)
            key = Key("") if found is None else Key(*self.metrics.of(*found))
        shown = f"thumb {'up' if value.get('up') else 'down'}" if kind == "thumb" else kind
        self.metrics.feedback.labels(key.model, key.variant, shown).inc()

        def count(cell: Cell) -> None:
            cell.feedback[shown] += 1

        self.series.update(key, count)

    def _compare(self, told: list[Served]) -> None:
        for served in told:
            assert self.drift is not None
            self.drift.add(served.prompt, served.text)

    def _score(self, told: list[tuple[Key, Served]]) -> None:
        def scored(name: str, place: int, value: float | None) -> None:
            if value is not None:
                key, served = told[place]
                self.metrics.scores.labels(key.model, key.variant, name).observe(value)
                self.series.update(key, lambda cell: cell.score(name, value))
                with self.failures.within(f"guard on {name}"):
                    self._scored_to(served, name, value)

        prompts = [served.prompt if served.prompt is not None else "" for _, served in told]
        score_all(self._functions, prompts, [str(served.text) for _, served in told], self.failures.within, scored)


def _count(cell: Cell, served: Served, error: str, refuses: bool) -> None:
    cell.requests += 1
    cell.failed += served.status >= 500
    if error:
        cell.errors[error] += 1
    elif served.status < 400:
        cell.seconds.add(served.seconds)
        if served.ttft is not None:
            cell.ttft.add(served.ttft)
        if served.text is not None:
            cell.characters = cell.characters.added(len(served.text))
            cell.judged += 1
            cell.refused += refuses
    cell.prompt_tokens += served.prompt_tokens or 0
    cell.completion_tokens += served.completion_tokens or 0
    hits = {(hit.filter, hit.action) for hit in served.filter_hits}
    cell.hits.update(hits)
    cell.filtered += bool(hits)
    cell.stopped += any(action in ("block", "replace") for _, action in hits)
