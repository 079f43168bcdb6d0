"""Whether a reward model is as right as it is sure, and the temperature that would make it so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...stats import Estimate, bootstrap, bootstrap_mean, wilson
from ..report import Curve
from .pairs import sigmoid
from .result import Measurement
from .scoring import Floats, ScoredPairs, needs_rows

_ROWS_A_BIN, _MAX_BINS = 30, 10
_FOLDS = 5
_SPAN = 100.0  # temperatures looked at: from 1 % of the margins' size to 100 times it


def calibration(pairs: ScoredPairs, seed: int = 0) -> Measurement:
    """Expected calibration error, and the temperature that mends it.

    By Bradley-Terry, a reward model is sure of its order of a pair with sigmoid(|margin|), in [0.5, 1]; it is right with
    `preference_strength` or one less it (without strengths, with 1 or 0; a tie counts half). ECE is the mean distance of
    the two over bins of equal mass: at most 10, and none of fewer than 30 pairs, since small bins are far off by chance
    alone (Guo et al., 1706.04599; equal mass: Nixon et al., 1904.01685). The temperature minimises the log loss of
    sigmoid(margin / T); what it does is measured by 5-fold cross-validation, never on the pairs that it was fitted on.

    ECE is above 0 by chance alone, the more so the fewer pairs there are: its interval reaches 0 wherever calibrated scores
    would show as much on these pairs one time in forty.
    """
    needs_rows(pairs, 2 * _FOLDS)
    margins, given = pairs.margins, pairs.strengths_or_certain()
    sure, right = _confidence(margins, given)
    estimates = {"ece": _ece_estimate(sure, right, seed)}
    if margins.any():
        estimates["temperature"] = bootstrap(temperature, margins, given)
        mended = _confidence(_cross_mended(margins, given, seed), given)
        estimates["ece_after_temperature"] = _ece_estimate(*mended, seed)
    return Measurement(estimates, [_reliability(sure, right)])


def ece(sure: Floats, right: Floats) -> float:
    """Expected calibration error over bins of equal mass, in [0, 1]."""
    return float(sum(len(rows) * abs(sure[rows].mean() - right[rows].mean()) for rows in _bins(sure)) / len(sure))


def _ece_estimate(sure: Floats, right: Floats, seed: int) -> Estimate:
    found = bootstrap(ece, sure, right, pivotal=True, seed=seed)
    return replace(found, low=0.0 if found.value <= chance_of_ece(sure, right, seed) else max(0.0, found.low))


def chance_of_ece(sure: Floats, right: Floats, seed: int = 0, draws: int = 4_000) -> float:
    """The ECE that calibrated scores exceed one time in forty, with these bins and this scatter within them."""
    bins = [rows for rows in _bins(sure) if len(rows) > 1]
    scatter = np.array([(right[rows] - sure[rows]).std(ddof=1) * np.sqrt(len(rows)) for rows in bins])
    gaps = np.abs(np.random.default_rng(seed).normal(size=(draws, len(bins)))) @ scatter / len(sure)
    return float(np.quantile(gaps, 0.975))


def temperature(margins: Floats, given: Floats) -> float:
    """The T > 0 that minimises the log loss of sigmoid(margins / T) against p(chosen is better).

    At the ends of what is looked at (a hundredth of the margins' size, a hundred times it), where every pair is ordered
    right, or no better than by chance.
    """
    size = float(np.sqrt(np.mean(margins**2)))
    if size == 0:
        return float("nan")
    scaled = margins / size
    # The loss is convex in 1/T, so Newton's method finds its only minimum; halving keeps it within bounds.
    low, high, inverse = 1 / _SPAN, _SPAN, 1.0  # bounds of 1/T, and where it is
    for _ in range(60):
        p = sigmoid(scaled * inverse)
        slope, curvature = float(scaled @ (p - given)), float((scaled * scaled) @ (p * (1 - p)))
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else -1.0
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - inverse) < 1e-9 * inverse:
            break
        inverse = following
    return size / inverse


def _confidence(margins: Floats, given: Floats) -> tuple[Floats, Floats]:
    right = np.where(margins > 0, given, np.where(margins < 0, 1 - given, 0.5))
    return sigmoid(np.abs(margins)), right


def _cross_mended(margins: Floats, given: Floats, seed: int) -> Floats:
    """Margins over the temperature of the folds they are not in."""
    mended = np.empty_like(margins)
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(margins)), _FOLDS):
        others = np.setdiff1d(np.arange(len(margins)), fold)
        found = temperature(margins[others], given[others])
        mended[fold] = margins[fold] / (found if np.isfinite(found) else 1.0)
    return mended


def _bins(sure: Floats) -> list[np.ndarray]:
    count = min(_MAX_BINS, max(1, len(sure) // _ROWS_A_BIN))
    return np.array_split(np.argsort(sure, kind="stable"), count)


def _reliability(sure: Floats, right: Floats) -> Curve:
    series: dict[str, list[tuple[float, float]]] = {"right": [], "perfect": [], "95% low": [], "95% high": []}
    for rows in _bins(sure):
        x, found = float(sure[rows].mean()), _share(right[rows])
        points = {"right": found.value, "perfect": x, "95% low": found.low, "95% high": found.high}
        for name, y in points.items():
            series[name].append((x, y))
    return Curve("Reliability", "how sure the scores are", "how often they are right", series)


def _share(right: Floats) -> Estimate:
    if np.isin(right, (0, 1)).all():
        return wilson(int(right.sum()), len(right))
    return bootstrap_mean(right)
