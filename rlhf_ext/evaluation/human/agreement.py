"""Whether those who were asked the same agree: people among themselves, and people with judges."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...stats import Estimate, clustered_rate, cohen_kappa, fleiss_kappa, krippendorff_alpha
from .answers import Rating, Vote

Rows = Sequence[Sequence[float | None]]

RESAMPLES = 400
"""Bootstrap resamples of an interval: enough to look at."""


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement, or why there is none."""

    what: str
    measure: str
    estimate: Estimate | None
    note: str = ""

    @property
    def bounded(self) -> bool:
        """Whether its interval says anything."""
        return self.estimate is not None and math.isfinite(self.estimate.high - self.estimate.low)


def agreement_of(labels: Mapping[str, Rows]) -> list[Agreement]:
    """Alpha and kappa of everything that two or more people were asked.

    Krippendorff's alpha takes any number of people an item. Fleiss' kappa needs the same number for each: it is of the items
    with the number of answers that most items have.

    Args:
        labels (`dict[str, list[list[float | None]]]`):
            As in [`~rlhf_ext.data.store.Overview`]: by what was asked a row an item and a column an annotator.
    """
    found = []
    for what, rows in labels.items():
        if what == "comparison":
            found.append(_alpha("strength of preference", rows, "interval"))
            sides = [[None if x is None else float((x > 0.5) - (x < 0.5)) for x in row] for row in rows]
            found += [_alpha("which answer is better", sides, "nominal"), _kappa("which answer is better", sides)]
        elif what == "ranking":
            found += [
                _alpha("which of two is ranked higher", rows, "nominal"),
                _kappa("which of two is ranked higher", rows),
            ]
        else:
            found += [_alpha(what, rows, "ordinal"), _kappa(what, rows)]
    return found


def labels_of(votes: Iterable[Vote], ratings: Iterable[Rating]) -> dict[str, list[list[float | None]]]:
    """People's votes and ratings as [`agreement_of`] takes them; what one person alone was asked is left out."""
    given: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for vote in votes:
        if vote.source == "human":
            given[vote.kind][vote.unit or vote.item][vote.annotator] = vote.p
    for rating in ratings:
        given[f"rating {rating.scale}"][rating.unit or rating.item][rating.annotator] = rating.value
    names = sorted({name for units in given.values() for said in units.values() for name in said})
    tables = {
        what: [[said.get(name) for name in names] for said in units.values() if len(said) > 1]
        for what, units in given.items()
    }
    return {what: rows for what, rows in tables.items() if rows}


def agreement_with_judges(votes: Sequence[Vote]) -> list[Agreement]:
    """Each judge against the majority of the people who saw the same pair of answers.

    Cohen's kappa is of first, second or neither. The share of agreement is of the pairs on which both decided: compare it
    with how often people agree among themselves, which no judge can be asked to beat (Zheng et al.,
    https://huggingface.co/papers/2306.05685).

    Returns:
        `list[Agreement]`: two a judge, none where nobody judged what people saw.
    """
    people: dict[str, list[float]] = defaultdict(list)
    judges: dict[str, dict[str, float]] = defaultdict(dict)
    items = {vote.unit or vote.item: vote.item for vote in votes}
    for vote in votes:
        if vote.source == "human":
            people[vote.unit or vote.item].append(vote.side - 0.5)
        else:
            judges[vote.annotator][vote.unit or vote.item] = vote.side
    found = []
    for judge, said in sorted(judges.items()):
        both = [unit for unit in said if unit in people]
        sides = [(_side(sum(people[unit])), said[unit]) for unit in both]
        if not both:
            continue
        what = f"people and {judge}"
        ours, theirs = [pair[0] for pair in sides], [pair[1] for pair in sides]
        kappa = _coefficient(what, "Cohen's kappa", partial(cohen_kappa, ours, theirs))
        same = [None if 0.5 in pair else float(pair[0] == pair[1]) for pair in sides]
        decided = "share of pairs on which both decided alike"
        share = _coefficient(what, decided, partial(clustered_rate, same, [items[unit] for unit in both]))
        found += [kappa, share]
    return found


def _side(total: float) -> float:
    return (1 + (total > 0) - (total < 0)) / 2


def _coefficient(what: str, measure: str, of: Callable[[], Estimate]) -> Agreement:
    try:
        return Agreement(what, measure, of())
    except ValueError as error:  # not defined for these labels: that is a finding
        return Agreement(what, measure, None, str(error))


def _alpha(what: str, rows: Rows, level: Any) -> Agreement:
    measure = f"Krippendorff's alpha, {level}"
    return _coefficient(what, measure, lambda: krippendorff_alpha(rows, level, resamples=RESAMPLES))


def _kappa(what: str, rows: Rows) -> Agreement:
    given = [[x for x in row if x is not None] for row in rows]
    count = Counter(len(row) for row in given).most_common(1)[0][0]
    usual = [row for row in given if len(row) == count]
    measure = f"Fleiss' kappa, items with {count} answers"
    return _coefficient(what, measure, lambda: fleiss_kappa(usual, resamples=RESAMPLES))
