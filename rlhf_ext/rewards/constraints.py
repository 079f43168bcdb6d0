"""Objectives that are not traded but kept: constraints on a component, with a learnt multiplier or a fixed penalty."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging

Array: TypeAlias = NDArray[np.float64]

logger = logging.get_logger(__name__)

_LEAP = math.log(10.0)
"""Step of a multiplier's logarithm from which on its learning rate cannot be meant for its score's scale."""
_PATIENCE = 8
"""Windows that a multiplier may be at its cap, in vain, before that is said."""


@dataclass(frozen=True)
class Constraint:
    """A component whose mean score must reach a threshold, or stay under one, while the rest is maximised.

    It is on the component's raw score, before any normalisation: `at_least=0.9` of a safety score in [0, 1] is that. The cost
    of a completion is what it lacks, `at_least - score` (or `score - at_most`), negative where it has more than enough.

    By default the multiplier is learnt, as Safe RLHF does ([2310.12773](https://huggingface.co/papers/2310.12773), equations
    30 and 31): each call of the mixer moves it by gradient ascent on its logarithm,
    `log l += learning_rate * l * mean(cost)`, with the mean over the last `window` completions of all processes, and the mixed
    reward is `(r - sum_k l_k cost_k) / (1 + sum_k l_k)`. The division keeps the scale of the reward while multipliers move.
    What holds in the end is the mean over completions, not each of them.

    Multiplier and policy chase each other. They settle where the policy is the faster of the two: keep the rate low, give a
    `delay` where the first rollouts cannot meet the constraint yet (the multiplier would climb meanwhile, and overshoot), and
    keep the policy's entropy up (`entropy_coef` of [`PPOConfig`]), since one that has become certain no longer follows.

    With `penalty=` nothing is learnt: `penalty * max(0, cost)` is taken off, completion by completion, which leaves those that
    meet the constraint alone (a rectified penalty, [2510.03520](https://huggingface.co/papers/2510.03520)). It is exact where
    the penalty is larger than what reward may be gained a unit of cost.

    Args:
        component (`str`):
            Name of the component.
        at_least (`float`, *optional*), at_most (`float`, *optional*):
            The threshold, in the component's units; exactly one of the two.
        penalty (`float`, *optional*):
            Reward units a unit of cost, above 0, in place of a multiplier.
        multiplier (`float`, *optional*, defaults to `1.0`):
            The multiplier at the start, above 0.
        learning_rate (`float`, *optional*, defaults to `0.1`):
            Of its logarithm. Steps go with cost, so scores with a small range want a larger one.
        cap (`float`, *optional*, defaults to `5.0`):
            Largest multiplier.
        window (`int`, *optional*, defaults to `128`):
            Completions that the mean cost is taken over.
        update_every (`int`, *optional*, defaults to `1`):
            Calls of the mixer (rollouts) from one update to the next. Slower multipliers swing less.
        delay (`int`, *optional*, defaults to `0`):
            Calls before the first update, while the policy learns to follow.

    Raises:
        ValueError: If one of these does not hold, or something is set that the kind of constraint does not read.

    Example:

    ```python
    >>> from rlhf_ext.rewards.constraints import Constraint
    >>> Constraint("safety", at_least=0.9).name
    'safety/at_least'
    >>> Constraint("length", at_most=200, penalty=0.01).cost(250.0)
    50.0

    ```
    """

    component: str
    _: KW_ONLY
    at_least: float | None = None
    at_most: float | None = None
    penalty: float | None = None
    multiplier: float = 1.0
    learning_rate: float = 0.1
    cap: float = 5.0
    window: int = 128
    update_every: int = 1
    delay: int = 0

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"The constraint on {self.component!r} needs one of `at_least` and `at_most`.")
        self._check("a whole number", _is_whole, "window", "update_every", "delay")
        self._check(
            "a finite number", _is_finite, "at_least", "at_most", "penalty", "multiplier", "learning_rate", "cap"
        )
        self._check(
            "above 0", lambda x: x > 0, "penalty", "multiplier", "learning_rate", "cap", "window", "update_every"
        )
        self._check("at least 0", lambda x: x >= 0, "delay")
        if self.multiplier > self.cap:
            raise ValueError(f"`multiplier` {self.multiplier} of {self.component!r} is above its `cap` {self.cap}.")
        if self.penalty is not None:
            self._refuse_what_a_penalty_does_not_read()

    def _check(self, wanted: str, holds: Callable[[Any], bool], *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ValueError(f"The constraint on {self.component!r} has {name}={value!r}: it must be {wanted}.")

    def _refuse_what_a_penalty_does_not_read(self) -> None:
        unread = ("multiplier", "learning_rate", "cap", "update_every", "delay")
        given = [
            field.name for field in fields(self) if field.name in unread and getattr(self, field.name) != field.default
        ]
        if given:
            raise ValueError(f"A fixed `penalty` on {self.component!r} has no use for {', '.join(given)}.")

    @property
    def name(self) -> str:
        """Under which it is logged and saved."""
        return f"{self.component}/{'at_most' if self.at_least is None else 'at_least'}"

    @property
    def kind(self) -> str:
        """`"lagrangian"` or `"penalty"`."""
        return "lagrangian" if self.penalty is None else "penalty"

    def cost(self, scores: Any) -> Any:
        """By how much scores miss the threshold; 0 or less where they meet it. NaN stays NaN."""
        return scores - self.at_most if self.at_least is None else self.at_least - scores


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_together(constraints: Sequence[Constraint]) -> None:
    """Refuses constraints that say the same, and those that no score can meet together.

    Raises:
        TypeError: If one is no [`Constraint`].
        ValueError: Naming them.
    """
    found: dict[str, Constraint] = {}
    for one in constraints:
        if not isinstance(one, Constraint):
            raise TypeError(f"`constraints` must be a list of Constraint, and one of them is {one!r}.")
        if one.name in found:
            names = [each.name for each in constraints]
            raise ValueError(f"Two constraints are the same but for their settings: {names}.")
        found[one.name] = one
    for one in found.values():
        other = found.get(f"{one.component}/at_most")
        if (
            one.at_least is not None
            and other is not None
            and other.at_most is not None
            and other.at_most < one.at_least
        ):
            raise ValueError(
                f"{one.component!r} cannot be at least {one.at_least:g} and at most {other.at_most:g}: no score meets both "
                "constraints."
            )


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
