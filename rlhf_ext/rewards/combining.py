"""Several scores a completion made one.

A combination is a function `(scores, weights, groups) -> rewards`: scores `(N, K)`, one column a component, NaN where it does
not apply; weights `(K,)`; groups `(N,)`, equal for completions of the same prompt. It gives `(N,)`, NaN where no component
with a weight applies. Where a component is missing, the weights of the others make up for it: they are scaled so that their
sizes add up to what all of them do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


def present_weights(scores: Array, weights: Array) -> Array:
    """Weights `(N, K)` of the components that apply to each row, 0 elsewhere, with the same total in every row."""
    present = np.where(np.isnan(scores), 0.0, weights)
    totals = np.abs(present).sum(axis=1, keepdims=True)
    return present * np.divide(np.abs(weights).sum(), totals, out=np.zeros_like(totals), where=totals > 0)


def _none_where_nothing_applies(rewards: Array, weights: Array) -> Array:
    return np.where(np.abs(weights).sum(axis=1) > 0, rewards, np.nan)


class WeightedSum:
    """`sum w_k r_k`."""

    by_group = False

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        present = present_weights(scores, weights)
        return _none_where_nothing_applies((present * np.nan_to_num(scores)).sum(axis=1), present)


class WeightedMean:
    """`sum w_k r_k / sum |w_k|`: the sum on the scale of a single score."""

    by_group = False

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        return WeightedSum()(scores, weights / np.abs(weights).sum(), groups)


class WorstCase:
    """`min_k r_k` over the components with a weight ([2310.02743](https://huggingface.co/papers/2310.02743)).

    It takes part or not: weights must be equal or 0. For components that are not an ensemble, normalise them first.
    """

    by_group = False

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        members = weights != 0
        if len(set(weights[members])) > 1 or (weights < 0).any():
            raise ValueError(
                f"The worst case has no weights: give all of them the same, or 0 to leave one out, got {weights.tolist()}."
            )
        worst = np.where(np.isnan(scores[:, members]), np.inf, scores[:, members]).min(axis=1)
        return np.where(np.isinf(worst), np.nan, worst)


class Product:
    """`prod_k p_k ** w_k` of probabilities: all must hold at once.

    Scores must be in [0, 1] by the time they come here. A probability, a share of tests passed or a judge's share of votes is
    so already; `transform="sigmoid"` makes one of a reward model's score: the probability, under Bradley-Terry, that the
    completion beats one at the centre. The transform `"log-sigmoid"` with a weighted sum is the logarithm of this product.
    """

    by_group = False

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        _refuse_negative(weights, "A product of probabilities")
        outside = ((scores < 0) | (scores > 1)) & (weights > 0)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise ValueError(
                f"A product needs probabilities, but the score of row {row}, component {column} is {scores[row, column]:g}. "
                'Give `transform="sigmoid"` to components whose scores are not in [0, 1].'
            )
        present = present_weights(scores, weights)
        powers = np.where(present > 0, np.nan_to_num(scores), 1.0) ** present
        return _none_where_nothing_applies(powers.prod(axis=1), present)


@dataclass(frozen=True)
class UncertaintyWeighted:
    """`mean - coefficient * variance` over components that estimate the same thing: an ensemble.

    Uncertainty-weighted optimisation ([2310.02743](https://huggingface.co/papers/2310.02743)): what members disagree about is
    worth less. Mean and (population) variance are weighted. The paper took 0.1 for PPO and 0.5 for best-of-n.

    Args:
        coefficient (`float`, *optional*, defaults to `0.1`):
            Reward units a squared reward unit, at least 0; it depends on the scale of the scores.
    """

    coefficient: float = 0.1
    by_group = False

    def __post_init__(self) -> None:
        if not self.coefficient >= 0:
            raise ValueError(f"`coefficient` must be at least 0, got {self.coefficient}.")

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        _refuse_negative(weights, "An uncertainty")
        present = present_weights(scores, weights)
        shares, filled = present / weights.sum(), np.nan_to_num(scores)
        mean = (shares * filled).sum(axis=1, keepdims=True)
        variance = (shares * (filled - mean) ** 2).sum(axis=1)
        return _none_where_nothing_applies(mean[:, 0] - self.coefficient * variance, present)


class GroupNormalizedSum:
    """Z-scores of each component among the completions of the same prompt, then the weighted sum.

    GDPO ([2601.05242](https://huggingface.co/papers/2601.05242)): combinations of rewards that a sum would make equal stay
    apart. With GRPOTrainer set `scale_rewards="batch"`, GDPO's second step; then it is what TRL's
    `multi_objective_aggregation="normalize_then_sum"` does with a list of reward functions. Deviations are sample deviations
    plus 1e-4, as there; a completion alone in its group scores 0.
    """

    by_group = True

    def __call__(self, scores: Array, weights: Array, groups: NDArray[Any]) -> Array:
        columns = [_grouped_z_scores(column, groups) for column in scores.T]
        return WeightedSum()(np.stack(columns, axis=1), weights, groups)


def _grouped_z_scores(scores: Array, groups: NDArray[Any]) -> Array:
    known, size = ~np.isnan(scores), int(groups.max(initial=0)) + 1

    def sums(values: Array) -> Any:
        return np.bincount(groups[known], weights=values[known], minlength=size)

    counts = sums(np.ones_like(scores))
    centred = scores - (sums(scores) / counts.clip(min=1))[groups]
    deviations = np.sqrt(sums(centred**2) / (counts - 1).clip(min=1))
    return centred / (deviations[groups] + 1e-4)


def _refuse_negative(weights: Array, what: str) -> None:
    if (weights < 0).any():
        raise ValueError(f"{what} takes no negative weights, got {weights.tolist()}.")


_COMBINATIONS: dict[str, Callable[[], Any]] = {
    "sum": WeightedSum,
    "mean": WeightedMean,
    "worst_case": WorstCase,
    "product": Product,
    "uncertainty_weighted": UncertaintyWeighted,
    "group": GroupNormalizedSum,
}


def make_combination(choice: Any, beside: Sequence[str] = ()) -> Any:
    """A combination by its short name.

    Args:
        choice (`str` or `Callable`):
            `"sum"`, `"mean"`, `"worst_case"`, `"product"`, `"uncertainty_weighted"`, `"group"`, or a function as described
            above. A function with `by_group = True` gets the groups of all processes.
        beside (`Sequence[str]`, *optional*):
            Names that the caller knows itself, for the error.

    Returns:
        `Callable`.

    Raises:
        ValueError: If there is no such combination.
    """
    if callable(choice):
        return choice
    if isinstance(choice, str) and choice in _COMBINATIONS:
        return _COMBINATIONS[choice]()
    names = ", ".join(map(repr, (*_COMBINATIONS, *beside)))
    raise ValueError(f"No combination {choice!r}: give {names}, or a function.")
