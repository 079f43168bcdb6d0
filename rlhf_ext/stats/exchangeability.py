"""Whether values go on coming from where the first ones came from: a test that may be looked at after every value, for ever.

A test of a fixed size that is looked at again and again finds a change in every stream sooner or later. This one finds one that is not
there with probability `alpha` at most, over all looks together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PARTS = (2, 4, 10)
"""Into how many parts of [0, 1] p-values are sorted by those who bet: few parts learn a shift fast, many see its shape."""
_FIRST = (0, 2, 6)
"""Where each begins among all of them."""


class ConformalMartingale:
    """Bets against exchangeability; what it has won is evidence of a change.

    Each value gets a conformal p-value: how high it stands among all values so far, ties broken at random. As long as all come from
    one distribution (or are exchangeable), these p-values are independent and uniform, whatever the distribution, so that no bet on
    them wins in the long run: the capital is a non-negative martingale that starts at 1, and by Ville's inequality it *ever*
    reaches `1 / alpha` with probability `alpha` at most. Sources: Vovk, Nouretdinov and Gammerman, "Testing Exchangeability
    On-Line" (ICML 2003); Vovk et al., "Retrain or Not Retrain: Conformal Test Martingales for Change-Point Detection" (2021,
    arXiv:2102.10439).

    The bets: a density of the p-values is learnt by counting (Krichevsky and Trofimov's estimate), anew from every `every`-th value,
    since nobody knows when a change comes; the `s`-th beginner gets `1 / (s (s + 1))` of the capital, which sums to 1. A change
    after n values is so found with a delay that grows by `2 log(n / every)` of log capital, not with n. Beginners who have the least
    left are dropped beyond `most`, with what they have: that can only lower the capital.

    Values are sorted into `bins` with an order; edges must not come from the values that are tested or shown (take a part
    of the reference for them). Memory does not grow.

    Args:
        bins (`int`):
            Values are whole numbers in [0, `bins`).
        seed (`int`, *optional*, defaults to `0`):
            Of the breaking of ties.
        every (`int`, *optional*, defaults to `20`):
            Values between two beginners.
        most (`int`, *optional*, defaults to `48`):
            Beginners that are kept.

    Raises:
        ValueError: If `bins`, `every` or `most` is too small.

    Example:
    ```python
    >>> import numpy as np
    >>> from rlhf_ext.stats import ConformalMartingale

    >>> rng = np.random.default_rng(0)
    >>> test = ConformalMartingale(bins=20)
    >>> test.show(rng.integers(0, 15, 500))  # the reference: nobody bets
    >>> before = [test.add(value) for value in rng.integers(0, 15, 300)]
    >>> after = [test.add(value) for value in rng.integers(5, 20, 100)]
    >>> bool(max(before) < np.log(100) < after[-1])
    True

    ```
    """

    def __init__(self, bins: int, seed: int = 0, every: int = 20, most: int = 48):
        if bins < 2 or every < 1 or most < 2:
            raise ValueError(f"bins and most must be at least 2, every at least 1, got {bins}, {most} and {every}.")
        self.bins, self.every, self.most = bins, every, most
        self.counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self.bets = 0
        self.log_evidence = 0.0
        """Log of the capital."""
        self.most_evidence = 0.0
        """Its largest so far: at `log(1 / alpha)` there is a change, whatever comes afterwards."""
        self._rng = np.random.default_rng(seed)
        self._begun = 0
        self._logs: NDArray[np.float64] = np.zeros((0, len(_PARTS)))
        self._seen: NDArray[np.float64] = np.zeros((0, sum(_PARTS)))
        """What each beginner has counted, of all parts side by side."""
        self._bets_of: NDArray[np.float64] = np.zeros((0, 1))

    def show(self, values: Sequence[int] | NDArray[np.int64]) -> None:
        """Takes values of the reference, without a bet."""
        self.counts += np.bincount(self._checked(values), minlength=self.bins)

    def add(self, value: int) -> float:
        """Takes the next value; gives the log of the capital.

        Raises:
            ValueError: If it is in no bin.
        """
        if not (isinstance(value, int | np.integer) and 0 <= value < self.bins):
            self._checked([value])  # says what is wrong
        self.counts[value] += 1
        p = (self.counts[value + 1 :].sum() + self._rng.random() * self.counts[value]) / self.counts.sum()
        if self.bets % self.every == 0:
            self._begin()
        self._bet(float(p))
        self.bets += 1
        self.log_evidence = self._capital()
        self.most_evidence = max(self.most_evidence, self.log_evidence)
        return self.log_evidence

    def _checked(self, values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.asarray(values)
        if found.size and not (found.dtype.kind in "iu" and found.min() >= 0 and found.max() < self.bins):
            raise ValueError(f"values must be whole numbers in [0, {self.bins}), got {found}.")
        return found.astype(np.int64)

    def _begin(self) -> None:
        self._begun += 1
        share = -math.log(self._begun * (self._begun + 1) * len(_PARTS))
        self._logs = np.vstack([self._logs, np.full((1, len(_PARTS)), share)])
        self._seen = np.vstack([self._seen, np.zeros((1, sum(_PARTS)))])
        self._bets_of = np.vstack([self._bets_of, [[0.0]]])
        if len(self._logs) > self.most:
            # The newest half stays: it has had no time to win anything.
            weakest = int(self._logs[: self.most // 2].max(axis=1).argmin())
            self._logs, self._seen, self._bets_of = (
                np.delete(one, weakest, axis=0) for one in (self._logs, self._seen, self._bets_of)
            )

    def _bet(self, p: float) -> None:
        # p is 1 in one case of 2^53.
        at = [first + min(parts - 1, int(p * parts)) for first, parts in zip(_FIRST, _PARTS, strict=True)]
        parts = np.array(_PARTS)
        self._logs += np.log(parts * (self._seen[:, at] + 0.5) / (self._bets_of + parts / 2))
        self._seen[:, at] += 1
        self._bets_of += 1

    def _capital(self) -> float:
        # What is set aside for those who have not begun is 1 / (begun + 1).
        aside = -math.log(self._begun + 1)
        top = max(aside, float(self._logs.max()))
        return top + math.log(float(np.exp(self._logs - top).sum()) + math.exp(aside - top))
