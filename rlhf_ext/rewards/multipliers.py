"""Constraints in a run: their multipliers, what they take off the reward, and what is said where they cannot work."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging

from .constraints import Constraint

Array: TypeAlias = NDArray[np.float64]

logger = logging.get_logger(__name__)

_LEAP = math.log(10.0)
"""Step of a multiplier's logarithm from which on its learning rate cannot be meant for its score's scale."""
_PATIENCE = 8
"""Windows that a multiplier may be at its cap, in vain, before that is said."""


class ConstraintState:
    """A constraint in a run: its multiplier, and the costs it was learnt from.

    Args:
        constraint ([`Constraint`]):
            What is to hold.
    """

    def __init__(self, constraint: Constraint):
        self.constraint = constraint
        self.log_multiplier = math.log(constraint.multiplier)
        self.costs: deque[float] = deque(maxlen=constraint.window)
        self.calls = 0
        self._at_cap = 0  # completions in a row whose window missed on average, with the multiplier at its cap
        self._told: set[str] = set()

    @property
    def multiplier(self) -> float:
        """The multiplier as it is now, in (0, cap]; the penalty where that is fixed."""
        if self.constraint.penalty is not None:
            return self.constraint.penalty
        return min(math.exp(self.log_multiplier), self.constraint.cap)

    @property
    def mean_cost(self) -> float:
        """Of the window; NaN before there is any."""
        return math.fsum(self.costs) / len(self.costs) if self.costs else math.nan

    @property
    def unmet(self) -> bool:
        """Whether no completion of a whole window has met it, with nothing left to raise."""
        full = len(self.costs) == self.constraint.window
        spent = self.constraint.penalty is not None or self.log_multiplier >= math.log(self.constraint.cap)
        return full and spent and min(self.costs) > 0

    def observe(self, costs: Array) -> None:
        """Takes in the costs of a rollout, and moves the multiplier when that is due.

        Args:
            costs (`NDArray` of shape `(N,)`):
                Of the completions of all processes; NaN where the constraint does not apply.
        """
        new = costs[~np.isnan(costs)].tolist()
        self.costs.extend(new)
        self.calls += 1
        one = self.constraint
        due = self.calls > one.delay and (self.calls - one.delay) % one.update_every == 0
        if one.penalty is None and due and self.costs:
            self._move()
        missed_at_cap = one.penalty is None and self.multiplier >= one.cap and self.mean_cost > 0
        self._at_cap = self._at_cap + len(new) if missed_at_cap else 0
        self._say_what_cannot_work()

    def _move(self) -> None:
        one = self.constraint
        step = one.learning_rate * self.multiplier * self.mean_cost
        before, self.log_multiplier = self.log_multiplier, min(self.log_multiplier + step, math.log(one.cap))
        if abs(self.log_multiplier - before) > _LEAP:
            self._say(
                "leap",
                f"One update moved the multiplier of the constraint {self.describe()} more than tenfold, for the mean of the "
                f"score is {abs(self.mean_cost):.3g} off. It will swing between 0 and its cap, and from near 0 it does not come "
                f"back: give a `learning_rate` of about {one.learning_rate * 0.1 / abs(step):.1g} in place of "
                f"{one.learning_rate:g}, or a score in [0, 1].",
            )

    def _say_what_cannot_work(self) -> None:
        one = self.constraint
        if self.unmet:
            self._say(
                "unmet",
                f"None of the last {one.window} completions has met the constraint {self.describe()}; the nearest missed it "
                f"by {min(self.costs):.3g}. Its {'penalty' if one.penalty else 'multiplier, at its cap,'} is "
                f"{self.multiplier:g}. Check that it can be met at all, and the scale of the score.",
            )
        elif self._at_cap >= _PATIENCE * one.window and "unmet" not in self._told:
            self._say(
                "cap",
                f"The last {self._at_cap} completions missed the constraint {self.describe()} on average, now by "
                f"{self.mean_cost:.3g}, with its multiplier at its cap of {one.cap:g}: what the others gain weighs more. Raise "
                "`cap`, or bring the others to a scale near 1 (`normalize`).",
            )

    def _say(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning(message)

    def describe(self) -> str:
        """In words, for messages."""
        one = self.constraint
        return (
            f"{one.component!r} {f'at most {one.at_most:g}' if one.at_least is None else f'at least {one.at_least:g}'}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"log_multiplier": self.log_multiplier, "costs": list(self.costs), "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what [`state_dict`] gave; of another window, the latest costs that fit."""
        self.log_multiplier = min(state["log_multiplier"], math.log(self.constraint.cap))
        self.costs.clear()
        self.costs.extend(state["costs"])
        self.calls = state["calls"]


def constrained(rewards: Array, costs: Array, constraints: Sequence[ConstraintState]) -> Array:
    """Rewards with what constraints take off.

    A Lagrangian is a sum: a term that does not apply to a row is left out of it, and the division, which is about the scale
    of the whole batch, is the same for all rows. So a completion that only a constraint speaks of is still taught by it.

    Args:
        rewards (`NDArray` of shape `(N,)`):
            The combined objectives; NaN where none applies.
        costs (`NDArray` of shape `(N, C)`):
            Costs by constraint; NaN where it does not apply.
        constraints (`Sequence[ConstraintState]`):
            The `C` constraints.

    Returns:
        `NDArray` of shape `(N,)`: NaN where nothing applies.
    """
    if not constraints:
        return rewards
    fixed = np.array([state.constraint.penalty is not None for state in constraints])
    multipliers = np.array([state.multiplier for state in constraints])
    taken = np.where(fixed, np.maximum(costs, 0.0), costs) * multipliers
    mixed = (np.nan_to_num(rewards) - np.nansum(taken, axis=1)) / (1.0 + multipliers[~fixed].sum())
    return np.where(np.isnan(rewards) & np.isnan(costs).all(axis=1), np.nan, mixed)


def say_if_unscored(
    constraints: Iterable[ConstraintState], scores: Mapping[str, Sequence[float | None]], told: set[str]
) -> set[str]:
    """Warns of components with a constraint that scored nothing at all, but for those that it `told` of; gives the new ones.

    A constraint that nothing is known of holds nothing, and looks in the logs as if it were met.
    """
    held = {one.constraint.component for one in constraints} - told
    unscored = {name for name in held if scores[name] and all(score is None for score in scores[name])}
    for name in sorted(unscored):
        logger.warning(
            f"The component {name!r} gave None for all {len(scores[name])} completions: where that goes on, the constraint on "
            "it keeps nothing. Does it read a column that the data lacks?"
        )
    return unscored
