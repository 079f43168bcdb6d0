"""How much each component counts: constants, and schedules over a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .components import check_names

Weight: TypeAlias = float | Callable[[float], float]
"""A number, or a schedule: progress of the run in [0, 1] -> number."""


@dataclass(frozen=True)
class Linear:
    """A weight that goes in a straight line from one value to another, and stays there.

    Args:
        start (`float`), end (`float`):
            The weight at the beginning and at the end.
        begin (`float`, *optional*, defaults to `0.0`), until (`float`, *optional*, defaults to `1.0`):
            Between which parts of the run it moves, in [0, 1].

    Example:

    ```python
    >>> from rlhf_ext.rewards.weights import Linear
    >>> brevity = Linear(0.0, 0.5, until=0.5)
    >>> brevity(0.0), brevity(0.25), brevity(0.9)
    (0.0, 0.25, 0.5)

    ```
    """

    start: float
    end: float
    begin: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.until <= 1:
            raise ValueError(f"0 <= begin < until <= 1 must hold, got begin={self.begin} and until={self.until}.")

    def __call__(self, progress: float) -> float:
        moved = min(max((progress - self.begin) / (self.until - self.begin), 0.0), 1.0)
        return self.start + moved * (self.end - self.start)


def complete_weights(
    weights: Mapping[str, Weight] | None, names: Sequence[str], constrained: set[str]
) -> dict[str, Weight]:
    """A weight for each component.

    Args:
        weights (`Mapping[str, Weight]` or `None`):
            As the user gave them. None: 1 for every component that no constraint is on.
        names (`Sequence[str]`):
            The components.
        constrained (`set[str]`):
            Those with a constraint, which may go without a weight: they then count through the constraint alone.

    Returns:
        `dict[str, Weight]`.

    Raises:
        ValueError: If a name is unknown or missing, a weight is no finite number, or all are 0.
    """
    if weights is None:
        complete: dict[str, Weight] = {name: float(name not in constrained) for name in names}
    else:
        check_names("weights", weights, names)
        missing = [name for name in names if name not in weights and name not in constrained]
        if missing:
            raise ValueError(
                f"`weights` says nothing about {', '.join(map(repr, missing))}: give 0.0 to leave it out."
            )
        complete = {name: weights.get(name, 0.0) for name in names}
    for progress in (0.0, 1.0):
        weights_at(complete, progress)
    return complete


def weights_at(weights: Mapping[str, Weight], progress: float) -> NDArray[np.float64]:
    """The weights at some point of a run.

    Args:
        weights (`Mapping[str, Weight]`):
            By component.
        progress (`float`):
            Part of the run that is done, in [0, 1].

    Returns:
        `NDArray` of shape `(K,)`.

    Raises:
        ValueError: If one is no finite number (it is named), or all are 0.
    """
    found = []
    for name, weight in weights.items():
        value: Any = weight(progress) if callable(weight) else weight
        if isinstance(value, bool | str) or not hasattr(value, "__float__") or not math.isfinite(value):
            raise ValueError(
                f"The weight of {name!r} is {value!r} at progress {progress:g}: it must be a finite number."
            )
        found.append(float(value))
    if not any(found):
        raise ValueError(
            f"All weights are 0 at progress {progress:g}, so that nothing would be rewarded: {list(weights)}. Components "
            "that have a constraint weigh 0 unless `weights` says otherwise."
        )
    return np.array(found)


def progress_of(trainer_state: Any) -> float:
    """The part of a run that is done, in [0, 1], by its `TrainerState`."""
    return min(trainer_state.global_step / trainer_state.max_steps, 1.0) if trainer_state.max_steps else 0.0
