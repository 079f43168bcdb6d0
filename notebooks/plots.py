"""The notebooks' plots: one style, colours for colour-blind readers (Okabe and Ito), and intervals always drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from rlhf_ext.stats import Estimate, bootstrap_mean

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"


def style() -> None:
    """Plain axes with a light grid, 100 dots an inch."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "figure.figsize": (8.5, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.axisbelow": True,
            "legend.frameon": False,
        }
    )


def curve(ax: Any, x: Sequence[float], runs: Any, label: str, colour: str, **line: Any) -> None:
    """Mean over runs (of shape `(runs, len(x))`), and its 95 % bootstrap interval as a band."""
    found = [bootstrap_mean(column) for column in np.asarray(runs, dtype=float).T]
    ax.plot(x, [one.value for one in found], label=label, color=colour, **line)
    ax.fill_between(x, [one.low for one in found], [one.high for one in found], color=colour, alpha=0.18, lw=0)


def intervals(
    ax: Any, found: Mapping[str, Estimate], label: str, colour: str, offset: float = 0.0, marker: str = "o"
) -> None:
    """One line for each name, the first on top: the value, and its interval as a whisker."""
    places = -np.arange(len(found)) + offset
    values = np.array([one.value for one in found.values()])
    ends = np.array([[one.low, one.high] for one in found.values()])
    around = np.abs(ends - values[:, None]).T
    ax.errorbar(values, places, xerr=around, fmt=marker, color=colour, label=label, capsize=3, markersize=5)
    ax.set_yticks(-np.arange(len(found)), list(found))
    ax.grid(axis="y", visible=False)
