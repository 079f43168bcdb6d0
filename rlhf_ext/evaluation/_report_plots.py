"""What a report draws or lays out: curves, intervals and matrices of estimates, and how they come back from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..stats import Estimate


@dataclass(frozen=True)
class Curve:
    """One line plot of what was logged.

    Args:
        title (`str`), x_label (`str`), y_label (`str`):
            Texts of the plot and its axes.
        series (`dict[str, list[tuple[float, float]]]`):
            Points (x, y) of each line by its name, at most 4 lines. Points that are not finite are skipped.

    Raises:
        ValueError: If there are more than 4 series.
    """

    title: str
    x_label: str
    y_label: str
    series: dict[str, list[tuple[float, float]]]

    def __post_init__(self) -> None:
        if len(self.series) > 4:
            raise ValueError(
                f"curve {self.title!r} has {len(self.series)} series; more than 4 cannot be told apart, so split it"
            )


@dataclass(frozen=True)
class Intervals:
    """A plot of estimates in one unit, each with its interval, one below the other.

    Args:
        title (`str`), x_label (`str`):
            Texts of the plot and its axis.
        estimates (`dict[str, Estimate]`):
            What is drawn, by name.
        reference (`float`, *optional*):
            Where a line stands to compare with: 0.5 for a coin, 0 for no change.
    """

    title: str
    x_label: str
    estimates: dict[str, Estimate]
    reference: float | None = None


@dataclass(frozen=True)
class Matrix:
    """A table of estimates by row and column, such as of each model against each other.

    Args:
        title (`str`):
            What a cell is.
        rows (`list[str]`), columns (`list[str]`):
            Names.
        cells (`list[list[Estimate | None]]`):
            One list a row; `None` where there is nothing.
        unit (`Literal["", "%"]`, *optional*, defaults to `""`):
            `"%"` shows rates as percentages.

    Raises:
        ValueError: If there is not a cell for each row and column.
    """

    title: str
    rows: list[str]
    columns: list[str]
    cells: list[list[Estimate | None]]
    unit: Literal["", "%"] = ""

    def __post_init__(self) -> None:
        if [len(row) for row in self.cells] != [len(self.columns)] * len(self.rows):
            raise ValueError(
                f"matrix {self.title!r} needs {len(self.rows)} rows of {len(self.columns)} cells, got {[len(r) for r in self.cells]}"
            )


def as_pair(values: Sequence[float | None]) -> tuple[float, float]:
    """Two numbers; what JSON has as null is NaN again."""
    first, second = (math.nan if value is None else float(value) for value in values)
    return first, second


def plot_from(fields: Mapping[str, Any]) -> Curve | Intervals:
    """A plot out of its fields."""
    if "series" in fields:
        return Curve(**{**fields, "series": {k: [as_pair(p) for p in v] for k, v in fields["series"].items()}})
    return Intervals(**{**fields, "estimates": {k: Estimate.from_dict(e) for k, e in fields["estimates"].items()}})


def matrix_from(fields: Mapping[str, Any]) -> Matrix:
    """A matrix out of its fields."""
    cells = [[cell and Estimate.from_dict(cell) for cell in row] for row in fields["cells"]]
    return Matrix(**{**fields, "cells": cells})
