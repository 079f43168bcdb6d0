"""A/B tests and canaries: who gets which variant, what came of it, and when to go back."""

from .experiment import Assignment, Experiment

__all__ = ["Assignment", "Experiment"]
