"""Adapters over TRL's trainers: each calls super, then adds what RLHF needs."""

from .._compat import check_functions

check_functions()  # before they are imported

from .dpo import DPOConfig, DPOTrainer  # noqa: E402
from .ppo import PPOTrainer  # noqa: E402
from .ppo_config import PPOConfig  # noqa: E402
from .reward import RewardConfig, RewardTrainer  # noqa: E402

__all__ = ["DPOConfig", "DPOTrainer", "PPOConfig", "PPOTrainer", "RewardConfig", "RewardTrainer"]
