"""How the work stands: items by state, and of each annotator the speed, the gold answers, the bias, the labels."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from ...stats import Estimate, wilson
from .database import sa
from .gold import is_right
from .items import FeedbackItem, from_stored
from .records import places
from .schema import ASSIGNMENTS, ITEMS, RECORDS, is_current

Labels = dict[str, list[list[float | None]]]


@dataclass(frozen=True)
class AnnotatorFigures:
    """One annotator's work.

    Args:
        annotator (`str`): Who.
        answers (`int`), skips (`int`): What holds; what was taken back is not counted.
        median_seconds (`float`, *optional*): Time an answer took; None where none says.
        gold_right (`int`), gold_asked (`int`): Gold questions answered rightly, and answered.
        first_shown ([`~rlhf_ext.stats.Estimate`], *optional*): Share of the decided comparisons in which the response shown
            first (on the left) was preferred, with Wilson's interval: 0.5 without bias. None where nothing was decided.
    """

    annotator: str
    answers: int
    skips: int
    median_seconds: float | None
    gold_right: int
    gold_asked: int
    first_shown: Estimate | None


@dataclass(frozen=True)
class Overview:
    """How the work stands.

    Args:
        items (`dict[str, int]`): Items by state: `"open"` (no answer yet), `"begun"`, `"done"` (all the answers wanted),
            `"gold"`, and `"kept"` (nobody is to be asked).
        answers (`int`), skips (`int`): Of all annotators.
        annotators (`list[AnnotatorFigures]`): By name.
        labels (`dict[str, list[list[float | None]]]`): For agreement, as [`~rlhf_ext.stats.krippendorff_alpha`] takes them: by
            what was asked a row for each unit that two or more labelled, a column for each of `annotators`, None for no label.
            `"comparison"`: strengths in [0, 1], of the item's first response; `"rating NAME"`: numbers on that scale;
            `"ranking"`: for each pair of an item's responses 1, 0.5 or 0, for the first before, beside or behind the second.
    """

    items: dict[str, int]
    answers: int
    skips: int
    annotators: list[AnnotatorFigures]
    labels: Labels


class _Tally:
    """Counts of one annotator while the answers go by."""

    def __init__(self) -> None:
        self.answers = self.skips = self.gold_right = self.gold_asked = self.first = self.decided = 0
        self.seconds: list[float] = []

    def figures(self, annotator: str) -> AnnotatorFigures:
        return AnnotatorFigures(
            annotator,
            self.answers,
            self.skips,
            median(self.seconds) if self.seconds else None,
            self.gold_right,
            self.gold_asked,
            wilson(self.first, self.decided) if self.decided else None,
        )


def failed_annotators(overview: Overview, min_right: float = 0.7, min_asked: int = 5) -> list[str]:
    """Annotators who answered too few gold questions rightly: for `exclude` of the exports.

    Args:
        overview ([`Overview`]): Of [`WorkQueue.overview`].
        min_right (`float`, *optional*, defaults to `0.7`): The share, in [0, 1], that has to be right.
        min_asked (`int`, *optional*, defaults to `5`): Nobody fails before as many gold questions.

    Raises:
        ValueError: If `min_right` is not in [0, 1]: with 70 for 70 % everybody would fail.
    """
    if not 0 <= min_right <= 1:
        raise ValueError(f"`min_right` should be in [0, 1], got {min_right}: for 70 % write 0.7.")
    return [
        one.annotator
        for one in overview.annotators
        if one.gold_asked >= max(min_asked, 1) and one.gold_right < min_right * one.gold_asked
    ]


def overview(connection: sa.Connection) -> Overview:
    """See [`WorkQueue.overview`]."""
    golden = {row.id: from_stored(row) for row in connection.execute(sa.select(ITEMS).where(ITEMS.c.gold))}
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    labels: dict[str, dict[tuple[Any, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    kinds = ("comparison", "rating", "ranking", "skip")
    query = sa.select(RECORDS).where(RECORDS.c.kind.in_(kinds), RECORDS.c.source == "human", is_current())
    for row in connection.execution_options(yield_per=1000).execute(query.order_by(RECORDS.c.id)):
        tally, value = tallies[row.annotator], json.loads(row.value)
        if row.kind == "skip":
            tally.skips += 1
            continue
        _count(tally, row, value, golden.get(row.item))
        for what, unit, label in _labels(row, value):
            labels[what][unit][row.annotator] = label
    names = sorted(tallies)
    tables = {
        what: [[given.get(name) for name in names] for given in units.values() if len(given) > 1]
        for what, units in sorted(labels.items())
    }
    return Overview(
        _items_by_state(connection),
        sum(tally.answers for tally in tallies.values()),
        sum(tally.skips for tally in tallies.values()),
        [tallies[name].figures(name) for name in names],
        {what: rows for what, rows in tables.items() if rows},
    )


def _count(tally: _Tally, row: Any, value: Mapping[str, Any], gold: FeedbackItem | None) -> None:
    tally.answers += 1
    if row.seconds is not None:
        tally.seconds.append(row.seconds)
    if gold is not None and gold.gold is not None and row.kind == gold.kind:
        tally.gold_asked += 1
        tally.gold_right += is_right(gold, value)
    if row.kind == "comparison" and row.shown_order is not None and value["strength"] != 0.5:
        preferred = 0 if value["strength"] > 0.5 else 1
        tally.decided += 1
        tally.first += json.loads(row.shown_order)[0] == preferred


def _labels(row: Any, value: Mapping[str, Any]) -> list[tuple[str, tuple[Any, ...], float]]:
    if row.kind == "comparison":
        return [("comparison", (row.item,), value["strength"])]
    if row.kind == "rating":
        unit = (row.item, value.get("response"))
        return [(f"rating {name}", unit, number) for name, number in value["scales"].items()]
    rank = {response: place for place, group in enumerate(places(value["order"])) for response in group}
    return [
        ("ranking", (row.item, a, b), 0.5 if rank[a] == rank[b] else float(rank[a] < rank[b]))
        for a, b in combinations(sorted(rank), 2)
    ]


def _items_by_state(connection: sa.Connection) -> dict[str, int]:
    answered = (
        sa.select(ASSIGNMENTS.c.item, sa.func.count().label("answers"))
        .where(ASSIGNMENTS.c.state == "answered")
        .group_by(ASSIGNMENTS.c.item)
        .subquery()
    )
    answers = sa.func.coalesce(answered.c.answers, 0)
    state = sa.case(
        (ITEMS.c.gold, "gold"),
        (ITEMS.c.wanted == 0, "kept"),
        (answers >= ITEMS.c.wanted, "done"),
        (answers > 0, "begun"),
        else_="open",
    ).label("state")
    found = sa.select(state).select_from(ITEMS.outerjoin(answered, answered.c.item == ITEMS.c.id)).subquery()
    counts = Counter(dict.fromkeys(("open", "begun", "done", "gold", "kept"), 0))
    for name, number in connection.execute(sa.select(found.c.state, sa.func.count()).group_by(found.c.state)):
        counts[name] = number
    return dict(counts)
