"""Batches without repetition: prompts far from one another, and none that are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import Places, check_count, top_k


def k_center(embeddings: Any, k: int, taken: Any = None, start: int = 0) -> Places:
    """Prompts that leave none of the pool far from a chosen one: greedily, each the one farthest from those before.

    The core-set of Sener and Savarese ([1708.00489](https://huggingface.co/papers/1708.00489)): at most twice the best
    possible radius. It goes for outliers; [`k_means_plus_plus`] less so. Time grows as P k d, memory as P.

    Args:
        embeddings (array of shape `(P, d)`):
            One a prompt.
        k (`int`):
            How many, in 1 ... P.
        taken (array of shape `(t, d)`, *optional*):
            Embeddings of what was asked before, from which the chosen should be far as well.
        start (`int`, *optional*, defaults to `0`):
            The first one, where nothing is taken: the best by utility, say.

    Returns:
        Integer array of shape `(k,)`, in the order in which they were chosen.

    Raises:
        ValueError: If a shape is wrong, a number is not finite, or `k` or `start` is out of range.

    Example:

    ```python
    >>> from rlhf_ext.active import k_center
    >>> k_center([[0.0], [0.1], [5.0], [9.0]], 3).tolist()
    [0, 3, 2]

    ```
    """
    points = check_embeddings(embeddings, k)
    if not 0 <= start < len(points):
        raise ValueError(f"`start` should be in 0 ... {len(points) - 1}, got {start}.")
    squares = _squares(points)
    nearest = _nearest(points, squares, taken)
    chosen = np.empty(k, dtype=np.int64)
    for place in range(k):
        chosen[place] = start if place == 0 and taken is None else int(nearest.argmax())
        nearest = np.minimum(nearest, _distances(points, squares, points[chosen[place]]))
        nearest[chosen[place]] = -1.0
    return chosen


def k_means_plus_plus(
    embeddings: Any, k: int, utilities: Any = None, taken: Any = None, seed: int | np.random.Generator = 0
) -> Places:
    """Prompts drawn one after another, by their squared distance to those before, times their utility.

    The seeding of k-means++ (Arthur and Vassilvitskii, 2007), as used for batches in BADGE
    ([1906.03671](https://huggingface.co/papers/1906.03671)). Time grows as P k d, memory as P.

    Args:
        embeddings, k, taken:
            As in [`k_center`].
        utilities (array of shape `(P,)`, *optional*):
            At least 0. All equal by default. Shift those of a function that goes below 0.
        seed (`int` or `numpy.random.Generator`, *optional*, defaults to `0`):
            Of the draws.

    Returns:
        Integer array of shape `(k,)`, in the order in which they were drawn. Where all that are left are at distance 0 or of
        utility 0, they are drawn evenly.

    Raises:
        ValueError: As in [`k_center`], or if a utility is negative or not finite.
    """
    points = check_embeddings(embeddings, k)
    weights = np.ones(len(points)) if utilities is None else np.asarray(utilities, dtype=np.float64)
    if weights.shape != (len(points),) or not (weights >= 0).all() or not np.isfinite(weights).all():
        raise ValueError(f"`utilities` should be {len(points)} finite numbers of at least 0.")
    rng = np.random.default_rng(seed)
    squares = _squares(points)
    nearest = _nearest(points, squares, taken)
    chosen, free = np.empty(k, dtype=np.int64), np.ones(len(points), dtype=bool)
    for place in range(k):
        mass = weights * nearest if place or taken is not None else weights.copy()
        mass[~free] = 0.0
        total = mass.sum()
        cumulative = np.cumsum(mass if total > 0 else free)
        chosen[place] = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
        free[chosen[place]] = False
        nearest = np.minimum(nearest, _distances(points, squares, points[chosen[place]]))
    return chosen


def deduplicate(embeddings: Any, max_similarity: float = 0.95, utilities: Any = None) -> Places:
    """Prompts no two of which are more alike than `max_similarity`; of those that are, the one of the higher utility stays.

    Time grows with P times the number that stay: for a shortlist, not for a pool of millions.

    Args:
        embeddings (array of shape `(P, d)`):
            One a prompt.
        max_similarity (`float`, *optional*, defaults to `0.95`):
            Largest cosine of two that stay, in [-1, 1].
        utilities (array of shape `(P,)`, *optional*):
            By default the earlier one stays.

    Returns:
        Integer array, best first (or in the order of the pool). What has no utility (`-inf`) is not among them.

    Raises:
        ValueError: If a shape is wrong, a number is not finite, or `max_similarity` is out of range.
    """
    points = check_embeddings(embeddings, 1)
    if not -1 <= max_similarity <= 1:
        raise ValueError(f"`max_similarity` should be in [-1, 1], got {max_similarity}.")
    order = np.arange(len(points)) if utilities is None else top_k(utilities, len(points))
    unit = points / np.maximum(np.sqrt(_squares(points))[:, None], 1e-12)
    kept: list[int] = []
    held = np.empty_like(unit[: min(len(unit), 256)])
    for place in order.tolist():
        if kept and float((held[: len(kept)] @ unit[place]).max()) > max_similarity:
            continue
        if len(kept) == len(held):
            held = np.concatenate([held, np.empty_like(held)])
        held[len(kept)] = unit[place]
        kept.append(place)
    return np.array(kept, dtype=np.int64)


def check_embeddings(embeddings: Any, k: int) -> NDArray[Any]:
    points = np.asarray(embeddings)
    points = points if points.dtype == np.float32 else points.astype(np.float64)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"`embeddings` should have the shape (prompts, dimensions), got {points.shape}.")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise ValueError(f"The embedding of prompt {bad[0]} is not finite.")
    check_count("k", k)
    if k > len(points):
        raise ValueError(f"`k` should be at most {len(points)}, the number of prompts, got {k}.")
    return points


def _squares(points: NDArray[Any]) -> NDArray[Any]:
    return np.einsum("pd,pd->p", points, points)


def _distances(points: NDArray[Any], squares: NDArray[Any], one: NDArray[Any]) -> NDArray[Any]:
    """Squared distances of all points from one."""
    return np.maximum(squares - 2 * (points @ one) + one @ one, 0.0)


def _nearest(points: NDArray[Any], squares: NDArray[Any], taken: Any) -> NDArray[Any]:
    """Squared distance of each point from the nearest that is taken."""
    nearest = np.full(len(points), np.inf)
    if taken is None:
        return nearest
    others = np.asarray(taken, dtype=points.dtype)
    if others.ndim != 2 or others.shape[1] != points.shape[1]:
        raise ValueError(f"`taken` should have the shape (any, {points.shape[1]}), got {others.shape}.")
    for one in others:
        nearest = np.minimum(nearest, _distances(points, squares, one))
    return nearest
