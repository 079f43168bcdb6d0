"""The plots of the page as SVG: changes around 0, and what was logged over the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ._report_plots import Curve, Intervals, as_pair
from ._report_types import Figure
from ._report_words import SYMBOLS, by_group, escaped, minus, number_of, short


def forests_html(figures: Sequence[Figure]) -> str:
    """The differences around a line at 0. Rates share one axis; other measures have units of their own, so no axis."""
    plots = []
    for group, members in by_group(figures).items():
        of = f"{group}: " if group else ""
        rates, others = [f for f in members if f.unit == "%"], [f for f in members if f.unit == ""]
        plots += [_forest_svg(f"{of}Change in percentage points", rates, shared=True)] if rates else []
        plots += [_forest_svg(f"{of}Change, each row on a scale of its own", others, shared=False)] if others else []
    return f"<div class='plots'>{''.join(plots)}</div>" if plots else ""


def _forest_svg(title: str, figures: Sequence[Figure], shared: bool) -> str:
    """One row a measure: words above, interval below, around a short line at 0; with an axis where all share it."""
    bottom = 46 * len(figures) + 4
    span = _reach(figures)
    body: list[str] = []
    for row, figure in enumerate(figures):
        y, kind, change = 46 * row + 31, figure.verdict.split()[0], figure.difference
        scale = span if shared else _reach([figure])
        # An infinite end runs to the edge of the plot.
        low, value, high = (220 + 210 * min(1, max(-1, x / scale)) for x in (change.low, change.value, change.high))
        body += [
            _text(0, y - 14, short(figure.label, 40), "start"),
            _text(440, y - 14, f"{SYMBOLS[figure.verdict]} {figure.verdict}", "end", f"word {kind}"),
            _line(220, y - 9, 220, y + 9, "axis"),
            _line(low, y, high, y, f"bar {kind}"),
            f"<circle cx='{value:.1f}' cy='{y}' r='5' class='dot {kind}'/>",
        ]
    if shared:
        body.append(_line(10, bottom, 430, bottom, "axis"))
        for tick, label in _ticks(-100 * span, 100 * span):
            x = 220 + 2.1 * tick / span
            body += [_line(x, bottom, x, bottom + 4, "axis"), _text(x, bottom + 19, label, "middle")]
    return _svg(title, bottom + (24 if shared else 0), body)


def _reach(figures: Sequence[Figure]) -> float:
    """How far from 0 the axis must go."""
    ends = [abs(x) for f in figures for x in (f.difference.value, f.difference.low, f.difference.high)]
    return max((x for x in ends if math.isfinite(x)), default=0.0) * 1.05 or 1.0


def curve_svg(curve: Curve) -> str:
    # Written as a comparison, which NaN fails; beyond 1e300 the arithmetic of the axes would overflow.
    series = {
        name: [p for p in map(as_pair, points) if all(abs(value) < 1e300 for value in p)]
        for name, points in curve.series.items()
    }
    xs, ys = ([point[i] for points in series.values() for point in points] for i in (0, 1))
    if not xs:
        return _svg(curve.title, 60, [_text(220, 35, "nothing logged", "middle")])
    legend = 20 * math.ceil(len(series) / 2) if len(series) > 1 else 0
    top, bottom = legend + 28, legend + 218
    (x_low, x_high), (y_low, y_high) = _range(xs, 0.0), _range(ys, 0.06)

    def across(x: float) -> float:
        return 56 + 374 * (x - x_low) / (x_high - x_low)

    def up(y: float) -> float:
        return bottom - 190 * (y - y_low) / (y_high - y_low)

    body = [_text(56, top - 10, short(curve.y_label, 50), "start")]
    body.append(_text(243, bottom + 39, short(curve.x_label, 50), "middle"))
    for y, label in ((up(tick), label) for tick, label in _ticks(y_low, y_high)):
        body += [_line(56, y, 430, y, "grid"), _text(48, y + 4, label, "end")]
    for x, label in ((across(tick), label) for tick, label in _ticks(x_low, x_high)):
        body += [_line(x, bottom, x, bottom + 4, "axis"), _text(x, bottom + 19, label, "middle")]
    body += [_line(56, bottom, 430, bottom, "axis"), _line(56, top, 56, bottom, "axis")]
    for i, (name, points) in enumerate(series.items()):
        body += _series_svg(i, [(across(x), up(y)) for x, y in points])
        if legend:
            x, y = 56 + (i % 2) * 190, 10 + 20 * (i // 2)
            body += [_line(x, y, x + 26, y, f"s{i}"), _text(x + 33, y + 4, short(name, 22), "start")]
    return _svg(curve.title, bottom + 46, body)


def plot_svg(plot: Curve | Intervals) -> str:
    return curve_svg(plot) if isinstance(plot, Curve) else intervals_svg(plot)


def intervals_svg(plot: Intervals) -> str:
    ends = [x for e in plot.estimates.values() for x in (e.value, e.low, e.high) if math.isfinite(x)]
    if not ends:
        return _svg(plot.title, 60, [_text(220, 35, "nothing measured", "middle")])
    x_low, x_high = _range([*ends, *([] if plot.reference is None else [plot.reference])], 0.04)
    bottom = 40 * len(plot.estimates) + 4

    def across(x: float) -> float:
        # An infinite end runs to the edge of the plot.
        return 10 + 420 * (min(x_high, max(x_low, x)) - x_low) / (x_high - x_low)

    body: list[str] = []
    if plot.reference is not None:
        body.append(_line(across(plot.reference), 0, across(plot.reference), bottom, "grid"))
    for row, (name, estimate) in enumerate(plot.estimates.items()):
        y = 40 * row + 28
        body += [
            _text(0, y - 12, short(name, 44), "start"),
            _text(440, y - 12, minus(" ".join(number_of(estimate))), "end"),
            _line(across(estimate.low), y, across(estimate.high), y, "bar"),
            f"<circle cx='{across(estimate.value):.1f}' cy='{y}' r='5' class='dot'/>",
        ]
    body.append(_line(10, bottom, 430, bottom, "axis"))
    for tick, label in _ticks(x_low, x_high):
        body += [_line(across(tick), bottom, across(tick), bottom + 4, "axis")]
        body += [_text(across(tick), bottom + 19, label, "middle")]
    body.append(_text(220, bottom + 39, short(plot.x_label, 60), "middle"))
    return _svg(plot.title, bottom + 46, body)


def _series_svg(index: int, points: Sequence[tuple[float, float]]) -> list[str]:
    line = f"<polyline class='s{index}' points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}'/>"
    # Few points are shown each: a line of one point would be invisible.
    few = points if len(points) <= 12 else []
    return [line, *(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' class='p{index}'/>" for x, y in few)]


def _svg(title: str, height: float, body: Iterable[str]) -> str:
    return (
        f"<figure><figcaption>{escaped(title)}</figcaption><svg viewBox='0 0 440 {height:g}' role='img'>"
        f"<title>{escaped(title)}</title>{''.join(body)}</svg></figure>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' class='{style}'/>"


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' class='{style}'>{escaped(text)}</text>"


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-300):
        half = abs(low) * 0.1 or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """About five round numbers within [low, high], each with its text."""
    rough = (high - low) / 5
    power = math.floor(math.log10(rough))
    step = next(m * 10.0**power for m in (1, 2, 5, 10) if m * 10.0**power >= rough * 0.75)
    # Very small and very large steps (learning rates, tokens) read better as 2e-06.
    style = f",.{max(0, -math.floor(math.log10(step * 1.001)))}f" if 1e-4 <= step < 1e5 else "g"
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(i * step, 12 - power) for i in range(first, last + 1)]
    return [(tick, minus(f"{tick:{style}}")) for tick in ticks]
