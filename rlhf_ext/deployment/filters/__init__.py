"""Filters on what goes in and what comes out: reward functions with thresholds, and rules that find spans."""

from .filter_set import FilterSet
from .personal import personal_data
from .rules import Rule, SpanFilter, words
from .scoring import Filter
from .stream import StreamFilter
from .verdict import Action, Hit, Side, Verdict

__all__ = [
    "Action",
    "Filter",
    "FilterSet",
    "Hit",
    "Rule",
    "Side",
    "SpanFilter",
    "StreamFilter",
    "Verdict",
    "personal_data",
    "words",
]
