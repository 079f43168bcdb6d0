"""How a report says things, in the terminal and on the page alike: numbers, verdicts, cautions, and text made safe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeVar

from ..stats import Estimate
from ._report_types import Example, Figure, Measure

Grouped = TypeVar("Grouped", Figure, Measure, Example)

# Below this, the intervals in `rlhf_ext.stats` that come from a bootstrap are narrower than they say.
_FEW_ROWS = 20

# Words carry the verdict and a symbol repeats it; nothing rests on colour.
SYMBOLS = {
    "better": "✓",
    "worse": "✗",
    "higher": "↑",
    "lower": "↓",
    "no clear change": "○",
    "passes": "✓",
    "fails": "✗",
}


def numbers_of(figure: Figure) -> list[tuple[str, str]]:
    """(value, interval) as shown, of before, after and change; a change of a rate is in percentage points."""
    scale = 100.0 if figure.unit == "%" else 1.0
    before, after, change = (
        Estimate(e.value * scale, e.low * scale, e.high * scale, e.n)
        for e in (figure.before, figure.after, figure.difference)
    )
    # What is to be compared by eye has the same number of decimals.
    places = max(before.decimals, after.decimals)
    unit, points = ("%", " points") if figure.unit else ("", "")
    return [
        _number(before, f",.{places}f", unit),
        _number(after, f",.{places}f", unit),
        _number(change, f"+,.{change.decimals}f", points),
    ]


def measure_numbers(measure: Measure) -> tuple[str, str]:
    """(value, interval) as shown; ("not measured", "") where there is none."""
    if measure.estimate is None:
        return "not measured", ""
    return number_of(measure.estimate, measure.unit)


def number_of(estimate: Estimate, unit: str = "") -> tuple[str, str]:
    """(value, interval) as shown."""
    scale = 100.0 if unit else 1.0
    scaled = Estimate(estimate.value * scale, estimate.low * scale, estimate.high * scale, estimate.n)
    return _number(scaled, f"{'+' * (unit == 'points')},.{scaled.decimals}f", " points" if unit == "points" else unit)


def _number(estimate: Estimate, style: str, unit: str) -> tuple[str, str]:
    def text(x: float) -> str:
        shown = f"{x:{style}}"
        # No "-0.00": a zero has no sign.
        return shown if re.search("[1-9]", shown) else shown.lstrip("+-")

    ends = (estimate.low, estimate.high)
    if not any(map(math.isfinite, ends)):
        return text(estimate.value) + unit, "[unknown]"
    # An end that the data do not set: a model that never lost has no upper one.
    low, high = (text(x) if math.isfinite(x) else "no end" for x in ends)
    return text(estimate.value) + unit, f"[{low}, {high}]"


def power_text(figure: Figure) -> str:
    """What `n` lets one see and how likely the change is by chance, as the end of a sentence; empty where unknown."""
    texts = []
    if figure.detectable is not None and math.isfinite(figure.detectable):
        amount = figure.detectable * (100 if figure.unit else 1)
        texts.append(f"which mostly shows changes of {amount:.2g}{' points' if figure.unit else ''} or more")
    if figure.p_value is not None:
        texts.append(f"p\u00a0=\u00a0{figure.p_value:.2g}" if figure.p_value >= 0.001 else "p\u00a0<\u00a00.001")
    return "".join(f", {text}" for text in texts)


def by_group(items: Iterable[Grouped]) -> dict[str, list[Grouped]]:
    """Items by their `group`, in the order of their first."""
    groups: dict[str, list[Grouped]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    return groups


def level_of(figures: Sequence[Figure]) -> str:
    levels = {figure.difference.confidence for figure in figures}
    return f"[{100 * levels.pop():g}% interval]" if len(levels) == 1 else "[interval]"


def cautions_of(figures: Sequence[Figure], measures: Sequence[Measure] = ()) -> list[str]:
    """What the intervals themselves do not say."""
    texts = []
    if len(figures) >= 5 and any(figure.verdict != "no clear change" for figure in figures):
        texts.append(
            f"There are {len(figures)} measures, and each interval is on its own: some measure may look clearly "
            "changed by chance alone (at 95%, about one in twenty does)."
        )
    few = [visible(figure.label) for figure in figures if figure.difference.n < _FEW_ROWS]
    few += [visible(m.label) for m in measures if m.estimate is not None and m.estimate.n < _FEW_ROWS]
    if few:
        texts.append(f"Fewer than {_FEW_ROWS} rows, so take it as a hint: {', '.join(few)}.")
    return texts


def score_text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration_text(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def visible(text: str) -> str:
    """Text that is safe to show: control characters become their symbols, lone surrogates the replacement mark.

    A terminal would obey them, XML forbids them, and UTF-8 cannot hold a lone surrogate.
    """

    def symbol(match: re.Match[str]) -> str:
        code = ord(match[0])
        return "␡" if code == 0x7F else chr(0x2400 + code) if code < 0x20 else "\ufffd"

    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", symbol, text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    return escape(visible(text))


def minus(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text)


def short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
