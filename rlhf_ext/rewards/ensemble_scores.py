"""What an ensemble of reward models says about responses, and one reward made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .combining import make_combination

LOWER = "lower"


@dataclass(frozen=True)
class EnsembleScores:
    """What an ensemble says about `n` responses. All are float32 on CPU, in the members' common unit.

    Args:
        members (`torch.Tensor` of shape `(K, n)`):
            Each member's scores.
        mean (`torch.Tensor` of shape `(n,)`):
            Their mean.
        lower, upper (`torch.Tensor` of shape `(n,)`):
            Bounds, as the ensemble's `bounds` says.
        disagreement (`torch.Tensor` of shape `(n,)`):
            Sample standard deviation over the members.
    """

    members: torch.Tensor
    mean: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    disagreement: torch.Tensor

    @classmethod
    def of(cls, members: torch.Tensor, bounds: float | str = 1.0) -> EnsembleScores:
        """From each member's scores, shape `(K, n)`; `bounds` as in [`RewardEnsemble`]."""
        mean = members.mean(dim=0)
        disagreement = ((members - mean) ** 2).sum(dim=0).div(len(members) - 1).sqrt()  # `std` warns where n is 0
        if isinstance(bounds, str):
            return cls(members, mean, members.amin(dim=0), members.amax(dim=0), disagreement)
        return cls(members, mean, mean - bounds * disagreement, mean + bounds * disagreement, disagreement)

    def combined(self, combine: str | Callable = "mean") -> torch.Tensor:
        """One reward a response, shape `(n,)`; `combine` as in [`RewardEnsemble`]."""
        combination = make_ensemble_combination(combine)
        if combination == LOWER:
            return self.lower
        scores = self.members.T.double().numpy()
        rewards = combination(scores, np.ones(len(self.members)), np.zeros(len(scores), dtype=np.int64))
        return torch.from_numpy(rewards).float()


def make_ensemble_combination(choice: Any) -> Any:
    """`"lower"` as it is, or a combination of [`~rlhf_ext.rewards.combining`].

    Raises:
        ValueError: If there is no such combination, or it compares completions of one prompt.
    """
    if choice == LOWER:
        return LOWER
    combination = make_combination(choice, beside=(LOWER,))
    if getattr(combination, "by_group", False):
        raise ValueError(
            f"`combine={choice!r}` compares the completions of a prompt, and an ensemble scores each one alone. Give its "
            "members to a RewardMixer as components."
        )
    return combination
