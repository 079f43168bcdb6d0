"""Reward functions: everything here speaks TRL's reward-function protocol."""

from .ensemble import RewardEnsemble
from .model import RewardModel

__all__ = ["RewardEnsemble", "RewardModel"]
