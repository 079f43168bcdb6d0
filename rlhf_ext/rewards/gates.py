"""Gates: a component that counts only in some rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .calling import Signed

Gate: TypeAlias = Callable[[dict[str, Any], dict[str, float | None]], bool]
"""`(row, scores) -> bool`: whether a component counts in a row, by its columns and the raw scores of all components.

The idea is ArmoRM's ([2406.12845](https://huggingface.co/papers/2406.12845)), whose weights depend on the prompt, by a rule in
place of a network.
"""


def close_gates(
    gates: Mapping[str, Gate],
    counted: NDArray[np.float64],
    scores: Mapping[str, Sequence[float | None]],
    columns: Mapping[str, Any],
) -> None:
    """Makes NaN the scores that do not count.

    Args:
        gates (`Mapping[str, Gate]`):
            By component.
        counted (`NDArray` of shape `(n, K)`):
            Scores in the order of `scores`; changed in place.
        scores (`Mapping[str, Sequence[float | None]]`):
            The scores of each component.
        columns (`Mapping[str, Any]`):
            What the rows hold; what is no list of `n` values is left out.

    Raises:
        TypeError: If a gate says neither True nor False (gate and row are named).
        Exception: Whatever a gate raises, with a note that names it.
    """
    if not gates:
        return
    order = list(scores)
    by_row = {key: value for key, value in columns.items() if _is_column(value, len(counted))}
    for i in range(len(counted)):
        row = {key: value[i] for key, value in by_row.items()}
        found = {name: column[i] for name, column in scores.items()}
        for name, gate in gates.items():
            with Signed(f"the gate of {name!r}", [row["prompt"]]):
                is_open = gate(row, found)
            if not isinstance(is_open, bool | np.bool_):
                raise TypeError(f"The gate of {name!r} gave {is_open!r} for row {i}: it must say True or False.")
            if not is_open:
                counted[i, order.index(name)] = np.nan


def _is_column(value: Any, rows: int) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == rows
