"""What moves a judge of pairs beside quality: which answer it sees first, which is longer, which is its own."""

from __future__ import annotations

import math

import numpy as np

from .bootstraps import Scores, bootstrap, check_lengths, paired_difference
from .estimate import Estimate
from .logistic import rate_at_zero
from .win_rate import Clusters, length_column, probability_column


def position_bias(
    forward: Scores,
    backward: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """By how much a judge prefers the answer that it is shown first.

    A judge that looks at the answers alone says p of a pair in one order and 1 - p in the other: over both orders it
    prefers the first half the time. Averaging both orders takes this bias out of a label; a large one leaves many labels
    near 0.5. A judge that prefers the first answer of some pairs and the second of others as strongly has a bias of 0
    here. Source: Zheng et al., "Judging LLM-as-a-Judge" (https://huggingface.co/papers/2306.05685).

    Args:
        forward (`list[float | None]` or 1-D array):
            p(the answer shown first is better), a pair, as the pair stands: in [0, 1].
        backward (`list[float | None]` or 1-D array):
            The same with the answers exchanged: again p(the answer *shown first* is better). A pair is left out where
            either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a pair; pairs with equal labels (of one prompt) are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: mean p(shown first is better) over both orders less 0.5, in [-0.5, 0.5]; below 0 for a judge that
        prefers the second.

    Raises:
        ValueError: If a probability is not in [0, 1] (the row is named), lengths differ, or every pair is left out.

    Example:
    ```python
    >>> from rlhf_ext.stats import position_bias

    >>> round(position_bias(forward=[0.9, 0.8], backward=[0.5, 0.6]).value, 3)
    0.2
    ```
    """
    first, second = probability_column("forward", forward), probability_column("backward", backward)
    check_lengths("forward", len(first), "backward", len(second))
    half = np.full(len(first), 0.5)
    return paired_difference(half, (first + second) / 2, clusters, confidence, resamples, seed)


def length_bias(
    probabilities: Scores,
    lengths: Scores,
    other_lengths: Scores,
    other: Scores | None = None,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """By how much a judge prefers the longer answer, in all or where another labeler finds the two equal.

    Longer answers may be better, so that the plain figure is no fault by itself. With another labeler's judgement of the
    same pairs (people's), it is the part that their judgement does not explain: p(the longer one is better) by a logistic
    regression on the other's, read where the other's is 0.5. What a noisy labeler misses of true quality counts as length.
    Source: Zheng et al., "Judging LLM-as-a-Judge" (https://huggingface.co/papers/2306.05685), verbosity bias.

    Args:
        probabilities (`list[float | None]` or 1-D array):
            p(the first answer is better), a pair, by the judge: in [0, 1].
        lengths, other_lengths (`list[float]` or 1-D array):
            Lengths of the first and the second answers, in any one unit. Pairs of equal length are left out.
        other (`list[float | None]` or 1-D array, *optional*):
            p(the first answer is better) by another labeler; 0 and 1 for labels. A pair is left out where either is
            `None` or NaN.
        clusters (`list`, *optional*):
            One label a pair; pairs with equal labels (of one prompt) are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: p(the longer answer is better) less 0.5, in [-0.5, 0.5]; `n` is the number of pairs used.

    Raises:
        ValueError: If a probability is not in [0, 1] or a length no number of at least 0 (the row is named), the numbers
            of rows differ, no pair is left, or the other labeler says nearly the same of every pair, so that nothing
            tells its judgement from length.

    Example:
    ```python
    >>> from rlhf_ext.stats import length_bias

    >>> round(length_bias([0.9, 0.3, 0.6], lengths=[50, 20, 30], other_lengths=[30, 40, 30]).value, 3)
    0.3
    ```
    """
    first = probability_column("probabilities", probabilities)
    longer = length_column("lengths", lengths, len(first)) - length_column("other_lengths", other_lengths, len(first))
    sign = np.where(longer == 0, math.nan, np.sign(longer))
    judged = 0.5 + sign * (first - 0.5)  # p(the longer one is better)
    if np.isnan(judged).all():
        raise ValueError(f"none of the {len(first)} pairs is judged and of unequal length")
    if other is None:
        return paired_difference(np.full(len(first), 0.5), judged, clusters, confidence, resamples, seed)
    second = probability_column("other", other)
    check_lengths("probabilities", len(first), "other", len(second))
    x = sign * (second - 0.5)
    kept = ~np.isnan(judged + x)
    if math.isnan(_excess(judged[kept], x[kept])):
        raise ValueError(
            f"the other labeler says nearly the same of all {kept.sum()} pairs that both judged: nothing tells its "
            "judgement from length. Leave `other` out, or give more pairs."
        )
    check_lengths("probabilities", len(first), "clusters", len(first if clusters is None else clusters))
    labels = None if clusters is None else [label for label, keep in zip(clusters, kept, strict=True) if keep]
    return bootstrap(
        _excess, judged[kept], x[kept], clusters=labels, confidence=confidence, resamples=resamples, seed=seed
    )


def self_preference(
    judge: Scores,
    other: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """By how much a judge prefers answers that it wrote itself, beyond what another labeler finds in them.

    Its own answers may be better: another labeler's judgement of the same pairs, best people's, says by how much. The two
    must differ in nothing else: a difference in taste that its own answers please (length) counts as self-preference.
    Source: Panickssery, Bowman and Feng, "LLM Evaluators Recognize and Favor Their Own Generations"
    (https://huggingface.co/papers/2404.13076).

    Args:
        judge (`list[float | None]` or 1-D array):
            p(the judge's own answer is better), a pair, by the judge: in [0, 1].
        other (`list[float | None]` or 1-D array):
            The same of the same pairs by another labeler. A pair is left out where either is `None` or NaN.
        clusters (`list`, *optional*):
            One label a pair; pairs with equal labels (of one prompt) are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: mean of the judge's probabilities less the other's, in [-1, 1]; `n` is the number of pairs used.

    Raises:
        ValueError: If a probability is not in [0, 1] (the row is named), lengths differ, or every pair is left out.

    Example:
    ```python
    >>> from rlhf_ext.stats import self_preference

    >>> round(self_preference(judge=[0.9, 0.7], other=[0.5, 0.6]).value, 3)
    0.25
    ```
    """
    own, others = probability_column("judge", judge), probability_column("other", other)
    return paired_difference(others, own, clusters, confidence, resamples, seed)


def _excess(rates: np.ndarray, x: np.ndarray) -> float:
    return rate_at_zero(rates, x) - 0.5
