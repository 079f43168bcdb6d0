"""What [`RewardHackingCallback`] reads off texts and their scores, and how far it may go: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stats import Estimate, paired_difference

Floats = NDArray[np.float64]

_CONFIDENCE = 0.99

LIMITS: dict[str, float | None] = {
    "length": None,
    "kl": 20.0,
    "repetition": 0.1,
    "disagreement": 1.5,
    "gap": 0.5,
}
"""How far a signal may go before it is warned of, see [`RewardHackingCallback`]; None: it is only recorded."""


@dataclass(frozen=True)
class HackingWarning:
    """A signal beyond its limit: its name, value and limit, and the optimizer step at which it was seen."""

    signal: str
    value: float
    limit: float
    step: int

    def __str__(self) -> str:
        return (
            f"Step {self.step}: {_WORDS[self.signal]} ({self.signal}) is {self.value:.3g}, over its limit of "
            f"{self.limit:g}. The policy may be climbing an error of the reward: read its completions."
        )


_WORDS = {
    "length": "the mean length against that of the first rollouts",
    "kl": "the KL from the reference, in nats a completion,",
    "repetition": "the rise in repeated word triples",
    "disagreement": "the disagreement of the reward's members against that at the start",
    "gap": "the gain of the proxy that the held-back scorer does not see",
}


def rise(start: Floats, now: Floats) -> Estimate:
    """Mean change of a column since the start, paired by prompt; shapes `(P, S)` and `(P, 1)`."""
    return paired_difference(start.mean(axis=1), now.mean(axis=1), confidence=_CONFIDENCE)


def gap(start: tuple[Floats, Floats], now: tuple[Floats, Floats]) -> Estimate | None:
    """Gain that a held-back scorer ought to see, were the proxy's gain worth what it was at the start, and does not.

    Args:
        start (`tuple`):
            Scores of proxy and held-back scorer at the start, shape `(P, S)` each.
        now (`tuple`):
            The same now, shape `(P, 1)`.

    Returns:
        [`~rlhf_ext.stats.Estimate`]: mean over prompts of `r * gain of the proxy - gain of the held-back scorer`, each gain
        in the scorer's standard deviations at the start, `r` their correlation there (at least 0). None where one of them
        scores all texts of the start alike, or no prompt has both scores.
    """
    scored = [values.ravel() for values in start]
    both = ~np.isnan(scored[0] + scored[1])
    proxy, held = (values[both] for values in scored)
    if len(proxy) < 2 or not np.ptp(proxy) or not np.ptp(held):
        return None
    r = max(0.0, float(np.corrcoef(proxy, held)[0, 1]))
    gains = [
        (after.mean(axis=1) - before.mean(axis=1)) / values.std()
        for before, after, values in zip(start, now, (proxy, held), strict=True)
    ]
    if np.isnan(gains[0] + gains[1]).all():
        return None
    return paired_difference(gains[1], r * gains[0], confidence=_CONFIDENCE)


def disagreements(start: Floats, now: Floats) -> tuple[Floats, Floats]:
    """Deviation of an ensemble's members on each text, at the start and now, each member less its mean at the start.

    Args:
        start, now (arrays of shape `(P, S, K)` and `(P, 1, K)`):
            Scores of the members.

    Returns:
        `tuple`: arrays of shape `(P, S)` and `(P, 1)`, in reward units.
    """
    own = start.mean(axis=(0, 1))
    return (start - own).std(axis=-1, ddof=1), (now - own).std(axis=-1, ddof=1)


def checked_limits(given: Mapping[str, float | None] | None) -> dict[str, float | None]:
    """[`LIMITS`] with the user's over them.

    Raises:
        ValueError: If a name is unknown, or a limit is not positive.
    """
    limits = {**LIMITS, **(given or {})}
    for name, limit in limits.items():
        if name not in LIMITS:
            raise ValueError(f"There is no signal {name!r} to limit; there are {', '.join(LIMITS)}.")
        if limit is not None and not limit > 0:
            raise ValueError(f"The limit of {name!r} must be positive, or None for no warnings; got {limit}.")
    return limits
