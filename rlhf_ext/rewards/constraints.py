"""Objectives that are not traded but kept: constraints on a component, with a learnt multiplier or a fixed penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from numbers import Integral, Real
from typing import Any


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
