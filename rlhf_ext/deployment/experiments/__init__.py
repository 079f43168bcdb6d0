"""A/B tests and canaries: who gets which variant, what came of it, and when to go back."""

from typing import TYPE_CHECKING, Any

from .canary import Canary, Standing, Step
from .experiment import Assignment, Experiment
from .guards import Guard
from .layers import Experiments
from .transitions import CanaryStore, Observation, Transition

if TYPE_CHECKING:
    from .stored import StoredCanaries

__all__ = [
    "Assignment",
    "Canary",
    "CanaryStore",
    "Experiment",
    "Experiments",
    "Guard",
    "Observation",
    "Standing",
    "Step",
    "StoredCanaries",
    "Transition",
]


def __getattr__(name: str) -> Any:
    if name == "StoredCanaries":  # needs SQLAlchemy, which assigning and reporting do not
        from .stored import StoredCanaries

        return StoredCanaries
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
