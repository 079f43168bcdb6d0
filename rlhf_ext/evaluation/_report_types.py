"""What a report is made of, to JSON and back. Public as `rlhf_ext.evaluation.report`; how it looks is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..stats import Estimate
from ._report_plots import Curve, Intervals, Matrix, as_pair, matrix_from, plot_from


@dataclass(frozen=True)
class Figure:
    """One measure, before and after.

    Args:
        name (`str`):
            Key of the measure, as in logs and gates (`"refusal_rate"`).
        label (`str`):
            What a reader sees (`"Refuses harmless requests"`).
        before (`Estimate`), after (`Estimate`):
            The measure for each model. A rate with unit `"%"` is given in [0, 1].
        difference (`Estimate`):
            The change, `after - before`, in the same unit; its interval decides the verdict. Take it from
            [`~rlhf_ext.stats.paired_difference`] where both models answered the same prompts.
        better (`Literal["higher", "lower"]`, *optional*):
            Which way is better; `None` where neither is (answer length).
        unit (`Literal["", "%"]`, *optional*, defaults to `""`):
            `"%"` shows rates as percentages and their change in percentage points.
        note (`str`, *optional*, defaults to `""`):
            One sentence on what the measure means.
        group (`str`, *optional*, defaults to `""`):
            What it belongs to (a suite): figures of one group stand together under its name.
        category (`str`, *optional*, defaults to `""`):
            The kind of prompts that it is of alone.
        p_value (`float`, *optional*):
            How likely a change of this size is by chance, in (0, 1], on its own.
        detectable (`float`, *optional*):
            The smallest true change that so many rows would mostly have shown, in the figure's unit. NaN where unknown.

    Raises:
        ValueError: If `better` or `unit` is something else.

    Example:
    ```python
    >>> from rlhf_ext.stats import paired_difference, wilson
    >>> from rlhf_ext.evaluation.report import Figure

    >>> before, after = [0, 1] * 50, [1, 1, 0, 1] * 25
    >>> change = paired_difference(before, after)
    >>> figure = Figure("win_rate", "Win rate", wilson(50, 100), wilson(75, 100), change, better="higher", unit="%")
    >>> figure.verdict
    'better'
    ```
    """

    name: str
    label: str
    before: Estimate
    after: Estimate
    difference: Estimate
    better: Literal["higher", "lower"] | None = None
    unit: Literal["", "%"] = ""
    note: str = ""
    group: str = ""
    category: str = ""
    p_value: float | None = None
    detectable: float | None = None

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower", None):
            raise ValueError(f"better must be 'higher', 'lower' or None, got {self.better!r} for {self.name!r}")
        if self.unit not in ("", "%"):
            raise ValueError(f"unit must be '' or '%', got {self.unit!r} for {self.name!r}")

    @property
    def verdict(self) -> str:
        """`"better"`, `"worse"` or `"no clear change"` (the interval of the difference holds 0).

        Where no direction is better: `"higher"` or `"lower"` in place of the first two.
        """
        if not self.difference.excludes_zero:
            return "no clear change"
        direction = "higher" if self.difference.low > 0 else "lower"
        if self.better is None:
            return direction
        return "better" if direction == self.better else "worse"


@dataclass(frozen=True)
class Measure:
    """One measure of one model, and what was asked of it.

    Args:
        name (`str`):
            Key of the measure, as in gates (`"probes.flattery.raised"`).
        label (`str`):
            What a reader sees.
        estimate (`Estimate`, *optional*):
            The measure; `None` where it could not be taken. A rate with unit `"%"` is given in [0, 1].
        unit (`Literal["", "%", "points"]`, *optional*, defaults to `""`):
            `"%"` shows rates as percentages, `"points"` changes of rates as percentage points.
        note (`str`, *optional*, defaults to `""`):
            One sentence on what the measure means, or on why it could not be taken.
        wanted (`str`, *optional*, defaults to `""`):
            What was asked of it (`"at least 0.7"`).
        verdict (`Literal["", "passes", "fails"]`, *optional*, defaults to `""`):
            Whether it is so; empty where nothing was asked.
        group (`str`, *optional*, defaults to `""`):
            What it belongs to (a suite).

    Raises:
        ValueError: If `unit` or `verdict` is something else.
    """

    name: str
    label: str
    estimate: Estimate | None
    unit: Literal["", "%", "points"] = ""
    note: str = ""
    wanted: str = ""
    verdict: Literal["", "passes", "fails"] = ""
    group: str = ""

    def __post_init__(self) -> None:
        if self.unit not in ("", "%", "points"):
            raise ValueError(f"unit must be '', '%' or 'points', got {self.unit!r} for {self.name!r}")
        if self.verdict not in ("", "passes", "fails"):
            raise ValueError(f"verdict must be '', 'passes' or 'fails', got {self.verdict!r} for {self.name!r}")


@dataclass(frozen=True)
class Example:
    """One prompt with the answers before and after.

    Args:
        prompt (`str`), before (`str`), after (`str`):
            Plain texts; for messages see [`~rlhf_ext.types.text_of`].
        category (`str`, *optional*, defaults to `""`):
            Kind of prompt (`"harmful"`, `"coding"`).
        scores (`dict[str, tuple[float, float]]`, *optional*):
            Scores of the two answers by name, (before, after). NaN where a score does not apply.
        group (`str`, *optional*, defaults to `""`):
            Why it is shown (`"What got worse"`): examples of one group stand together under it.

    Where there is one model alone, `before` is `None`.
    """

    prompt: str
    before: str | None
    after: str
    category: str = ""
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Stage:
    """One step of the run: its name, how many seconds it took, and what came of it in a sentence."""

    name: str
    seconds: float
    summary: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that a finished run has to tell. Any part may be left empty.

    Args:
        title (`str`), subtitle (`str`, *optional*):
            What was trained, and on what.
        figures (`list[Figure]`, *optional*):
            The measures, the one that matters most first.
        examples (`list[Example]`, *optional*):
            Answers to show. Say in `notes` how they were picked.
        curves (`list[Curve]`, *optional*), stages (`list[Stage]`, *optional*):
            The course of the training.
        settings (`dict[str, str]`, *optional*):
            What it takes to run it again: model, data, seed, versions.
        notes (`list[str]`, *optional*):
            What a reader must know before trusting the figures. Shown right below them.
        measures (`list[Measure]`, *optional*), plots (`list[Curve | Intervals]`, *optional*):
            Where one model is measured rather than two compared: its measures, and what is drawn of them.
        gate (`list[Measure]`, *optional*):
            What was asked of the model before it may be shipped, and whether it is so. Shown first.
        breakdown (`list[Figure]`, *optional*):
            Figures by category, for looking into.
        matrices (`list[Matrix]`, *optional*):
            Tables by row and column, below the measures.

    Example:
    ```python
    >>> from rlhf_ext.stats import Estimate
    >>> from rlhf_ext.evaluation.report import Figure, Report, render_table

    >>> reward = Figure("reward", "Reward", Estimate(1.2, 1.0, 1.4, 90), Estimate(1.9, 1.7, 2.1, 90),
    ...                 Estimate(0.7, 0.5, 0.9, 90), better="higher")
    >>> report = Report("DPO on 4,000 preferences", figures=[reward])
    >>> print(render_table(report, width=80).splitlines()[-1])
    Reward     1.20   1.90  +0.70 [+0.50, +0.90]   better
    ```
    """

    title: str
    subtitle: str = ""
    figures: list[Figure] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    plots: list[Curve | Intervals] = field(default_factory=list)
    gate: list[Measure] = field(default_factory=list)
    breakdown: list[Figure] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers, ready for JSON: a number that is not finite is `None`."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Report:
        """The report that `to_dict` gave, back again, also after JSON. A `None` score or point comes back as NaN.

        Raises:
            KeyError, TypeError: If a field is missing or unknown.
        """
        makers: dict[str, Callable[[Any], Any]] = {
            "figures": _figure_from,
            "examples": lambda f: Example(**{**f, "scores": {k: as_pair(v) for k, v in f["scores"].items()}}),
            "curves": plot_from,
            "stages": lambda f: Stage(**f),
            "measures": _measure_from,
            "plots": plot_from,
            "gate": _measure_from,
            "breakdown": _figure_from,
            "matrices": matrix_from,
        }
        made: dict[str, Any] = dict(fields)
        made.update({key: [make(item) for item in fields.get(key, [])] for key, make in makers.items()})
        return cls(**made)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _measure_from(fields: Mapping[str, Any]) -> Measure:
    return Measure(**{**fields, "estimate": fields["estimate"] and Estimate.from_dict(fields["estimate"])})


def _figure_from(fields: Mapping[str, Any]) -> Figure:
    estimates = {name: Estimate.from_dict(fields[name]) for name in ("before", "after", "difference")}
    return Figure(**{**fields, **estimates})
