"""The plots of the status page: what went on over time, and variants side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from ...evaluation._report_svg import curve_svg, intervals_svg
from ...evaluation.report import Curve, Intervals
from ...stats import Estimate
from .series import Cell, Key

Part = tuple[float, float, dict[Key, Cell]]
Points = list[tuple[float, float]]
_LINES = 4
_HOUR = 3600.0


class Timeline:
    """Draws the parts of a window.

    Args:
        parts (`Sequence`): Of [`Series.over_time`], oldest first.
        seconds (`float`): Of the window.
        label (`Callable`): What a key is called.
    """

    def __init__(self, parts: Sequence[Part], seconds: float, label: Callable[[Key], str]):
        self.parts, self.label = parts, label
        self.unit, self.x_label = (_HOUR, "hours ago") if seconds > 2 * _HOUR else (60.0, "minutes ago")
        totals: dict[Key, int] = {}
        for _, _, cells in parts:
            for key, cell in cells.items():
                if not key.shadow and cell.requests:
                    totals[key] = totals.get(key, 0) + cell.requests
        ranked = sorted(totals, key=lambda key: -totals[key])
        self.shown = sorted(ranked if len(ranked) <= _LINES else ranked[: _LINES - 1])
        self.rest = set(ranked) - set(self.shown)

    def of_all(self, title: str, unit: str, lines: Mapping[str, Callable[[Cell, float], float | None]]) -> Markup:
        """One line a figure, of all users' traffic."""
        found: dict[str, Points] = {name: [] for name in lines}
        for ago, length, cells in self.parts:
            total = _sum(cell for key, cell in cells.items() if not key.shadow)
            for name, read in lines.items():
                self._put(found[name], ago, read(total, length))
        return self._drawn(title, unit, found)

    def by_variant(self, title: str, unit: str, read: Callable[[Cell, float], float | None]) -> Markup:
        """One line a variant; beyond four, the smaller ones together."""
        names = {self.label(key): [key] for key in self.shown} | ({"others": list(self.rest)} if self.rest else {})
        found: dict[str, Points] = {name: [] for name in names}
        for ago, length, cells in self.parts:
            for name, keys in names.items():
                self._put(found[name], ago, read(_sum(cells[key] for key in keys if key in cells), length))
        return self._drawn(title, unit, found)

    def _put(self, points: Points, ago: float, value: float | None) -> None:
        if value is not None:
            points.append((-ago / self.unit, value))

    def _drawn(self, title: str, unit: str, lines: dict[str, Points]) -> Markup:
        drawn = {name: points for name, points in lines.items() if points}
        return Markup(curve_svg(Curve(title, self.x_label, unit, drawn)))


def side_by_side(title: str, label: str, estimates: Mapping[str, Estimate]) -> Markup:
    """Variants one below the other, each with its interval; nothing where there are fewer than two."""
    if len(estimates) < 2:
        return Markup("")
    return Markup(intervals_svg(Intervals(title, label, dict(estimates))))


def _sum(cells: object) -> Cell:
    total = Cell()
    for cell in cells:  # type: ignore[attr-defined]
        total.include(cell)
    return total
