"""What [`WinRateCallback`] makes of a judge's probabilities: numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transformers.utils import logging

from ..stats import Estimate, length_controlled_win_rate, win_rate
from ..types import Completion, Prompt, text_of

logger = logging.get_logger(__name__)

WIN_RATE = "eval_win_rate"
CONTROLLED = f"{WIN_RATE}_length_controlled"


def win_rate_figures(
    prompts: Sequence[Prompt],
    answers: Sequence[Completion],
    references: Sequence[Completion],
    probabilities: Sequence[float | None],
    length_controlled: bool = False,
    seed: int = 0,
) -> dict[str, float]:
    """What is logged of one comparison.

    Args:
        prompts, answers, references (`Sequence` of length `n`):
            What was compared; a prompt that comes twice is one cluster of the interval.
        probabilities (`list[float | None]`):
            p(the answer is better than the reference's), None where the judge abstained.
        length_controlled (`bool`, *optional*, defaults to `False`):
            Whether to add the win rate at equal length in characters.
        seed (`int`, *optional*, defaults to `0`):
            Of the intervals.

    Returns:
        `dict[str, float]`: by the names they are logged under, and `n`, the number of pairs judged. Where nothing can be
        said, NaN with an interval of [0, 1].
    """
    clusters = [str(prompt) for prompt in prompts]
    judged = sum(probability is not None for probability in probabilities)
    figures: dict[str, float] = {"n": judged}
    figures |= _ends(WIN_RATE, win_rate(probabilities, clusters, seed=seed) if judged else None)
    figures[f"{WIN_RATE}_abstained"] = 1 - judged / len(probabilities)
    if length_controlled:
        lengths, others = ([len(text_of(text)) for text in texts] for texts in (answers, references))
        figures |= _ends(CONTROLLED, _controlled(probabilities, lengths, others, clusters, seed) if judged else None)
    return figures


def _controlled(
    probabilities: Sequence[float | None], lengths: list[int], others: list[int], clusters: list[str], seed: int
) -> Estimate | None:
    try:
        return length_controlled_win_rate(probabilities, lengths, others, clusters, seed=seed)
    except ValueError as error:  # the run goes on: that nothing can be said of equal lengths is a finding
        logger.warning(f"No length-controlled win rate: {error}")
        return None


def _ends(name: str, estimate: Estimate | None) -> dict[str, float]:
    """Value and ends, which a rate has in [0, 1] even where the data cannot say."""
    if estimate is None:
        return {name: math.nan, f"{name}_low": 0.0, f"{name}_high": 1.0}
    return {name: estimate.value, f"{name}_low": max(0.0, estimate.low), f"{name}_high": min(1.0, estimate.high)}
