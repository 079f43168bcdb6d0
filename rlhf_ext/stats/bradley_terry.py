"""How strong models are, from comparisons of two at a time: Bradley-Terry strengths, with intervals and ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, check_lengths
from .estimate import Estimate, check_confidence
from .pairings import Pairings, reachable
from .pigeonhole import Labels, percentile, row_weights
from .win_rate import probability_column

Floats = NDArray[np.float64]

ELO = 400 / math.log(10)
"""Elo points of one logit: 400 points more are odds of ten to one."""


@dataclass(frozen=True)
class BradleyTerry:
    """Strengths of models, best first.

    Args:
        models (`list[str]`):
            Names, the strongest first.
        strengths (`dict[str, Estimate]`):
            In logits: `sigmoid(a - b)` is how often a beats b, ties counted half. Their mean is 0, or the anchor's is.
        differences (`dict[tuple[str, str], Estimate]`):
            `a - b` for each ordered pair, with an interval of its own: what two models share is taken out.
        unbeaten (`list[str]`), winless (`list[str]`):
            Models of which the others never took, or never lost, anything: the data set no upper, or no lower, end to
            their strength.

    Example: see [`bradley_terry`].
    """

    models: list[str]
    strengths: dict[str, Estimate]
    differences: dict[tuple[str, str], Estimate]
    unbeaten: list[str]
    winless: list[str]

    def elo(self, base: float = 1000.0) -> dict[str, Estimate]:
        """The strengths on Elo's scale: 400 points for odds of ten to one, around `base`."""
        return {
            name: Estimate(base + ELO * e.value, base + ELO * e.low, base + ELO * e.high, e.n, e.confidence)
            for name, e in self.strengths.items()
        }

    def ranks(self) -> dict[str, tuple[int, int]]:
        """(best, worst) rank that the intervals of the differences leave open, from 1.

        Models that are clearly stronger are before it, those that are clearly weaker behind it; each pair is told by an
        interval of its own, without correction for their number.
        """
        found = {}
        for name in self.models:
            against = [self.differences[name, other] for other in self.models if other != name]
            found[name] = (1 + sum(d.high < 0 for d in against), len(self.models) - sum(d.low > 0 for d in against))
        return found


def bradley_terry(
    first: Sequence[str],
    second: Sequence[str],
    probabilities: Scores,
    clusters: Labels | None = None,
    other_clusters: Labels | None = None,
    anchor: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> BradleyTerry:
    """Strengths that best explain who was preferred to whom, by maximum likelihood (Bradley and Terry, Biometrika 39, 1952).

    A tie counts as half a win and half a loss, which is also what [`win_rate`] does, and what takes a judge's probability or a
    slider as it is: the model then says what share of the votes each would take, and needs no further parameter. The model
    of Davidson ("On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments", JASA 65, 1970)
    has one for how often ties come; where all pairs are compared equally often both rank alike. Counting ties as halves makes
    the likelihood's own standard errors too large, so the intervals are not from them: they resample clusters, corrected for the
    bias of strengths away from 0 (Efron 1987).

    Strengths are finite where no group of models took everything from the rest (Ford, American Mathematical Monthly 64, 1957).
    Where one did, a ridge (a normal prior with a deviation of ten logits) keeps the numbers finite, and decides them; the
    interval then has no end on that side, and ends on the other where the profile likelihood says so, each cluster counted as
    one row. Models that no chain of comparisons joins cannot be compared at all.

    Args:
        first, second (`list[str]`):
            The two models of each comparison.
        probabilities (`list[float | None]` or 1-D array):
            p(the first is better) in [0, 1]: 1, 0, 0.5 for a tie, or anything between. `None` and NaN are left out.
        clusters (`list`, *optional*):
            One label a row, such as the item: rows with equal labels are resampled together.
        other_clusters (`list`, *optional*):
            A second label a row, such as the annotator, resampled as well (Owen 2007, see [`two_way_mean`]).
        anchor (`str`, *optional*):
            The model whose strength is 0; by default the mean is.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same intervals.

    Returns:
        [`BradleyTerry`].

    Raises:
        ValueError: If lengths differ, a probability is not in [0, 1], a model is compared with itself (the row is named),
            nothing is left, or the anchor is not among the models.
        NotConnected: A `ValueError`, if the models fall apart into groups that were never compared (they are named).

    Example:
    ```python
    >>> from rlhf_ext.stats import bradley_terry

    >>> first = ["a"] * 10 + ["b"] * 10 + ["a"] * 10
    >>> second = ["b"] * 10 + ["c"] * 10 + ["c"] * 10
    >>> found = bradley_terry(first, second, [1] * 7 + [0] * 3 + [1] * 7 + [0] * 3 + [1] * 8 + [0] * 2)
    >>> found.models, round(found.differences["a", "b"].value, 2)
    (['a', 'b', 'c'], 0.75)

    ```
    """
    check_confidence(confidence)
    wins = probability_column("probabilities", probabilities)
    given = [labels for labels in (clusters, other_clusters) if labels is not None] or [range(len(wins))]
    for name, column in (("first", first), ("second", second), *(("clusters", labels) for labels in given)):
        check_lengths("probabilities", len(wins), name, len(column))
    kept = np.flatnonzero(~np.isnan(wins)).tolist()
    if not kept:
        raise ValueError(f"all {len(wins)} comparisons are None or NaN; there are no strengths")
    pairings = Pairings([first[row] for row in kept], [second[row] for row in kept], wins[kept], kept)
    if anchor is not None and anchor not in pairings.models:
        raise ValueError(f"the anchor {anchor!r} is none of the models: {', '.join(pairings.models)}")
    labels = [[one[row] for row in kept] for one in given]
    counts = pairings.counts(np.ones((1, len(kept))))
    values = _fit(counts)[0]
    drawn = [_fit_where_joined(pairings.counts(weights)) for weights in row_weights(labels, resamples, seed)]
    # A few clusters cannot say how they vary.
    single = any(len(set(one)) == 1 for one in labels)
    worth = len(set(labels[0])) / len(kept)
    return _assembled(pairings, counts[0], values, np.concatenate(drawn), anchor, confidence, single, worth)


def _assembled(
    pairings: Pairings,
    counts: Floats,
    values: Floats,
    drawn: Floats,
    anchor: str | None,
    confidence: float,
    single: bool,
    worth: float,
) -> BradleyTerry:
    names = pairings.models
    size, above = len(names), reachable(counts > 0)
    # The middle is that of models that beat one another: a strength that has no end would move it for all.
    core = _core(above)
    center = np.zeros(size)
    center[core if anchor is None else [names.index(anchor)]] = 1 / (1 if anchor is not None else len(core))
    rows_of = (counts + counts.T).sum(axis=1).round().astype(int)

    def estimate(contrast: Floats, up: bool, down: bool, n: int) -> Estimate:
        """`up` and `down`: whether the data set an end on that side."""
        value = float(contrast @ values)
        if up and down:
            return percentile(value, drawn @ contrast, n, confidence, unknown=single, corrected=True)
        low = _profile_end(counts * worth, contrast, value, -1, confidence) if down and not single else -math.inf
        high = _profile_end(counts * worth, contrast, value, 1, confidence) if up and not single else math.inf
        return Estimate(value, low, high, n, confidence)

    strengths, differences = {}, {}
    for i, name in enumerate(names):
        away = [j for j in range(size) if center[j] > 0 and j != i]
        if not away:
            strengths[name] = Estimate(0.0, 0.0, 0.0, max(1, int(rows_of[i])), confidence)
        else:
            up, down = all(above[j, i] for j in away), all(above[i, j] for j in away)
            strengths[name] = estimate(np.eye(size)[i] - center, up, down, int(rows_of[i]))
        for j, other in enumerate(names):
            if i != j:
                n = max(1, round(counts[i, j] + counts[j, i]))
                contrast = np.eye(size)[i] - np.eye(size)[j]
                differences[name, other] = estimate(contrast, bool(above[j, i]), bool(above[i, j]), n)
    order = sorted(names, key=lambda name: -strengths[name].value)
    index = {name: i for i, name in enumerate(names)}
    unbeaten = [name for name in order if not any(counts[j, index[name]] > 0 for j in range(size))]
    winless = [name for name in order if not any(counts[index[name], j] > 0 for j in range(size))]
    return BradleyTerry(order, {name: strengths[name] for name in order}, differences, unbeaten, winless)


def _core(above: NDArray[np.bool_]) -> list[int]:
    """The largest group of models each of which took something from each other one, by a chain; the first of equals."""
    groups = [
        np.flatnonzero((row & column) | own).tolist()
        for row, column, own in zip(above, above.T, np.eye(len(above), dtype=bool), strict=True)
    ]
    return max(groups, key=len)


_RIDGE = 0.01
_STEPS = 100


def _fit(counts: Floats, contrast: Floats | None = None, wanted: float = 0.0) -> Floats:
    """The likeliest strengths of each of many tables of wins, of shape `(tables, models, models)`, around 0.

    With a contrast, among those strengths of which it has the value that is wanted. Newton's method, with steps halved until
    they lead up: the likelihood with its ridge has one maximum.
    """
    tables, size, _ = counts.shape
    start = np.zeros(size) if contrast is None else contrast * wanted / (contrast @ contrast)
    theta = np.tile(start, (tables, 1))
    games, wins = counts + counts.transpose(0, 2, 1), counts.sum(axis=2)
    now = _likelihood(counts, theta)
    for _ in range(_STEPS):
        p = _sigmoid(theta[:, :, None] - theta[:, None, :])
        gradient = wins - (games * p).sum(axis=2) - _RIDGE * theta
        curve = games * p * (1 - p)
        hessian = -curve + np.eye(size) * (curve.sum(axis=2) + _RIDGE)[:, :, None]
        step = _step(hessian, gradient, contrast)
        for _ in range(_STEPS):
            ahead = _likelihood(counts, theta + step)
            down = ahead < now - 1e-9 * (1 + np.abs(now))
            if not down.any():
                break
            step[down] /= 2
        theta, now = theta + step, ahead
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _step(hessian: Floats, gradient: Floats, contrast: Floats | None) -> Floats:
    """Newton's step, along what a contrast leaves free if there is one."""
    if contrast is None:
        return np.asarray(np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0], dtype=float)
    size = len(contrast)
    system = np.zeros((len(hessian), size + 1, size + 1))
    system[:, :size, :size] = hessian
    system[:, :size, size] = system[:, size, :size] = contrast
    right = np.append(gradient, np.zeros((len(hessian), 1)), axis=1)[:, :, None]
    return np.asarray(np.linalg.solve(system, right)[:, :size, 0], dtype=float)


def _fit_where_joined(counts: Floats) -> Floats:
    """As [`_fit`], NaN where a resample left models that no chain of comparisons joins."""
    theta = _fit(counts)
    apart = ~reachable((counts + counts.transpose(0, 2, 1)) > 0).all(axis=(1, 2))
    theta[apart] = math.nan
    return theta


def _profile_end(counts: Floats, contrast: Floats, value: float, side: int, confidence: float) -> float:
    """Where the log-likelihood, at its best for a given contrast of strengths, has fallen by half of chi-square's quantile."""
    allowed = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / 2
    table = counts[None]
    best = _likelihood(table, _fit(table))[0]

    def fallen(amount: float) -> float:
        return best - _likelihood(table, _fit(table, contrast, value + side * amount))[0] - allowed

    near, far = 0.0, 1.0
    while fallen(far) < 0:
        near, far = far, 2 * far
    while far - near > 1e-6:
        middle = (near + far) / 2
        near, far = (middle, far) if fallen(middle) < 0 else (near, middle)
    return value + side * far


def _likelihood(counts: Floats, theta: Floats) -> Floats:
    """Log-likelihood of each table's strengths, with the ridge."""
    logits = theta[:, :, None] - theta[:, None, :]
    return -(counts * np.logaddexp(0, -logits)).sum(axis=(1, 2)) - _RIDGE / 2 * (theta**2).sum(axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return (1 + np.tanh(logits / 2)) / 2
