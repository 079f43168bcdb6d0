"""Counters of a gateway, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """What is counted, in a registry of its own.

    Labels are names out of the settings, never what a client sent: their number is bounded.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[Any, Any] = {}
        made = {"namespace": "rlhf_ext_gateway", "registry": self.registry}
        self.requests = Counter("requests", "Requests done with.", ["route", "status"], **made)  # type: ignore[arg-type]
        of_model = ["backend", "variant"]
        self.seconds = Histogram("seconds", "To the last byte.", of_model, buckets=_SECONDS, **made)  # type: ignore[arg-type]
        self.ttft = Histogram("ttft_seconds", "To the first token.", of_model, buckets=_SECONDS, **made)  # type: ignore[arg-type]
        self.tokens = Counter("tokens", "As the backend counts.", [*of_model, "kind"], **made)  # type: ignore[arg-type]
        self.in_flight = Gauge("in_flight", "Requests that are being answered.", **made)  # type: ignore[arg-type]
        self.waiting = Gauge("waiting", "Requests that wait for a place.", ["backend"], **made)  # type: ignore[arg-type]
        self.feedback = Counter("feedback", "Feedback stored.", ["kind"], **made)  # type: ignore[arg-type]
        self.filtered = Counter("filter_hits", "What filters found.", ["filter", "action"], **made)  # type: ignore[arg-type]
        self.shadows_dropped = Counter("shadows_dropped", "Copies that had no place.", **made)  # type: ignore[arg-type]
        self.lost = Counter("unrecorded", "Responses that could not be stored.", **made)  # type: ignore[arg-type]

    def count(self, fields: Mapping[str, Any], backend: str, hits: Sequence[Any]) -> None:
        """Counts a request, by its columns in the store."""
        of_model = (backend, fields["variant"] or "")
        self._child(self.requests, fields["kind"], fields["status"]).inc()
        self._child(self.seconds, *of_model).observe(fields["seconds"])
        if fields["ttft"] is not None:
            self._child(self.ttft, *of_model).observe(fields["ttft"])
        for kind in ("prompt", "completion"):
            if fields[f"{kind}_tokens"]:
                self._child(self.tokens, *of_model, kind).inc(fields[f"{kind}_tokens"])
        for hit in hits:
            self._child(self.filtered, hit.filter, hit.action).inc()

    def _child(self, metric: Any, *labels: Any) -> Any:
        """What `labels()` gives, which takes longer than to count."""
        key = (metric, *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self.registry))
