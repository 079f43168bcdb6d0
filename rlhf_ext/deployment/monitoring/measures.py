"""What alerts and the status page read off the figures of a window: each metric by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

from .series import Cell

Read = Callable[[Cell, float, str | None], tuple[float | None, int]]
"""Of a window's figures, its seconds and which one: the value, and how many values it rests on."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        of (`Literal["none", "any", "name"]`): Whether there is one, or several, of which one may or must be named (`name_of`).
        read (`Callable`, *optional*): Reads it; None where it is of the gateway as a whole and no figure of requests.
    """

    of: Literal["none", "any", "name"]
    read: Read | None = None

    @property
    def whole(self) -> bool:
        """Whether it is of the gateway as a whole."""
        return self.read is None


def _requests(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    # No request is a figure too: there is always enough to say so.
    return cell.requests / seconds, max(1, cell.requests)


def _tokens(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return cell.completion_tokens / seconds, cell.requests


def _errors(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return _share(cell.failed if name is None else cell.errors[name], cell.requests)


def _latency(share: float, cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return cell.seconds.quantile(share), cell.seconds.n


def _ttft(share: float, cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return cell.ttft.quantile(share), cell.ttft.n


def _characters(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return (cell.characters.mean if cell.characters.n else None), cell.characters.n


def _refusals(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return _share(cell.refused, cell.judged)


def _filtered(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    hits = cell.filtered if name is None else sum(n for (one, _), n in cell.hits.items() if one == name)
    return _share(hits, cell.requests)


def _stopped(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return _share(cell.stopped, cell.requests)


def _thumbs_down(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    return _share(cell.feedback["thumb down"], cell.feedback["thumb down"] + cell.feedback["thumb up"])


def _score(cell: Cell, seconds: float, name: str | None) -> tuple[float | None, int]:
    moments = cell.scores.get(name or "")
    return (None, 0) if moments is None else (moments.mean, moments.n)


def _share(part: int, whole: int) -> tuple[float | None, int]:
    return (part / whole if whole else None), whole


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "requests_per_second": Metric("none", _requests),
        "tokens_per_second": Metric("none", _tokens),
        "error_rate": Metric("any", _errors),
        **{f"latency_p{p}": Metric("none", partial(_latency, p / 100)) for p in (50, 95, 99)},
        **{f"ttft_p{p}": Metric("none", partial(_ttft, p / 100)) for p in (50, 95, 99)},
        "answer_characters": Metric("none", _characters),
        "refusal_rate": Metric("none", _refusals),
        "filter_rate": Metric("any", _filtered),
        "stopped_rate": Metric("none", _stopped),
        "thumbs_down_rate": Metric("none", _thumbs_down),
        "score": Metric("name", _score),
        "drift": Metric("any"),
        "dropped": Metric("none"),
        "monitoring_errors": Metric("any"),
        "canaries_rolled_back": Metric("any"),
    }
)
"""All metrics that alerts may be on; docs/monitoring.md says what each is."""
