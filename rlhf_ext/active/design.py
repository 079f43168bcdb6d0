"""D-optimal design: pairs that together pin down the last layer of a reward model."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import (
    Acquisition,
    Floats,
    blocks,
    check_finite,
    check_positive,
    check_present,
    check_scores,
    sigmoid,
)
from .greedy import LazyGreedy, pair_lengths


class Design:
    """What comparisons so far tell about the last layer of a reward model, and what others would add.

    Where reward is a linear function of features, one comparison adds p (1 - p) x x^T to the information about its weights
    (Bradley-Terry's Fisher information), with x the difference of the two responses' features and p = sigmoid(difference of their
    scores). The design takes the pairs for which the determinant of all information is largest: pairs that are neither
    foregone nor alike, nor like what was asked before (Shen et al.,
    [2502.04354](https://huggingface.co/papers/2502.04354), past-aware D-optimal).

    Args:
        dimensions (`int`):
            Of the features.
        ridge (`float`, *optional*, defaults to `1.0`):
            Information at the start: the inverse of the weights' prior variance. See [`ridge_of`].
        temperature (`float`, *optional*, defaults to `1.0`):
            p = sigmoid(difference / temperature), in reward units; above 0.

    Attributes:
        covariance (array of shape `(d, d)`):
            Inverse of the information so far.

    Raises:
        ValueError: If an argument is not positive.

    Example:

    ```python
    >>> import numpy as np
    >>> from rlhf_ext.active import Design
    >>> features = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.9, 0.0], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]]])
    >>> chosen, _ = Design(dimensions=2, ridge=0.1).choose(features, 2)
    >>> chosen.tolist()  # the second is longer than the third, and tells what the first did
    [0, 2]

    ```
    """

    def __init__(self, dimensions: int, ridge: float = 1.0, temperature: float = 1.0):
        if dimensions < 1:
            raise ValueError(f"`dimensions` should be at least 1, got {dimensions}.")
        check_positive("ridge", ridge)
        check_positive("temperature", temperature)
        self.covariance: NDArray[Any] = np.eye(dimensions) / ridge
        self.temperature = temperature

    def add(self, differences: Any, scores: Any = None) -> Design:
        """Takes in pairs that were asked about.

        Args:
            differences (array of shape `(k, d)`):
                First response's features less the second's.
            scores (array of shape `(k,)`, *optional*):
                Difference of their scores; without, p is taken as 1/2.

        Returns:
            [`Design`]: itself.

        Raises:
            ValueError: If a shape is wrong, or a number is not finite.
        """
        rows = np.asarray(differences, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.covariance) or not np.isfinite(rows).all():
            raise ValueError(
                f"`differences` should be finite, of the shape (pairs, {len(self.covariance)}), got {rows.shape}."
            )
        weights = self._weights(np.zeros(len(rows)) if scores is None else np.asarray(scores, dtype=np.float64))
        if weights.shape != (len(rows),) or not np.isfinite(weights).all():
            raise ValueError(f"`scores` should be finite, one for each of {len(rows)} pairs, got {weights.shape}.")
        information = np.linalg.inv(self.covariance) + (rows * weights[:, None]).T @ rows
        self.covariance = np.linalg.inv(information)
        return self

    def gains(self, features: Any, scores: Any = None, present: Any = None) -> Acquisition:
        """For each prompt the pair that would add most, were it the next one.

        Args, errors: as in [`d_optimal`].

        Returns:
            [`Acquisition`]: utilities are log(1 + p (1 - p) x^T covariance x), the growth of the log-determinant; at least 0.
        """
        values, means, mask = self._checked(features, scores, present)
        places = np.array(list(combinations(range(values.shape[1]), 2)))
        utilities, pairs = np.empty(len(values)), np.empty((len(values), 2), dtype=np.int64)
        for rows in blocks(len(values)):
            there = mask[rows]
            first, second = places.T
            held = np.where(there[:, :, None], values[rows].astype(np.float64), 0.0)
            weights = self._weights(means[rows][:, first] - means[rows][:, second])
            gains = np.log1p(weights * pair_lengths(held, self.covariance))
            gains = np.where(there[:, first] & there[:, second], gains, -np.inf)
            utilities[rows], pairs[rows] = gains.max(axis=1), places[gains.argmax(axis=1)]
        return Acquisition(utilities, pairs)

    def choose(
        self, features: Any, k: int, scores: Any = None, present: Any = None
    ) -> tuple[NDArray[np.int64], Acquisition]:
        """Chooses k prompts with a pair each, one after another, each the one that adds most to those before; takes them in.

        The choice is that of looking at all pairs each time; see `LazyGreedy`. It is at least 1 - 1/e as good as the best batch.

        Args:
            features, scores, present:
                As in [`d_optimal`].
            k (`int`):
                How many, at most as many as there are prompts.

        Returns:
            `tuple[array, Acquisition]`: places of the chosen prompts, shape `(k,)`, in the order in which they were chosen; and what
            each added, with its pair.

        Raises:
            ValueError: As in [`d_optimal`], or if `k` is not in 1 ... P.
        """
        values, means, mask = self._checked(features, scores, present)
        if not 1 <= k <= len(values):
            raise ValueError(f"`k` should be in 1 ... {len(values)}, the number of prompts, got {k}.")
        greedy = LazyGreedy(values, means, mask, self.covariance, self._weights, k)
        chosen, gains, pairs = np.empty(k, dtype=np.int64), np.empty(k), np.empty((k, 2), dtype=np.int64)
        for place in range(k):
            chosen[place], gains[place], pairs[place] = greedy.take()
        return chosen, Acquisition(gains, pairs)

    def _weights(self, scores: Floats) -> Floats:
        p = sigmoid(scores / self.temperature)
        return p * (1 - p)

    def _checked(self, features: Any, scores: Any, present: Any) -> tuple[NDArray[Any], Floats, NDArray[np.bool_]]:
        values = np.asarray(features)
        if values.ndim != 3 or values.shape[2] != len(self.covariance):
            raise ValueError(
                f"`features` should have the shape (prompts, responses, {len(self.covariance)}), got {values.shape}."
            )
        mask = check_present(present, values.shape[:2])
        check_finite(values, mask, "features", ("prompt", "response", "dimension"))
        if scores is None:
            return values, np.zeros(mask.shape), mask
        found, _ = check_scores(scores, mask)
        if found.shape[:2] != mask.shape:
            raise ValueError(f"`scores` are of {found.shape[:2]} prompts and responses, `features` of {mask.shape}.")
        return values, np.where(mask, found.mean(axis=2), 0.0), mask


def d_optimal(
    features: Any,
    scores: Any = None,
    present: Any = None,
    asked: Any = None,
    ridge: float | None = None,
    temperature: float = 1.0,
) -> Acquisition:
    """The pair that would tell most about the last layer of a reward model, for each prompt on its own.

    The best of these are often alike; [`Design.choose`] takes a batch that tells most together.

    Args:
        features (array of shape `(P, n, d)`):
            The last layer's input for n responses to each prompt, or embeddings.
        scores (array of shape `(P, n)` or `(P, n, m)`, *optional*):
            Rewards, of which members' mean counts. Without, every label is taken as equally open (p = 1/2).
        present (boolean array of shape `(P, n)`, *optional*):
            Which responses there are; all by default.
        asked (array of shape `(k, d)`, *optional*):
            Differences of the features of pairs that were asked before.
        ridge (`float`, *optional*):
            As in [`Design`]; by default [`ridge_of`] the features.
        temperature (`float`, *optional*, defaults to `1.0`):
            In reward units, as in [`Design`].

    Returns:
        [`Acquisition`]: utilities are gains in log-determinant, at least 0.

    Raises:
        ValueError: If a shape is wrong, a number is not finite (it is named), a prompt has fewer than two responses, or `ridge`
            or `temperature` is not positive.
    """
    values = np.asarray(features)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"`features` should have the shape (prompts, responses, dimensions), got {values.shape}.")
    design = Design(values.shape[2], ridge_of(values, present) if ridge is None else ridge, temperature)
    if asked is not None:
        design.add(asked)
    return design.gains(values, scores, present)


def ridge_of(features: Any, present: Any = None) -> float:
    """A ridge on the scale of the features: their variance within a prompt, the mean over dimensions.

    For features of variance 1 it is 1, the usual penalty on the weights. Only its order of magnitude matters.

    Args:
        features (array of shape `(P, n, d)`), present:
            As in [`d_optimal`].

    Returns:
        `float`: above 0.

    Raises:
        ValueError: If responses to each prompt have the same features, or a number is not finite.
    """
    values = np.asarray(features)
    mask = check_present(present, values.shape[:2])
    check_finite(values, mask, "features", ("prompt", "response", "dimension"))
    total, count = 0.0, 0
    for rows in blocks(len(values)):
        there = mask[rows]
        block = np.where(there[:, :, None], values[rows].astype(np.float64), 0.0)
        centred = block - block.sum(axis=1, keepdims=True) / there.sum(axis=1)[:, None, None]
        total += float((centred[there] ** 2).sum())
        count += int(there.sum() - len(there)) * values.shape[2]
    if total <= 0:
        raise ValueError("All responses to each prompt have the same features: no pair tells anything.")
    return total / count
