"""Preferences from rewards: whatever scores answers labels them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..rewards.calling import like_prompt, score_rows
from .comparisons import several
from .judge import check_confidence
from .result import LabelResult
from .valued import Pairs, Valued, check_pairs, prefer


def from_rewards(
    reward: Any,
    rows: Iterable[Mapping[str, Any]],
    pairs: Pairs = "best_worst",
    temperature: float = 1.0,
    min_confidence: float = 0.5,
    name: str | None = None,
) -> LabelResult:
    """Preferences by any reward function: a reward model, an ensemble, a mixer, a rule; sync or async.

    A label's strength is that of Bradley and Terry, sigmoid((r_A - r_B) / temperature), which a reward model trained on
    preferences means by its scores; for rewards on another scale, [`~rlhf_ext.evaluation.reward_models.calibration.temperature`]
    finds the temperature from labelled pairs.

    The function is called once, with all answers; those of a row stand together. A mixer learns from what it scores: call its
    `eval` before if it should not.

    Args:
        reward (`RewardFunction`): Called with keywords, as trainers do. Other columns of a row come with each of its answers.
        rows (`Dataset` or `list[dict]`): With a `prompt` and its `responses` (or `chosen` and `rejected`), text or messages.
            Other columns are kept, apart from those of a former label, which the new one replaces.
        pairs (`str`, *optional*, defaults to `"best_worst"`): `"best_worst"`, `"all"`, or `"best_of_rest"`, the best with each
            of the others.
        temperature (`float`, *optional*, defaults to `1.0`): In reward units; above 0.
        min_confidence (`float`, *optional*, defaults to `0.5`): Least max(p, 1 - p) for a label, in [0.5, 1].
        name (`str`, *optional*): The annotator in the labels' provenance. By default the function's name.

    Returns:
        [`LabelResult`], with the difference of the rewards as `margin`. Ties, and answers to which the function does not apply
        (None), are left out with the reason.

    Raises:
        ValueError: If a setting is out of range, a row has no prompt or answers (it is named), no row has two different
            answers, or the function gives a reward that is not finite or another number of them.
        TypeError: If it gives what is no reward.
        Exception: Whatever it raises, with a note that names it.

    Example:

    ```python
    >>> from rlhf_ext.labelers import from_rewards
    >>> def brevity(prompts, completions, **columns):
    ...     return [-float(len(completion)) for completion in completions]
    >>> from_rewards(brevity, [{"prompt": "Hi?", "responses": ["Hello.", "Hi."]}]).preferences[0]["preference_strength"]
    0.952574

    ```
    """
    check_pairs(pairs)
    check_confidence(min_confidence)
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` should be a positive number, got {temperature}.")
    found, left_out = several(rows)
    answers = [(row, response) for row in found for response in row.responses]
    names = dict.fromkeys(key for row in found for key in row.columns)
    scores = score_rows(
        reward,
        [row.prompt for row, _ in answers],
        [like_prompt(row.prompt, response) for row, response in answers],
        {key: [row.columns.get(key) for row, _ in answers] for key in names},
    ).tolist()
    annotator = name or getattr(reward, "__name__", type(reward).__name__)
    missing = f"no reward: {annotator!r} gave None"
    valued = iter(
        Valued(row.row, response, None, missing) if math.isnan(score) else Valued(row.row, response, score)
        for (row, response), score in zip(answers, scores, strict=True)
    )
    result = prefer(
        [(row, [next(valued) for _ in row.responses]) for row in found],
        pairs,
        lambda one, other: _sigmoid((_value(one) - _value(other)) / temperature),
        min_confidence,
        lambda pair: {"source": "reward", "annotator": annotator},
    )
    return LabelResult(result.preferences, left_out + result.left_out, result.measures)


def _value(one: Valued) -> float:
    assert one.value is not None
    return one.value


def _sigmoid(x: float) -> float:
    # Of a negative number only, whose exponential cannot overflow.
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - _sigmoid(-x)
