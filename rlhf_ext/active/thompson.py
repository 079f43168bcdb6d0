"""What to ask about, by what could be best or worst: optimistic bounds and draws from an ensemble.

Members stand for draws from the posterior over rewards. Scores are read relative to the mean of a prompt's responses,
member by member: what a member adds to all of them is left open by Bradley-Terry and cannot be learnt from comparisons.
In the papers each prompt is asked about, and only the pair is chosen. Here prompts are chosen as well, by the utility.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Acquisition, Floats, best_pairs, blocks, check_scores


def delta_ucb(scores: Any, present: Any = None, beta: float = 1.0) -> Acquisition:
    """The pair with the largest gap that the ensemble still holds possible: argmax over i, j of UB_i - LB_j.

    Bounds are the mean over members plus and less `beta` standard deviations (ActiveUltraFeedback,
    [2603.09692](https://huggingface.co/papers/2603.09692)).

    Args:
        scores (array of shape `(P, n, m)`):
            Rewards by at least two members, finite.
        present (boolean array of shape `(P, n)`, *optional*):
            Which responses there are; all by default.
        beta (`float`, *optional*, defaults to `1.0`):
            Width of the bounds, at least 0; with 0 it is [`max_min`].

    Returns:
        [`Acquisition`]: utilities are optimistic gaps in reward units.

    Raises:
        ValueError: If a shape is wrong, a score is not finite, a prompt has fewer than two responses, there is one member
            only, or `beta` is negative.

    Example:

    ```python
    >>> from rlhf_ext.active import delta_ucb
    >>> delta_ucb([[[1.0, 1.0], [0.0, 0.0], [4.0, -4.0]]]).pairs.tolist()
    [[0, 2]]

    ```
    """
    if not 0 <= beta < np.inf:
        raise ValueError(f"`beta` should be a number of at least 0, got {beta}.")
    values, mask = check_scores(scores, present, "delta_ucb")

    def gap(one: Floats, other: Floats) -> Floats:
        means = one.mean(axis=1) - other.mean(axis=1)
        return np.abs(means) + beta * (one.std(axis=1) + other.std(axis=1))

    return _by_block(values, mask, lambda centred, there: best_pairs(centred, there, gap))


def max_min(scores: Any, present: Any = None) -> Acquisition:
    """The response with the highest mean score and the one with the lowest, of the prompts where they are farthest apart.

    Called MaxMin in [2603.09692](https://huggingface.co/papers/2603.09692), where the scores are the annotator's own and it
    is a yardstick; here they are predictions. It gives clear labels, which is not the same as new ones.

    Args:
        scores (array of shape `(P, n, m)` or `(P, n)`), present:
            As in [`delta_ucb`]; one model is enough.

    Returns:
        [`Acquisition`]: utilities are gaps in reward units, at least 0.

    Raises:
        ValueError: If a shape is wrong, a score is not finite, or a prompt has fewer than two responses.
    """
    values, mask = check_scores(scores, present)
    return best_pairs(values, mask, lambda one, other: np.abs((one - other).mean(axis=1)))


def double_thompson(scores: Any, present: Any = None, seed: int | np.random.Generator = 0) -> Acquisition:
    """Two responses that could each be the best: the best by one member drawn at random, and by another that prefers another.

    Double Thompson sampling (Wu and Liu, [1604.07101](https://huggingface.co/papers/1604.07101); for language models
    [2402.00396](https://huggingface.co/papers/2402.00396)). There a second member is drawn again until its best response
    differs; here it is drawn at once from the members of which that is so, which is the same but for the limit on tries. Where
    all members agree on the best, the second response is any other, and the utility 0.

    Args:
        scores (array of shape `(P, n, m)`), present:
            As in [`delta_ucb`].
        seed (`int` or `numpy.random.Generator`, *optional*, defaults to `0`):
            Of the draws. With one generator, a pool cut into blocks gives what it gives whole.

    Returns:
        [`Acquisition`]: utilities say by how much the two members disagree on the difference of the pair, in reward units; at
        least 0.

    Raises:
        ValueError: As in [`delta_ucb`].

    Example:

    ```python
    >>> from rlhf_ext.active import double_thompson
    >>> double_thompson([[[3.0, 0.0], [0.0, 3.0], [-1.0, -1.0]]])  # two members, who prefer the first and the second
    Acquisition(utilities=array([6.]), pairs=array([[0, 1]]))

    ```
    """
    values, mask = check_scores(scores, present, "double_thompson")
    rng = np.random.default_rng(seed)

    def draw(centred: Floats, there: NDArray[np.bool_]) -> Acquisition:
        best = np.where(there[:, :, None], centred, -np.inf).argmax(axis=1)
        first, second, one, other = _two(best, best, there, rng.random((len(best), 3)))
        gap = _at(centred, first, one) - _at(centred, second, one)
        return _ordered(gap - (_at(centred, first, other) - _at(centred, second, other)), first, second)

    return _by_block(values, mask, draw)


def reversed_double_thompson(scores: Any, present: Any = None, seed: int | np.random.Generator = 0) -> Acquisition:
    """A response that could be the best and one that could be the worst: each by a member drawn at random.

    Double reversed Thompson sampling of ActiveUltraFeedback ([2603.09692](https://huggingface.co/papers/2603.09692)): the
    drawn counterpart of [`delta_ucb`].

    Args:
        scores (array of shape `(P, n, m)`), present, seed:
            As in [`double_thompson`].

    Returns:
        [`Acquisition`]: utilities are the gaps between the two draws, in reward units.

    Raises:
        ValueError: As in [`delta_ucb`].
    """
    values, mask = check_scores(scores, present, "reversed_double_thompson")
    rng = np.random.default_rng(seed)

    def draw(centred: Floats, there: NDArray[np.bool_]) -> Acquisition:
        best = np.where(there[:, :, None], centred, -np.inf).argmax(axis=1)
        worst = np.where(there[:, :, None], centred, np.inf).argmin(axis=1)
        first, second, one, other = _two(best, worst, there, rng.random((len(best), 3)))
        return _ordered(_at(centred, first, one) - _at(centred, second, other), first, second)

    return _by_block(values, mask, draw)


def _by_block(scores: Floats, mask: NDArray[np.bool_], acquire: Any) -> Acquisition:
    """Acquires block by block, from scores less the mean of the prompt's responses by the same member."""
    found = []
    for rows in blocks(len(scores)):
        there = mask[rows]
        held = np.where(there[:, :, None], scores[rows], 0.0)
        centred = held - held.sum(axis=1, keepdims=True) / there.sum(axis=1)[:, None, None]
        found.append(acquire(centred, there))
    return Acquisition(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _two(
    firsts: NDArray[np.int64], seconds: NDArray[np.int64], there: NDArray[np.bool_], drawn: Floats
) -> tuple[NDArray[np.int64], ...]:
    """A response by one member, another by another member, and the two members; by three numbers drawn from [0, 1).

    `firsts` and `seconds`, shape `(b, m)`, are the members' choices. Where no member's second choice differs from the first
    one drawn, the second is any other response that is there, and stands for the same member.
    """
    rows = np.arange(len(firsts))
    one = np.floor(drawn[:, 0] * firsts.shape[1]).astype(np.int64)
    first = firsts[rows, one]
    differs = seconds != first[:, None]
    other = _kth_true(differs, drawn[:, 1])
    others = there.copy()
    others[rows, first] = False
    agreed = ~differs.any(axis=1)
    second = np.where(agreed, _kth_true(others, drawn[:, 2]), seconds[rows, other])
    return first, second, one, np.where(agreed, one, other)


def _kth_true(mask: NDArray[np.bool_], drawn: Floats) -> NDArray[np.int64]:
    """A place that is true in each row, by a number drawn from [0, 1); 0 where there is none."""
    wanted = np.floor(drawn * mask.sum(axis=1)).astype(np.int64)
    return ((np.cumsum(mask, axis=1) == wanted[:, None] + 1) & mask).argmax(axis=1)


def _at(scores: Floats, responses: NDArray[np.int64], members: NDArray[np.int64]) -> Floats:
    return scores[np.arange(len(scores)), responses, members]


def _ordered(utilities: Floats, first: NDArray[np.int64], second: NDArray[np.int64]) -> Acquisition:
    return Acquisition(utilities, np.sort(np.stack([first, second], axis=1), axis=1))
