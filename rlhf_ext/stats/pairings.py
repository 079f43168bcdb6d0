"""Who was compared with whom, as tables of wins, and whether that joins them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class NotConnected(ValueError):
    """Models that no chain of comparisons joins: nothing says which of them is stronger."""


class Pairings:
    """Comparisons as numbers: the models in the order of their names, and what each row adds to the table of wins.

    Args:
        first, second (`list[str]`):
            The two models of each row.
        wins (array of shape `(n,)`):
            p(the first is better), in [0, 1].
        rows (`list[int]`):
            The caller's numbers of the rows, for messages.

    Raises:
        ValueError: If a model is compared with itself.
        NotConnected: If the models fall apart into groups that were never compared.
    """

    def __init__(self, first: Sequence[str], second: Sequence[str], wins: Floats, rows: Sequence[int]):
        for row, a, b in zip(rows, first, second, strict=True):
            if a == b:
                raise ValueError(
                    f"row {row} compares {a!r} with itself, which says nothing of its strength: leave it out"
                )
        self.models = sorted({*first, *second})
        number = {name: place for place, name in enumerate(self.models)}
        size = len(self.models)
        one, two = (np.array([number[name] for name in side]) for side in (first, second))
        self._cells = np.concatenate([one * size + two, two * size + one])
        self._shares = np.concatenate([wins, 1 - wins])
        _check_joined(self.counts(np.ones((1, len(wins))))[0], self.models)

    def counts(self, weights: Floats) -> Floats:
        """Tables of shape `(tables, models, models)`: what the row's model took from the column's, for each row of weights."""
        size = len(self.models)
        tables = np.empty((len(weights), size, size))
        for table, weight in zip(tables, weights, strict=True):
            values = np.concatenate([weight, weight]) * self._shares
            table[:] = np.bincount(self._cells, values, minlength=size * size).reshape(size, size)
        return tables


def reachable(joined: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the models a chain leads to from which; every model reaches itself. Of one table, or of each of many."""
    size = joined.shape[-1]
    found = joined | np.eye(size, dtype=bool)
    for middle in range(size):
        found = found | (found[..., :, middle, None] & found[..., None, middle, :])
    return found


def _check_joined(counts: Floats, models: Sequence[str]) -> None:
    together = reachable((counts + counts.T) > 0)
    if together.all():
        return
    groups = {tuple(name for name, one in zip(models, row, strict=True) if one) for row in together}
    said = " and ".join(f"({', '.join(group)})" for group in sorted(groups))
    raise NotConnected(
        f"the models fall apart into groups that were never compared with one another, {said}: nothing says which group is "
        "stronger. Compare some across, or rank each group on its own."
    )
