"""The greedy choice of a D-optimal batch, without looking at every pair each time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, blocks

_LOOK = 64
"""Prompts that are brought up to date at first; twice as many each time it was not enough."""


class LazyGreedy:
    """Takes pairs one after another, each the one that adds most to the log-determinant of the information.

    What a pair would add can only shrink as others are taken (the log-determinant is submodular), so what it would have added
    earlier is a bound, and only those whose bound is high enough are brought up to date (Minoux 1978). The choice is the one
    of looking at all of them. Bringing a pair up to date takes one product with each vector taken since, not with the covariance.

    Args:
        features (array of shape `(P, n, d)`), means (array of shape `(P, n)`), present (boolean array of shape `(P, n)`):
            As [`Design`] checked them.
        covariance (array of shape `(d, d)`):
            Inverse of the information; it is changed in place as pairs are taken.
        weigh (`Callable`):
            p (1 - p) of differences of scores.
        k (`int`):
            Pairs that will be taken.
    """

    def __init__(
        self,
        features: NDArray[Any],
        means: Floats,
        present: NDArray[np.bool_],
        covariance: NDArray[Any],
        weigh: Callable[[Floats], Floats],
        k: int,
    ):
        self.features, self.means, self.present = features, means, present
        self.covariance, self.weigh = covariance, weigh
        self.pairs = np.array(list(combinations(range(features.shape[1]), 2)))
        self.lengths = np.empty((len(features), len(self.pairs)))  # x^T covariance x, as of `dates`
        for rows in blocks(len(features)):
            self.lengths[rows] = pair_lengths(self._read(rows), covariance)
        self.dates = np.zeros(len(features), dtype=np.int64)
        self.taken, self.count = np.empty((k, features.shape[2])), 0
        self.bounds = np.full(len(features), -np.inf)
        for rows in blocks(len(features)):
            self.bounds[rows] = self._gains(np.arange(len(features))[rows]).max(axis=1)

    def take(self) -> tuple[int, float, NDArray[np.int64]]:
        """The prompt whose pair adds most, what it adds, and the pair; it is taken."""
        prompt, gain = self._best()
        pair = self.pairs[int(self._gains(np.array([prompt]))[0].argmax())]
        first, second = pair
        difference = self.features[prompt, first].astype(np.float64) - self.features[prompt, second]
        weight = float(self.weigh(self.means[prompt, first] - self.means[prompt, second]))
        moved = self.covariance @ difference
        moved *= np.sqrt(weight / (1 + weight * float(difference @ moved)))
        self.covariance -= np.outer(moved, moved)  # Sherman and Morrison
        self.taken[self.count] = moved
        self.count += 1
        self.bounds[prompt] = -np.inf
        return prompt, gain, pair

    def _best(self) -> tuple[int, float]:
        best, gain, look = -1, -np.inf, _LOOK
        while True:
            stale = np.where(self.dates == self.count, -np.inf, self.bounds)
            if best < 0:
                fresh = np.where(self.dates == self.count, self.bounds, -np.inf)
                best, gain = int(fresh.argmax()), float(fresh.max())
            size = min(look, len(stale))
            places = np.argpartition(stale, -size)[-size:]
            places = places[stale[places] > gain]
            if not len(places):
                return best, gain
            self._bring_up(places)
            top = int(places[self.bounds[places].argmax()])
            if self.bounds[top] > gain:
                best, gain = top, float(self.bounds[top])
            look *= 2

    def _bring_up(self, places: NDArray[np.int64]) -> None:
        """Takes off what was learnt since from the lengths of some prompts' pairs, and bounds them anew."""
        for part in np.array_split(places, -(-len(places) // 4096)):
            since = int(self.dates[part].min())
            moved = self.taken[since : self.count]
            products = self._read(part) @ moved.T  # (b, n, steps)
            missed = np.arange(since, self.count) >= self.dates[part][:, None]
            for column, (first, second) in enumerate(self.pairs):
                change = (products[:, first] - products[:, second]) ** 2
                self.lengths[part, column] -= (change * missed).sum(axis=1)
            self.dates[part] = self.count
            self.bounds[part] = self._gains(part).max(axis=1)

    def _gains(self, places: NDArray[np.int64]) -> Floats:
        """Gains of all pairs of some prompts, shape `(b, pairs)`, from lengths as they are."""
        first, second = self.pairs.T
        means = self.means[places]
        gains = np.log1p(self.weigh(means[:, first] - means[:, second]) * np.maximum(self.lengths[places], 0.0))
        return np.where(self.present[places][:, first] & self.present[places][:, second], gains, -np.inf)

    def _read(self, places: Any) -> Floats:
        """Features of some prompts, 0 where there is no response."""
        return np.where(self.present[places][:, :, None], self.features[places].astype(np.float64), 0.0)


def pair_lengths(features: Floats, covariance: NDArray[Any]) -> Floats:
    """x^T covariance x for the difference x of each two responses to a prompt, shape `(b, pairs)`."""
    products = (features @ covariance) @ features.transpose(0, 2, 1)
    first, second = np.triu_indices(features.shape[1], 1)
    own = np.diagonal(products, axis1=1, axis2=2)
    return np.maximum(own[:, first] + own[:, second] - 2 * products[:, first, second], 0.0)
