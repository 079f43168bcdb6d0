"""Counters of a gateway, for Prometheus."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "Metrics", "Names"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_CHARACTERS = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 50_000)
_SCORES = (-10, -5, -2, -1, -0.5, -0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2, 5, 10)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Names:
    """Keeps labels few where clients or model servers choose the name: the first ones have their own, the others share `"other"`.

    Args:
        most (`int`): Names that get a label of their own.

    Example:

    ```python
    >>> from rlhf_ext.deployment.gateway.metrics import Names
    >>> names = Names(1)
    >>> names("assistant"), names("x"), names("assistant"), names(None)
    ('assistant', 'other', 'assistant', '')

    ```
    """

    def __init__(self, most: int):
        self.most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, name: str | None, new: bool = True) -> str:
        """The label of a name; one that is not `new` gets none of its own."""
        if not name or name in self._known:
            return name or ""
        with self._lock:
            if new and len(self._known) < self.most:
                self._known.add(name)
                return name
        return "other"


class Metrics:
    """What is counted, in a registry of its own.

    Labels are names out of the settings, or of a bounded number ([`Names`]): they cannot be made to grow by what a client sends. With
    the environment variable `PROMETHEUS_MULTIPROC_DIR` (a folder, empty at the start) all processes that have it count into files there,
    and each of them shows the sums of all.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.models, self.kinds = Names(50), Names(50)
        self._children: dict[Any, Any] = {}
        made: dict[str, Any] = {"namespace": "rlhf_ext_gateway", "registry": self.registry}
        of = ["model", "variant"]
        self.requests = Counter("requests", "Requests done with.", ["route", "status"], **made)
        self.seconds = Histogram("seconds", "To the last byte.", of, buckets=_SECONDS, **made)
        self.ttft = Histogram("ttft_seconds", "To the first token.", of, buckets=_SECONDS, **made)
        self.tokens = Counter("tokens", "As the backend counts.", [*of, "kind"], **made)
        self.characters = Histogram("answer_characters", "Length of answers.", of, buckets=_CHARACTERS, **made)
        self.errors = Counter("errors", "Requests that ended in an error.", [*of, "error"], **made)
        self.refusals = Counter("refusals", "Answers that refuse, by their phrases.", of, **made)
        self.scores = Histogram("sampled_score", "Sampled answers.", [*of, "score"], buckets=_SCORES, **made)
        self.feedback = Counter("feedback", "Feedback stored.", [*of, "kind"], **made)
        self.filtered = Counter(
            "filter_hits", "Requests that a filter found something in.", [*of, "filter", "action"], **made
        )
        self.shadows_dropped = Counter("shadows_dropped", "Copies that had no place.", **made)
        self.lost = Counter("unrecorded", "Responses that could not be stored.", **made)
        self.unwatched = Counter("unwatched", "What monitoring had no room for.", ["part"], **made)
        self.watch_errors = Counter("monitoring_errors", "Errors of monitoring itself.", ["part", "error"], **made)
        self.notices_lost = Counter("alert_notices_lost", "Notices that no webhook took.", **made)
        now: dict[str, Any] = {**made, "multiprocess_mode": "livesum"}
        self.in_flight = Gauge("in_flight", "Requests that are being answered.", **now)
        self.waiting = Gauge("waiting", "Requests that wait for a place.", ["backend"], **now)
        worst: dict[str, Any] = {**made, "multiprocess_mode": "livemax"}
        self.drift = Gauge("drift_evidence", "From 1 on there is drift.", ["side", "feature"], **worst)
        self.firing = Gauge("alert_firing", "1 while an alert fires.", ["alert"], **worst)

    def count(self, fields: Mapping[str, Any], hits: Sequence[Any]) -> None:
        """Counts a request that is done with, by its columns in the store and what filters found."""
        route = "shadow" if fields["shadow_of"] else fields["kind"]
        self._child(self.requests, route, fields["status"]).inc()
        of = self.of(fields["model"], fields["variant"], fields["status"] < 400)
        if fields["error"]:
            self._child(self.errors, *of, self.kinds(fields["error"])).inc()
        else:
            self._child(self.seconds, *of).observe(fields["seconds"])
        if fields["ttft"] is not None:
            self._child(self.ttft, *of).observe(fields["ttft"])
        for side in ("prompt", "completion"):
            if fields[f"{side}_tokens"]:
                self._child(self.tokens, *of, side).inc(fields[f"{side}_tokens"])
        for name, action in {(hit.filter, hit.action) for hit in hits}:
            self._child(self.filtered, *of, name, action).inc()

    def of(self, model: str, variant: str | None, answered: bool = True) -> tuple[str, str]:
        """The labels of a model and a variant. Only what was answered brings in a new model: clients may ask for anything."""
        return self.models(model, answered), variant or ""

    def _child(self, metric: Any, *labels: Any) -> Any:
        """What `labels()` gives, which takes longer than to count."""
        key = (metric, *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        if not os.environ.get(_FOLDER):
            return bytes(generate_latest(self.registry))
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)
        return bytes(generate_latest(everybody))

    def close(self) -> None:
        """This process ends: what it had of gauges is gone; what it counted stays."""
        if os.environ.get(_FOLDER):
            from prometheus_client import multiprocess

            multiprocess.mark_process_dead(os.getpid())
