"""A/B tests and canaries: who gets which variant, what came of it, and when to go back."""

import importlib
from typing import TYPE_CHECKING, Any

from .canary import Canary
from .experiment import Assignment, Experiment
from .guards import Guard
from .layers import Experiments
from .outcomes import Outcome, Outcomes, read_outcomes
from .ramp import Standing, Step
from .reading import CanaryPlan, read_experiments
from .transitions import CanaryStore, Observation, Transition

if TYPE_CHECKING:
    from .report import ABReport, ab_report
    from .stored import StoredCanaries

__all__ = [
    "ABReport",
    "Assignment",
    "Canary",
    "CanaryPlan",
    "CanaryStore",
    "Experiment",
    "Experiments",
    "Guard",
    "Observation",
    "Outcome",
    "Outcomes",
    "Standing",
    "Step",
    "StoredCanaries",
    "Transition",
    "ab_report",
    "read_experiments",
    "read_outcomes",
]


_LATE = {"ABReport": "report", "ab_report": "report", "StoredCanaries": "stored"}


def __getattr__(name: str) -> Any:
    # Assigning needs neither the pages of evaluation nor a database.
    if name in _LATE:
        return getattr(importlib.import_module(f".{_LATE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
