"""Validation of a reward model on held-out preferences: may anyone train against it?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from ..rewards.model import RewardModel
from ..stats import Estimate, wilson
from ..types import text_of


@dataclass(frozen=True)
class RewardValidation:
    """What held-out preferences say about a reward model.

    Args:
        accuracy ([`~rlhf_ext.stats.Estimate`]):
            Share of pairs in which the chosen answer scores higher (a tie counts as wrong), with Wilson's interval.
        by_category (`dict[str, Estimate]`):
            The same for each value of a `category` column; empty without one.
        length_correlation (`float`):
            Correlation, in [-1, 1], between the difference in score and the difference in length of the two answers;
            near 1 means that length is what it rewards. NaN where it is not defined.
    """

    accuracy: Estimate
    by_category: dict[str, Estimate]
    length_correlation: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def refusal(self, min_accuracy: float) -> str | None:
        """Why PPO may not use this reward model, or None if it may.

        The accuracy must reach `min_accuracy`, and its interval must lie above 0.5, where a coin is.
        """
        figure = f"accuracy {self.accuracy} on {self.accuracy.n} held-out pairs"
        if self.accuracy.value < min_accuracy:
            return f"{figure} is under the {min_accuracy:g} that is asked for"
        if self.accuracy.low <= 0.5:
            return f"{figure} cannot be told from a coin's 0.5"
        return None


def validate_reward_model(reward_model: RewardModel, preferences: Dataset) -> RewardValidation:
    """Measures a reward model on held-out preferences.

    Args:
        reward_model ([`RewardModel`]):
            The model.
        preferences (`datasets.Dataset`):
            Rows it was not trained on, checked by [`~rlhf_ext.data.preferences.prepare_preferences`].

    Returns:
        [`RewardValidation`].

    Example:

    ```python
    validation = validate_reward_model(RewardModel("./reward_model"), heldout)
    print(validation.accuracy)  # 0.79 [0.72, 0.85]
    ```
    """
    prompts = list(preferences["prompt"])
    answers = list(preferences["chosen"]) + list(preferences["rejected"])
    chosen, rejected = reward_model.score(prompts * 2, answers).numpy().reshape(2, -1)
    right = chosen > rejected
    groups: dict[str, list[bool]] = defaultdict(list)
    if "category" in preferences.column_names:
        for category, is_right in zip(preferences["category"], right, strict=True):
            groups[str(category)].append(bool(is_right))
    lengths = np.array([len(text_of(answer)) for answer in answers], dtype=float).reshape(2, -1)
    return RewardValidation(
        accuracy=wilson(int(right.sum()), len(right)),
        by_category={name: wilson(sum(group), len(group)) for name, group in sorted(groups.items())},
        length_correlation=_correlation(chosen - rejected, lengths[0] - lengths[1]),
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
