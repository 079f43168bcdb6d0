"""Preferences between answers that have a value each: a grade, a reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, TypeVar

from ..types import Completion
from .comparisons import Comparison, Row, unsure
from .measures import Judged, pair_measures
from .result import LabelResult

Pairs = Literal["best_worst", "all", "best_of_rest"]
"""Which answers of a row are paired: the best with the worst, all with all, the best with each of the others."""


@dataclass(frozen=True)
class Valued:
    """An answer and its value.

    Args:
        row (`int`): Index of its row.
        response (`str` or `list[dict]`): The answer.
        value (`float`, *optional*): What it is worth; None where that is not known.
        reason (`str`, *optional*): Why it is not.
    """

    row: int
    response: Completion
    value: float | None
    reason: str | None = None


V = TypeVar("V", bound=Valued)


def check_pairs(pairs: str) -> None:
    if pairs not in ("best_worst", "all", "best_of_rest"):
        raise ValueError(f"`pairs` should be 'best_worst', 'all' or 'best_of_rest', got {pairs!r}.")


def pick_pairs(values: Sequence[float], pairs: Pairs) -> list[tuple[int, int]]:
    """Indices of the answers to pair, of two or more; the first of equals is the best, or the worst."""
    places = range(len(values))
    if pairs == "all":
        return list(combinations(places, 2))
    best = max(places, key=values.__getitem__)
    rest = [place for place in places if place != best]
    return [(best, place) for place in (rest if pairs == "best_of_rest" else [min(rest, key=values.__getitem__)])]


def count_pairs(answers: int, pairs: Pairs) -> int:
    """How many pairs [`pick_pairs`] makes."""
    return len(pick_pairs([0.0] * answers, pairs))


def abstention(p: float, margin: float, min_confidence: float) -> str | None:
    """Why two values make no label, or None where they do; `margin` is by how much the first is worth more."""
    if reason := unsure(p, min_confidence):
        return reason
    if (p - 0.5) * margin < 0:
        return f"abstained, odds and means disagree: p is {p:.3f}, the means differ by {margin:+.3f}"
    return None


def prefer(
    rows: Sequence[tuple[Row, Sequence[V]]],
    pairs: Pairs,
    better: Callable[[V, V], float],
    min_confidence: float,
    provenance: Callable[[Comparison], Mapping[str, Any]],
    judge: str | None = None,
) -> LabelResult:
    """Preferences from answers with values; those without are left out, each with its reason.

    Args:
        rows (`list[tuple]`): Rows, each with its answers.
        pairs (`str`): See [`Pairs`].
        better (`Callable`): p(the first of two answers is better).
        min_confidence (`float`): Least max(p, 1 - p) for a label.
        provenance (`Callable`): Columns that say where a pair's label comes from.
        judge (`str`, *optional*): Name of the model that judges, as rows name the models that wrote their answers.
    """
    preferences: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    judged: list[Judged] = []
    for row, answers in rows:
        left_out += [row.left_out([one.response], one.reason or "no value") for one in answers if one.value is None]
        known = [(one, one.value) for one in answers if one.value is not None]
        if len(known) < 2:
            rest = [one.response for one, _ in known]
            left_out += [row.left_out(rest, f"nothing to compare with: row {row.row}")] if rest else []
            continue
        for first, second in map(sorted, pick_pairs([value for _, value in known], pairs)):  # as the row has them
            (one, value), (other, other_value) = known[first], known[second]
            pair = row.pair(one.response, other.response)
            p, margin = better(one, other), value - other_value
            reason = abstention(p, margin, min_confidence)
            judged.append(Judged(pair, p, reason is None))
            if reason:
                left_out.append(pair.left_out(reason))
                continue
            margin = round(margin if p >= 0.5 else -margin, 6)
            preferences.append(pair.labelled(p, margin=margin, **provenance(pair)))
    return LabelResult(preferences, left_out, pair_measures(judged, judge))
