"""Figures of votes and ratings: by pair of models, by scale, and by what was shown first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

from ...stats import Estimate, clustered_mean, length_controlled_win_rate, two_way_mean, win_rate
from .answers import Rating, Vote

Wins = Literal["votes", "strengths"]
Pair = tuple[str, str]


def _item(one: Any) -> Hashable:
    return one.item


def _annotator(one: Any) -> Hashable:
    return one.annotator


class Clusters:
    """What belongs together, and means over it."""

    def __init__(self, by: str, seed: int):
        of: dict[str, tuple[Callable[[Any], Hashable], ...]] = {
            "item": (_item,),
            "annotator": (_annotator,),
            "both": (_item, _annotator),
        }
        self._of, self.seed = of[by], seed

    def labels(self, rows: Iterable[Any]) -> list[list[Hashable]]:
        rows = list(rows)
        return [[label(row) for row in rows] for label in self._of]

    def mean(self, values: Sequence[float], rows: Sequence[Any], rate: bool = True) -> Estimate:
        labels = self.labels(rows)
        if len(labels) == 1:
            return (win_rate if rate else clustered_mean)(values, labels[0], seed=self.seed)
        return two_way_mean(values, labels[0], labels[1], seed=self.seed)


def won(vote: Vote, wins: Wins) -> float:
    """p(the first is better) as it is counted."""
    return vote.side if wins == "votes" else vote.p


def by_pair(
    votes: Sequence[Vote], wins: Wins, clusters: Clusters, notes: list[str]
) -> tuple[dict[Pair, Estimate], dict[Pair, Estimate], dict[Pair, Estimate]]:
    rates: dict[Pair, Estimate] = {}
    controlled: dict[Pair, Estimate] = {}
    ties: dict[Pair, Estimate] = {}
    names = sorted({name for vote in votes for name in (vote.first, vote.second)})
    for a, b in combinations(names, 2):
        rows = [vote for vote in votes if {vote.first, vote.second} == {a, b}]
        if not rows:
            continue
        taken = [won(vote, wins) if vote.first == a else 1 - won(vote, wins) for vote in rows]
        rates |= _both_ways(a, b, clusters.mean(taken, rows))
        ties |= _both_ways(a, b, clusters.mean([float(vote.side == 0.5) for vote in rows], rows), mirrored=False)
        lengths = [vote.lengths if vote.first == a else vote.lengths and vote.lengths[::-1] for vote in rows]
        known = [place for place, pair in enumerate(lengths) if pair is not None]
        if not known:
            continue
        own, other = zip(*(lengths[place] for place in known), strict=True)  # type: ignore[arg-type]
        labels = clusters.labels([rows[place] for place in known])[0]
        try:
            found = length_controlled_win_rate(
                [taken[place] for place in known], own, other, labels, seed=clusters.seed
            )
        except ValueError as error:  # that nothing can be said of equal lengths is a finding
            notes.append(f"No win rate of {a} against {b} at equal length: {error}")
        else:
            controlled |= _both_ways(a, b, found)
    return rates, controlled, ties


def _both_ways(a: str, b: str, found: Estimate, mirrored: bool = True) -> dict[Pair, Estimate]:
    """An estimate in [0, 1] of the pair, and of the pair the other way round."""
    low, high = max(0.0, found.low), min(1.0, found.high)
    one = Estimate(found.value, low, high, found.n, found.confidence)
    other = Estimate(1 - found.value, 1 - high, 1 - low, found.n, found.confidence) if mirrored else one
    return {(a, b): one, (b, a): other}


def means(ratings: Sequence[Rating], clusters: Clusters) -> dict[str, dict[str, Estimate]]:
    given: dict[str, dict[str, list[Rating]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        given[rating.scale][rating.model].append(rating)
    found = {}
    for scale, models in sorted(given.items()):
        models_means = {
            name: clusters.mean([one.value for one in rows], rows, rate=False) for name, rows in models.items()
        }
        found[scale] = dict(sorted(models_means.items(), key=lambda item: -item[1].value))
    return found


def first_shown(votes: Sequence[Vote], clusters: Clusters) -> Estimate | None:
    decided = [vote for vote in votes if vote.first_shown is not None and vote.side != 0.5]
    if not decided:
        return None
    return clusters.mean([float((vote.side == 1) == vote.first_shown) for vote in decided], decided)
