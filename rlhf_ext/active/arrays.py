"""The arrays that acquisition functions read and give, checked; and pairs gone through a block of prompts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

BLOCK = 4096
"""Prompts worked on at a time: what is needed beside the arrays themselves stays small, however many there are."""


class Acquisition(NamedTuple):
    """What an acquisition function says about `P` prompts.

    Args:
        utilities (array of shape `(P,)`):
            How much is to be learnt from asking about each prompt; higher is better, the unit is that of the function.
            `-inf` means that it is not to be asked about.
        pairs (integer array of shape `(P, 2)`):
            Places of the two responses to ask about, the lower first: their order says nothing about which is better.
    """

    utilities: Floats
    pairs: NDArray[np.int64]


def check_scores(scores: Any, present: Any = None, who: str | None = None) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores as an array of shape `(P, n, m)`, and which responses there are.

    Args:
        scores (array of shape `(P, n, m)` or `(P, n)`):
            Scores of n responses a prompt by m ensemble members; `(P, n)` is one member.
        present (boolean array of shape `(P, n)`, *optional*):
            False where a prompt has fewer than n responses; what `scores` hold there is not read. All by default.
        who (`str`, *optional*):
            The function that needs at least two members, if it does.

    Raises:
        ValueError: If a shape is wrong, a score that is read is not finite (prompt, response and member are named), a prompt
            has fewer than two responses, or there are too few members.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 2:
        scores = scores[:, :, None]
    if scores.ndim != 3 or 0 in scores.shape:
        raise ValueError(
            "`scores` should have the shape (prompts, responses, members), or (prompts, responses) for one model, all at "
            f"least 1; got {scores.shape}."
        )
    if who is not None and scores.shape[2] < 2:
        raise ValueError(
            f"{who} reads how members of an ensemble differ, and needs at least two; got the scores of one model. With one "
            "model use margin, label_entropy, max_min or d_optimal (with features)."
        )
    mask = check_present(present, scores.shape[:2])
    check_finite(scores, mask, "scores", ("prompt", "response", "member"))
    return scores, mask


def check_present(present: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which responses there are, shape `(P, n)`, at least two a prompt."""
    mask = np.ones(shape, dtype=bool) if present is None else np.asarray(present, dtype=bool)
    if mask.shape != tuple(shape):
        raise ValueError(f"`present` should have the shape (prompts, responses) = {tuple(shape)}, got {mask.shape}.")
    counts = mask.sum(axis=1)
    few = np.flatnonzero(counts < 2)
    if len(few):
        raise ValueError(
            f"Prompt {few[0]} has {counts[few[0]]} responses to choose from; a comparison needs two that differ. Leave "
            f"such prompts out ({len(few)} of {len(counts)} are)."
        )
    return mask


def check_finite(values: NDArray[Any], mask: NDArray[np.bool_], name: str, axes: tuple[str, ...]) -> None:
    """Refuses what is not finite where a response is there, and says where."""
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        bad = ~np.isfinite(block)
        bad &= mask[start : start + BLOCK].reshape(mask[start : start + BLOCK].shape + (1,) * (values.ndim - 2))
        if bad.any():
            place = np.argwhere(bad)[0]
            where = ", ".join(
                f"{axis} {index + (start if axis == 'prompt' else 0)}"
                for axis, index in zip(axes, place.tolist(), strict=True)
            )
            raise ValueError(
                f"`{name}` has {block[tuple(place)]} at {where}: they must be finite. Where there is no such response, say so "
                "with `present`."
            )


def check_positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"`{name}` should be a positive number, got {value}.")


def check_finite_number(name: str, value: Any) -> None:
    """Refuses what is neither None nor a finite number: nothing is below NaN, so that it would be no limit."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if value is not None and not (number and np.isfinite(value)):
        raise ValueError(f"`{name}` should be a finite number, got {value!r}.")


def blocks(count: int) -> Iterator[slice]:
    """Slices of up to `BLOCK` prompts."""
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def best_pairs(scores: Floats, present: NDArray[np.bool_], utility: Callable[[Floats, Floats], Floats]) -> Acquisition:
    """For each prompt the pair of the highest utility; of equal ones the first.

    Args:
        scores, present:
            As [`check_scores`] gives them.
        utility (`Callable`):
            Utilities of shape `(b,)` of pairs, given the members' scores of their first and of their second responses, shape
            `(b, m)` each.
    """
    utilities = np.full(len(scores), -np.inf)
    pairs = np.zeros((len(scores), 2), dtype=np.int64)
    for rows in blocks(len(scores)):
        best, where = utilities[rows], pairs[rows]  # views
        for first, second in combinations(range(scores.shape[1]), 2):
            there = present[rows, first] & present[rows, second]
            found = np.full(len(best), -np.inf)
            found[there] = utility(scores[rows, first][there], scores[rows, second][there])
            better = found > best
            best[better] = found[better]
            where[better] = first, second
    return Acquisition(utilities, pairs)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))
