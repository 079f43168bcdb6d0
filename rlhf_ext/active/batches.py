"""From utilities to a batch: the best, those over a threshold, a share for each category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats

Places = NDArray[np.int64]
"""Places in the pool, shape `(k,)`."""


def top_k(utilities: Any, k: int, seed: int | np.random.Generator = 0) -> Places:
    """The k prompts of the highest utility, best first; equal ones in random order, so that the pool's order does not count.

    Args:
        utilities (array of shape `(P,)`):
            `-inf` is never chosen.
        k (`int`):
            How many, at least 1. Where fewer may be chosen, all of them are.
        seed (`int` or `numpy.random.Generator`, *optional*, defaults to `0`):
            Decides between equal ones.

    Returns:
        Integer array of shape `(min(k, P),)`.

    Raises:
        ValueError: If `k` is below 1, the shape is wrong, or a utility is NaN or `inf`.

    Example:

    ```python
    >>> from rlhf_ext.active import top_k
    >>> top_k([0.1, 0.9, float("-inf"), 0.4], 3).tolist()
    [1, 3, 0]

    ```
    """
    values = check_utilities(utilities)
    check_count("k", k)
    shuffled = np.random.default_rng(seed).permutation(len(values))
    # Stable after the shuffle: equal ones stay in its order.
    order = shuffled[np.argsort(-values[shuffled], kind="stable")]
    return order[: min(k, int((values > -np.inf).sum()))]


def over_threshold(utilities: Any, threshold: float, k: int | None = None, seed: int = 0) -> Places:
    """Prompts whose utility is at least `threshold`, best first; of more than `k`, the k best.

    Args, errors: as in [`top_k`]; `ValueError` as well if `threshold` is NaN.

    Returns:
        Integer array, empty where there is none.
    """
    values = check_utilities(utilities)
    if np.isnan(threshold):
        raise ValueError("`threshold` is NaN.")
    return top_k(np.where(values >= threshold, values, -np.inf), len(values) if k is None else k, seed)


def quota_counts(quotas: Mapping[Any, float], k: int) -> dict[Any, int]:
    """Places for each category, from shares of k that sum to at most 1; by largest remainders.

    Args:
        quotas (`Mapping[Any, float]`):
            Share of each category, above 0. What is left over is for all others.
        k (`int`):
            Places in all.

    Returns:
        `dict[Any, int]`: places by category; None stands for all others.

    Raises:
        ValueError: If a share is not in (0, 1], or they sum to more than 1.

    Example:

    ```python
    >>> from rlhf_ext.active import quota_counts
    >>> quota_counts({"code": 0.5, "math": 0.25}, 10)
    {'code': 5, 'math': 3, None: 2}

    ```
    """
    check_count("k", k)
    for name, share in quotas.items():
        if not 0 < share <= 1:
            raise ValueError(f"The quota of {name!r} should be a share in (0, 1], got {share}.")
    rest = 1 - sum(quotas.values())
    if rest < -1e-9:
        raise ValueError(f"Quotas should sum to at most 1, got {1 - rest:g}.")
    exact = {name: share * k for name, share in {**quotas, None: max(rest, 0.0)}.items()}
    counts = {name: int(value + 1e-9) for name, value in exact.items()}
    short = k - sum(counts.values())
    for name in sorted(exact, key=lambda name: round(counts[name] - exact[name], 9))[
        :short
    ]:  # stable: of equal ones the first
        counts[name] += 1
    return counts


def with_quotas(
    utilities: Any, categories: Sequence[Any], k: int, quotas: Mapping[Any, float], seed: int | np.random.Generator = 0
) -> Places:
    """The best of each category, as many as its quota; places that a category cannot fill go to the best of the rest.

    Args:
        utilities, k, seed:
            As in [`top_k`].
        categories (`Sequence` of length `P`):
            The category of each prompt.
        quotas:
            As in [`quota_counts`].

    Returns:
        Integer array of shape `(min(k, P),)`, by category in the order of `quotas`, then all others.

    Raises:
        ValueError: As in [`top_k`] and [`quota_counts`], or if the lengths differ.
    """
    values = check_utilities(utilities)
    if len(categories) != len(values):
        raise ValueError(f"{len(categories)} categories for {len(values)} prompts.")
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for name, count in quota_counts(quotas, k).items():
        mine = np.array([(c == name) if name is not None else (c not in quotas) for c in categories], dtype=bool)
        if count and mine.any():
            chosen += top_k(np.where(mine, values, -np.inf), count, rng).tolist()
    if len(chosen) < k:
        values = values.copy()
        values[chosen] = -np.inf
        chosen += top_k(values, k - len(chosen), rng).tolist()
    return np.array(chosen, dtype=np.int64)


def check_utilities(utilities: Any) -> Floats:
    values = np.asarray(utilities, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"`utilities` should be one a prompt, of at least one prompt; got the shape {values.shape}.")
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(bad):
        raise ValueError(f"The utility of prompt {bad[0]} is {values[bad[0]]}; it should be a number, or -inf.")
    return values


def check_count(name: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"`{name}` should be a whole number of at least 1, got {count!r}.")
