"""Reward functions: everything here speaks TRL's reward-function protocol."""

from .model import RewardModel

__all__ = ["RewardModel"]
