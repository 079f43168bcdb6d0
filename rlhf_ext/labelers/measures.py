"""What is known of labels beside the labels: bias, agreement with those that were given, agreement of votes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..stats import Estimate, cohen_kappa, krippendorff_alpha, length_bias, self_preference, wilson
from ..types import Completion, text_of
from .comparisons import Comparison


@dataclass(frozen=True)
class Judged:
    """A pair that was judged.

    Args:
        pair ([`Comparison`]): The pair.
        p (`float`): p(its first answer is better).
        is_labelled (`bool`): Whether that became a label.
        votes (`tuple[float | None, ...]`, *optional*): Single votes for the first answer: 1, 0, 0.5 for a tie, None where it
            could not be read.
    """

    pair: Comparison
    p: float
    is_labelled: bool
    votes: tuple[float | None, ...] = ()


def pair_measures(judged: Sequence[Judged], judge: str | None = None) -> dict[str, Estimate]:
    """The measures of labelled pairs, by name; those that the pairs say nothing of are not among them.

    Args:
        judged (`list[Judged]`): Pairs with what was said of them.
        judge (`str`, *optional*): The judge's name, as rows name the models that wrote their answers.
    """
    if not judged:
        return {}
    found = {"labelled": wilson(sum(one.is_labelled for one in judged), len(judged))}
    return found | _length(judged) | _own(judged, judge) | _given(judged) | _votes(judged)


def votes_alpha(votes: Sequence[Sequence[float | None]]) -> Estimate | None:
    """Krippendorff's alpha (interval) of votes, a row an item; None where no two votes are on one item, or all are the same."""
    rows = [[vote for vote in row if vote is not None] for row in votes]
    rows = [row for row in rows if len(row) > 1]
    if len({vote for row in rows for vote in row}) < 2:
        return None
    longest = max(map(len, rows))
    return krippendorff_alpha([[*row, *[None] * (longest - len(row))] for row in rows], level="interval")


def _length(judged: Sequence[Judged]) -> dict[str, Estimate]:
    first = [len(text_of(one.pair.first)) for one in judged]
    second = [len(text_of(one.pair.second)) for one in judged]
    if first == second:
        return {}
    rows = [one.pair.row for one in judged]
    return {"length_bias": length_bias([one.p for one in judged], first, second, clusters=rows)}


def _own(judged: Sequence[Judged], judge: str | None) -> dict[str, Estimate]:
    """How the judge's own answers fare against others'; beyond what given labels find in them, where there are any."""
    own = [one for one in judged if judge is not None and one.pair.authors.count(judge) == 1]
    found = {}
    for name, pairs in (
        ("own_preferred", own),
        ("self_preference", [one for one in own if one.pair.given is not None]),
    ):
        if pairs:
            first = [one.pair.authors[0] == judge for one in pairs]
            judged_own = [one.p if is_first else 1 - one.p for one, is_first in zip(pairs, first, strict=True)]
            given = [0.5 if name == "own_preferred" or one.pair.given is None else one.pair.given for one in pairs]
            others = [p if is_first else 1 - p for p, is_first in zip(given, first, strict=True)]
            found[name] = self_preference(judged_own, others, clusters=[one.pair.row for one in pairs])
    return found


def _given(judged: Sequence[Judged]) -> dict[str, Estimate]:
    """How labels agree with those that rows came with."""
    both = [one for one in judged if one.is_labelled and one.pair.given not in (None, 0.5)]
    if not both:
        return {}
    turned = [_is_turned(one.pair.first, one.pair.second) for one in both]
    ours = [(one.p > 0.5) != turn for one, turn in zip(both, turned, strict=True)]
    given = [((one.pair.given or 0.0) > 0.5) != turn for one, turn in zip(both, turned, strict=True)]
    found = {"agrees_with_given": wilson(sum(a == b for a, b in zip(ours, given, strict=True)), len(both))}
    return {**found, "kappa_with_given": cohen_kappa(ours, given)} if len({*ours, *given}) > 1 else found


def _votes(judged: Sequence[Judged]) -> dict[str, Estimate]:
    turned = [_is_turned(one.pair.first, one.pair.second) for one in judged]
    votes = [
        [vote if vote is None or not turn else 1 - vote for vote in one.votes]
        for one, turn in zip(judged, turned, strict=True)
    ]
    alpha = votes_alpha(votes)
    return {} if alpha is None else {"votes_alpha": alpha}


def _is_turned(first: Completion, second: Completion) -> bool:
    """Whether a pair is read the other way round, as good as at random: by digests of its answers.

    Rows name the chosen answer first, or the answers of one model. Chance agreement is figured from how often each place wins:
    a place that stands for something would make it look high.
    """
    one, other = (hashlib.sha256(text_of(answer).encode()).digest() for answer in (first, second))
    return one > other
