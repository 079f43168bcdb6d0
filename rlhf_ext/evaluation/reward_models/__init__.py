"""Validation of a reward model on held-out preferences: may anyone train against it?"""

from .probes import PROBES
from .result import MEASURES, RewardValidation
from .thresholds import Thresholds
from .validate import validate_reward_model

__all__ = ["MEASURES", "PROBES", "RewardValidation", "Thresholds", "validate_reward_model"]
