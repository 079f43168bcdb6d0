"""The main job: preferences in, an aligned and measured model out."""

from .config import RLHFConfig
from .trainer import RLHFResult, RLHFTrainer

__all__ = ["RLHFConfig", "RLHFResult", "RLHFTrainer"]
