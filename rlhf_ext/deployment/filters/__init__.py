"""Filters on what goes in and what comes out: reward functions with thresholds, and rules that find spans."""

from .verdict import Action, Hit, Side, Verdict

__all__ = ["Action", "Hit", "Side", "Verdict"]
