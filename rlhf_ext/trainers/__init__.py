"""Adapters over TRL's trainers: each calls super, then adds what RLHF needs."""

from .dpo import DPOConfig, DPOTrainer
from .ppo import PPOTrainer
from .ppo_config import PPOConfig
from .reward import RewardConfig, RewardTrainer

__all__ = ["DPOConfig", "DPOTrainer", "PPOConfig", "PPOTrainer", "RewardConfig", "RewardTrainer"]
