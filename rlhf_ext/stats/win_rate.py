"""How often one model's answers beat another's, and how often they would at equal length."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstraps import Scores, as_column, bootstrap, check_lengths
from .clustered import clustered_rate
from .estimate import Estimate
from .logistic import rate_at_zero

Clusters = Sequence[Hashable] | NDArray[Any]


def win_rate(
    probabilities: Scores,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """How often a model's answers are better than a reference's: the mean of what a judge says of the pairs.

    A judge moved by which answer it sees first must have been asked both ways, as a
    [`~rlhf_ext.types.PairwiseJudge`] is. Answers that win by their length alone are found by
    [`length_controlled_win_rate`]. Where each pair is won or lost, without ties, the interval is that of
    [`clustered_rate`] (Wilson's): resampling ten wins of ten would show no doubt.

    Args:
        probabilities (`list[float | None]` or 1-D array):
            p(the model's answer is better), a pair: in [0, 1], 0.5 is a tie. `None` and NaN (the judge abstained) are
            left out.
        clusters (`list`, *optional*):
            One label a pair; pairs with equal labels (several samples of one prompt) are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `10_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the win rate, in [0, 1]; `n` is the number of pairs used.

    Raises:
        ValueError: If a probability is not in [0, 1] (the row is named), lengths differ, or every pair is left out.

    Example:
    ```python
    >>> from rlhf_ext.stats import win_rate

    >>> estimate = win_rate([1.0, 0.5, None, 0.75])
    >>> estimate.value, estimate.n
    (0.75, 3)
    ```
    """
    wins = probability_column("probabilities", probabilities)
    if np.isnan(wins).all():
        raise ValueError(f"the judge abstained from all {len(wins)} pairs; there is no win rate")
    return clustered_rate(wins, clusters, confidence, resamples, seed)


def length_controlled_win_rate(
    probabilities: Scores,
    lengths: Sequence[float] | NDArray[Any],
    reference_lengths: Sequence[float] | NDArray[Any],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """The win rate that a model would have if its answers were as long as the reference's.

    A logistic regression of the judge's probabilities on `tanh(difference of lengths / its standard deviation)`, read
    where the difference is 0; a slight ridge keeps it finite where every answer wins. This is AlpacaEval 2's without its
    term for the difficulty of each instruction, which takes the answers of many models to fit. Source: Dubois,
    Galambosi, Liang and Hashimoto, "Length-Controlled AlpacaEval" (https://huggingface.co/papers/2404.04475).

    Where answers are better *because* they are longer (more complete), that counts as length here: show it beside
    [`win_rate`], not in its place. And where nearly all differences have one sign, what would be at equal length is
    extrapolated, and the interval is wide.

    Args:
        probabilities (`list[float | None]` or 1-D array):
            p(the model's answer is better), a pair: in [0, 1]. `None` and NaN are left out.
        lengths, reference_lengths (`list[float]` or 1-D array):
            Lengths of the model's answers and of the reference's, in any one unit (characters, tokens).
        clusters (`list`, *optional*):
            One label a pair; pairs with equal labels (several samples of one prompt) are resampled together.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level, in (0, 1).
        resamples (`int`, *optional*, defaults to `1_000`), seed (`int`, *optional*, defaults to `0`):
            Bootstrap resamples; the same seed gives the same interval.

    Returns:
        `Estimate`: the win rate at equal length, in (0, 1); `n` is the number of pairs used.

    Raises:
        ValueError: If a probability is not in [0, 1] or a length not a number of at least 0 (the row is named), the
            numbers of rows differ, every pair is left out, or all answers are longer (or shorter) than their references
            by about the same, where nothing tells quality from length.

    Example:
    ```python
    >>> from rlhf_ext.stats import length_controlled_win_rate, win_rate

    >>> wins = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]  # it wins where it is longer
    >>> lengths, reference = [80, 90, 70, 30, 95, 60, 20, 85], [40] * 8
    >>> win_rate(wins).value
    0.75
    >>> length_controlled_win_rate(wins, lengths, reference).value < 0.6
    True
    ```
    """
    wins = probability_column("probabilities", probabilities)
    longer = length_column("lengths", lengths, len(wins)) - length_column(
        "reference_lengths", reference_lengths, len(wins)
    )
    kept = ~np.isnan(wins)
    if not kept.any():
        raise ValueError(f"the judge abstained from all {len(wins)} pairs; there is no win rate")
    check_lengths("probabilities", len(wins), "clusters", len(wins if clusters is None else clusters))
    labels = None if clusters is None else [label for label, keep in zip(clusters, kept, strict=True) if keep]
    wins, longer = wins[kept], longer[kept]
    spread = float(longer.std())
    x = np.tanh(longer / spread) if spread > 0 else np.sign(longer)
    if math.isnan(rate_at_zero(wins, x)):
        raise ValueError(
            f"the answers differ from their references in length by {longer.mean():.4g} on average with a deviation of "
            f"only {spread:.3g} over {len(wins)} pairs: nothing tells quality from length. Give more pairs, or a "
            "reference that is nearer in length."
        )
    return bootstrap(rate_at_zero, wins, x, clusters=labels, confidence=confidence, resamples=resamples, seed=seed)


def probability_column(name: str, values: Scores) -> NDArray[np.float64]:
    """Probabilities as an array, NaN where there is none.

    Raises:
        ValueError: If one is not in [0, 1], naming its row.
    """
    column = as_column(name, values)
    outside = np.flatnonzero((column < 0) | (column > 1))
    if len(outside):
        raise ValueError(f"{name}[{outside[0]}] is {column[outside[0]]}; a probability is in [0, 1], None or NaN")
    return column


def length_column(name: str, values: Scores, rows: int) -> NDArray[np.float64]:
    """Lengths as an array, as many as there are pairs.

    Raises:
        ValueError: If there are more or fewer, or one is no number of at least 0, naming its row.
    """
    check_lengths("probabilities", rows, name, len(values))
    column = as_column(name, values)
    wrong = np.flatnonzero(~(column >= 0))
    if len(wrong):
        raise ValueError(f"{name}[{wrong[0]}] is {column[wrong[0]]}; a length is a number of at least 0")
    return column
