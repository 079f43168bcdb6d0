"""Reward functions: everything here speaks TRL's reward-function protocol.

What needs a model is imported when it is first used: whoever wants a rule out of this room (`refusal`, `calling`) waits for no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ensemble import RewardEnsemble
    from .model import RewardModel

__all__ = ["RewardEnsemble", "RewardModel"]

_HOMES = {"RewardEnsemble": "ensemble", "RewardModel": "model"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
