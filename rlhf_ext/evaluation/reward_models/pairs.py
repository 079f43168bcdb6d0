"""What the scores of held-out pairs say: accuracy, agreement with strengths, length bias, distribution."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np

from ...stats import average_ranks, bootstrap, bootstrap_mean, wilson
from ..report import Curve, Intervals
from .result import CannotMeasure, Measurement
from .scoring import Floats, ScoredPairs, needs_rows


def accuracy(pairs: ScoredPairs) -> Measurement:
    """Share of pairs in which the chosen answer scores higher, over all and by `category`; a tie is wrong."""
    right = pairs.margins > 0
    groups: dict[str, list[bool]] = defaultdict(list)
    for category, is_right in zip(pairs.columns.get("category", []), right, strict=False):
        if category is not None:
            groups[str(category)].append(bool(is_right))
    by_category = {name: wilson(sum(group), len(group)) for name, group in sorted(groups.items())}
    overall = wilson(int(right.sum()), len(right))
    estimates = {"accuracy": overall, **{f"accuracy.{name}": found for name, found in by_category.items()}}
    estimates["unscored"] = wilson(pairs.unscored, pairs.unscored + len(right))
    if not by_category:
        return Measurement(estimates)
    plot = Intervals("Accuracy by category", "share of pairs", {"all": overall, **by_category}, reference=0.5)
    return Measurement(estimates, [plot])


def strength(pairs: ScoredPairs) -> Measurement:
    """Agreement with `preference_strength`: p(chosen is better) by Bradley-Terry, against the strength given.

    Brier score and log loss (nats) are proper: the strength itself, predicted, has the lowest. Spearman's correlation of
    margin and strength asks only whether clear preferences get large margins.
    """
    given = pairs.strengths
    if given is None:
        raise CannotMeasure("the preferences have no `preference_strength`")
    needs_rows(pairs, 3)
    margins = pairs.margins
    loss = given * np.logaddexp(0, -margins) + (1 - given) * np.logaddexp(0, margins)
    estimates = {
        "strength.brier": bootstrap_mean((sigmoid(margins) - given) ** 2),
        "strength.log_loss": bootstrap_mean(loss),
    }
    if np.ptp(margins) and np.ptp(given):
        estimates["strength.correlation"] = bootstrap(_spearman, margins, given)
    return Measurement(estimates)


def length(pairs: ScoredPairs) -> Measurement:
    """Whether length alone is rewarded, in characters.

    The correlation of the two answers' differences in score and length holds what the preferences themselves hold:
    better answers may be longer. At equal preference, this is taken out: score and length differences are regressed on
    what is preferred (the chosen answer, and by how much where `preference_strength` says it), and the rest is
    correlated. 2310.03716 shows how much of PPO's gain such a bias can be.
    """
    needs_rows(pairs, 4)
    margins, hundreds = pairs.margins, pairs.extra_characters / 100
    if not hundreds.any():
        raise CannotMeasure("the two answers of every pair are equally long")
    given = pairs.strengths_or_certain()
    estimates: dict[str, Any] = {}
    statistics = {
        "length.correlation": _paired_correlation,
        "length.partial_correlation": _partial_correlation,
        "length.slope": _slope,
    }
    for name, statistic in statistics.items():
        if np.isfinite(statistic(margins, hundreds, given)):
            estimates[name] = bootstrap(statistic, margins, hundreds, given)
    for name, rows in (("longer", hundreds > 0), ("shorter", hundreds < 0)):
        if rows.any():
            estimates[f"length.accuracy_{name}"] = wilson(int((margins[rows] > 0).sum()), int(rows.sum()))
    return Measurement(estimates)


def scores(pairs: ScoredPairs) -> Measurement:
    """How scores and margins are distributed."""
    both = {"chosen": pairs.chosen_scores, "rejected": pairs.rejected_scores}
    plots: list[Any] = [
        Curve("Scores", "score", "share of answers", _histograms(both)),
        Curve("Margins", "score of chosen less rejected", "share of pairs", _histograms({"margin": pairs.margins})),
    ]
    return Measurement({"margin": bootstrap_mean(pairs.margins)}, plots)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def _histograms(columns: dict[str, Floats], bins: int = 24) -> dict[str, list[tuple[float, float]]]:
    """Outlines of histograms on common bins."""
    both = np.concatenate(list(columns.values()))
    if np.ptp(both) <= 1e-9 * np.abs(both).max():  # equal but for rounding, which NumPy cannot cut into bins
        both = both.mean() + np.array([-0.5, 0.5]) * max(1.0, np.abs(both).max())
    edges = np.histogram_bin_edges(both, bins)
    outlines = {}
    for name, values in columns.items():
        shares = np.histogram(values, edges)[0] / len(values)
        corners = np.repeat(edges, 2)
        heights = np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])
        outlines[name] = [(float(x), float(y)) for x, y in zip(corners, heights, strict=True)]
    return outlines


def _spearman(x: Floats, y: Floats) -> float:
    return correlation(average_ranks(x), average_ranks(y))


def _paired_correlation(margins: Floats, lengths: Floats, given: Floats) -> float:
    """Of all answers, each less the mean of its pair."""
    return _cosine(margins, lengths)


def _partial_correlation(margins: Floats, lengths: Floats, given: Floats) -> float:
    # Turning a pair around changes every sign, so the constant is the effect of being the chosen one.
    rest = partial(_residuals, np.stack([np.ones_like(given), given], axis=1))
    return _cosine(rest(margins), rest(lengths))


def _slope(margins: Floats, lengths: Floats, given: Floats) -> float:
    rest = partial(_residuals, np.stack([np.ones_like(given), given], axis=1))
    y, x = rest(margins), rest(lengths)
    return float(x @ y / (x @ x)) if x @ x > 0 else float("nan")


def _residuals(design: Floats, values: Floats) -> Floats:
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    # Rounding alone is no rest.
    return rest if np.abs(rest).max() > 1e-9 * np.abs(values).max() else np.zeros_like(rest)


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation; NaN where it is not defined."""
    return _cosine(x - x.mean(), y - y.mean())


def _cosine(x: Floats, y: Floats) -> float:
    scale = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else float("nan")
