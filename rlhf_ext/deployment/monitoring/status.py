"""What the status page shows, read off a monitor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from ...evaluation._report_words import duration_text, minus, score_text
from ...stats import Estimate, Moments, wilson
from .monitor import Monitor
from .plots import Timeline, side_by_side
from .series import Cell, Key

_POINTS = 36
WINDOWS = {"15 min": 900.0, "1 h": 3600.0, "6 h": 21_600.0, "24 h": 86_400.0, "48 h": 172_800.0}
"""What can be chosen, as far as the monitor goes back."""


@dataclass(frozen=True)
class Row:
    """A model or variant in the table.

    Args:
        name (`str`): What it is called.
        cell ([`Cell`]): Its figures.
        shadow (`bool`): Whether nobody sees its answers.
        failed ([`~rlhf_ext.stats.Estimate`], *optional*), refused, liked: Shares with their intervals; None of nothing.
        scores (`dict[str, Estimate]`): Means by name.
    """

    name: str
    cell: Cell
    shadow: bool
    failed: Estimate | None
    refused: Estimate | None
    liked: Estimate | None
    scores: dict[str, Estimate]


def windows_of(monitor: Monitor) -> dict[str, float]:
    """Windows that the monitor goes back for."""
    longest = monitor.settings.hours * 3600
    return {name: seconds for name, seconds in WINDOWS.items() if seconds <= longest} or {"all": longest}


def view(monitor: Monitor, window: str) -> dict[str, Any]:
    """Everything that the page shows, by the names that its template uses.

    Args:
        monitor ([`Monitor`]): What it is read off.
        window (`str`): A name of [`windows_of`].
    """
    seconds = windows_of(monitor)[window]
    now = monitor.clock()
    cells = monitor.series.by_key(seconds)
    label = _label(cells)
    covered = max(1.0, min(seconds, now - monitor.series.begun))
    total = monitor.series.total(seconds)
    rows = [_row(label(key), key, cell) for key, cell in cells.items() if cell.requests]
    scores = sorted({name for row in rows for name in row.scores})
    states = list(monitor.alerts.states.values())
    timeline = Timeline(monitor.series.over_time(seconds, _POINTS), seconds, label)
    return {
        "window": window,
        "windows": list(windows_of(monitor)),
        "now": _time(now),
        "up": duration_text(now - monitor.series.begun),
        "tiles": _tiles(total, covered),
        "firing": [one for one in states if one.state == "firing"],
        "states": sorted(states, key=lambda one: ("firing", "pending", "quiet").index(one.state)),
        "notices": list(reversed(monitor.alerts.notices)),
        "traffic": _traffic(timeline),
        "rows": rows,
        "scores": scores,
        "compared": _compared(rows, scores),
        "quality": _quality(timeline, total, scores),
        "errors": total.errors.most_common(12),
        "hits": sorted(total.hits.items()),
        "feedback": total.feedback.most_common(),
        "total": total,
        "drift": None if monitor.drift is None else monitor.drift.standing(),
        "changes": [] if monitor.drift is None else list(reversed(monitor.drift.changes)),
        "canaries": dict(monitor.canaries()),
        "failures": monitor.failures.count(now - seconds),
        "dropped": monitor.dropped(seconds),
        "webhook": monitor.webhook,
        "time": _time,
        "seconds": lambda value: "–" if value is None else duration_text(value),
        "share": _share,
        "score": lambda value: minus(score_text(value)),
        "mean": _mean_words,
    }


def _label(cells: dict[Key, Cell]) -> Callable[[Key], str]:
    one_model = len({key.model for key in cells if key.model}) < 2

    def label(key: Key) -> str:
        name = (
            key.variant if key.variant and one_model else " · ".join(part for part in (key.model, key.variant) if part)
        )
        return (name or "unknown") + (" (shadow)" if key.shadow else "")

    return label


def _row(name: str, key: Key, cell: Cell) -> Row:
    up, down = cell.feedback["thumb up"], cell.feedback["thumb down"]
    means = {score: found for score, moments in sorted(cell.scores.items()) if (found := _mean(moments))}
    failed, refused = _rate(cell.failed, cell.requests), _rate(cell.refused, cell.judged)
    return Row(name, cell, key.shadow, failed, refused, _rate(up, up + down), means)


def _rate(part: int, whole: int) -> Estimate | None:
    return wilson(part, whole) if whole else None


def _mean(moments: Moments) -> Estimate | None:
    if not moments.n:
        return None
    half = 1.96 * math.sqrt(moments.variance / moments.n) if moments.n > 1 else math.inf
    return Estimate(moments.mean, moments.mean - half, moments.mean + half, moments.n)


def _tiles(total: Cell, seconds: float) -> list[tuple[str, str]]:
    failed = f"{100 * total.failed / total.requests:.2g} %" if total.requests else "–"
    return [
        (f"{total.requests:,}", "requests"),
        (f"{60 * total.requests / seconds:.3g}", "a minute"),
        (_seconds(total.seconds.quantile(0.5)), "median answer"),
        (_seconds(total.seconds.quantile(0.95)), "95 % within"),
        (failed, "failed"),
        (f"{total.completion_tokens / seconds:.3g}", "tokens a second"),
    ]


def _traffic(timeline: Timeline) -> list[Markup]:
    return [
        timeline.by_variant("Requests", "a minute", lambda cell, length: 60 * cell.requests / length),
        timeline.of_all(
            "Time of answers",
            "seconds",
            {f"{p} %": lambda cell, length, p=p: cell.seconds.quantile(p / 100) for p in (50, 95, 99)},  # type: ignore[misc]
        ),
        timeline.of_all(
            "Time to the first token, of streams",
            "seconds",
            {f"{p} %": lambda cell, length, p=p: cell.ttft.quantile(p / 100) for p in (50, 95)},  # type: ignore[misc]
        ),
        timeline.of_all(
            "Errors",
            "% of requests",
            {
                "5xx: ours or the model's": lambda cell, length: _percent(cell.failed, cell.requests),
                "4xx": lambda cell, length: _percent(cell.errors.total() - cell.failed, cell.requests),
            },
        ),
        timeline.of_all(
            "Tokens",
            "a second",
            {
                "read": lambda cell, length: cell.prompt_tokens / length,
                "written": lambda cell, length: cell.completion_tokens / length,
            },
        ),
        timeline.by_variant("95 % of answers within", "seconds", lambda cell, length: cell.seconds.quantile(0.95)),
    ]


def _quality(timeline: Timeline, total: Cell, scores: list[str]) -> list[Markup]:
    found = [
        timeline.by_variant("Refusals", "% of answers", lambda cell, length: _percent(cell.refused, cell.judged)),
        timeline.by_variant(
            "Length of answers", "characters", lambda cell, length: cell.characters.mean if cell.characters.n else None
        ),
    ]
    for name in scores[:6]:
        found.append(
            timeline.by_variant(
                f"{name}, of sampled answers",
                "mean",
                lambda cell, length, name=name: cell.scores[name].mean if name in cell.scores else None,  # type: ignore[misc]
            )
        )
    return found


def _compared(rows: list[Row], scores: list[str]) -> list[Markup]:
    percent = [
        ("Failed", {row.name: _times(100, row.failed) for row in rows if row.failed}),
        ("Refusals", {row.name: _times(100, row.refused) for row in rows if row.refused}),
        ("Thumbs up, of all thumbs", {row.name: _times(100, row.liked) for row in rows if row.liked}),
    ]
    found = [side_by_side(title, "%", estimates) for title, estimates in percent]
    for name in scores[:6]:
        means = {row.name: row.scores[name] for row in rows if name in row.scores}
        found.append(side_by_side(f"{name}, of sampled answers", "mean", means))
    return [plot for plot in found if plot]


def _times(factor: float, estimate: Estimate) -> Estimate:
    return Estimate(factor * estimate.value, factor * estimate.low, factor * estimate.high, estimate.n)


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _share(estimate: Estimate | None) -> tuple[str, str]:
    """A share in words: its value and its interval."""
    if estimate is None:
        return "–", ""
    return f"{100 * estimate.value:.2g} %", f"{100 * estimate.low:.2g} to {100 * estimate.high:.2g}"


def _mean_words(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    interval = f"{score_text(estimate.low)} to {score_text(estimate.high)}" if math.isfinite(estimate.low) else ""
    return minus(score_text(estimate.value)), minus(interval)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.0f} ms" if value < 1 else duration_text(value)


def _time(when: float) -> str:
    found = datetime.fromtimestamp(when, UTC)
    return f"{found:%Y-%m-%d %H:%M:%S} UTC"
