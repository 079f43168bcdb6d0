"""Whether the members of an ensemble disagree where it is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...stats import average_ranks, bootstrap, bootstrap_mean, wilson
from .result import CannotMeasure, Measurement
from .scoring import Floats, ScoredPairs, needs_rows


def ensemble(reward: Any, pairs: ScoredPairs) -> Measurement:
    """Disagreement of an ensemble's members, and whether it tells errors.

    Disagreement is the deviation of the members' margins, which a member's own zero does not enter. How well it tells the
    pairs that the reward orders wrongly is the area under its ROC curve: the probability that it is higher on an error
    than on a pair that is right. Such a signal is what penalises uncertain rewards (Coste et al., 2310.02743).

    Args:
        reward (`Any`):
            A reward function with `score_members(prompts, responses)` that gives scores of shape `(K, n)`.
        pairs ([`ScoredPairs`]):
            Its scores.
    """
    if not callable(getattr(reward, "score_members", None)):
        raise CannotMeasure("the reward function shows no members (a method `score_members`)")
    needs_rows(pairs, 2)
    found = np.asarray(reward.score_members(pairs.prompts * 2, pairs.chosen + pairs.rejected), dtype=float)
    n = len(pairs.prompts)
    if found.ndim != 2 or found.shape[1] != 2 * n or not np.isfinite(found).all():
        raise ValueError(f"`score_members` must give finite scores of shape (K, {2 * n}), got shape {found.shape}.")
    if len(found) < 2:
        raise CannotMeasure("there is one member, which has nobody to disagree with")
    margins = found[:, :n] - found[:, n:]
    disagreement = margins.std(axis=0, ddof=1)
    alike = (margins > 0).all(axis=0) | (margins < 0).all(axis=0)
    estimates = {
        "ensemble.disagreement": bootstrap_mean(disagreement),
        "ensemble.unanimous": wilson(int(alike.sum()), n),
    }
    wrong = pairs.margins <= 0
    if 0 < wrong.sum() < n:
        estimates["ensemble.auc"] = bootstrap(auc, disagreement, wrong)
    return Measurement(estimates)


def auc(signal: Floats, positive: Any) -> float:
    """Area under the ROC curve: p(signal of a positive row > signal of another), a tie counting half."""
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    ranks = average_ranks(signal)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
