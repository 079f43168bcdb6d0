"""What the admin sees of the work: agreement, each annotator's speed and biases, and what people wrote."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.store import Annotator, AnnotatorFigures, FeedbackItem, FeedbackRecord, FeedbackStore, Overview
from ...stats import Estimate, fleiss_kappa, krippendorff_alpha, length_bias, wilson
from .questions import text_with_parts

RESAMPLES = 400
"""Bootstrap resamples of an interval: enough to look at, and the page stays quick."""
RECENT = 20

Rows = Sequence[Sequence[float | None]]


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


@dataclass(frozen=True)
class Person:
    """An annotator on the admin's page."""

    annotator: Annotator
    figures: AnnotatorFigures | None
    gold: Estimate | None
    longer: Estimate | None


@dataclass(frozen=True)
class Said:
    """A note, a flag or a reason for a skip."""

    kind: str
    who: str
    item: str
    text: str


def agreement_of(labels: dict[str, list[list[float | None]]]) -> list[Agreement]:
    """Alpha and kappa of everything that two or more people were asked.

    Krippendorff's alpha takes any number of people an item. Fleiss' kappa needs the same number for each: it is of the items
    with the number of answers that most items have.
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


def _alpha(what: str, rows: Rows, level: Any) -> Agreement:
    try:
        estimate = krippendorff_alpha(rows, level, resamples=RESAMPLES)
    except ValueError as error:
        return Agreement(what, f"Krippendorff's alpha, {level}", None, str(error))
    return Agreement(what, f"Krippendorff's alpha, {level}", estimate)


def _kappa(what: str, rows: Rows) -> Agreement:
    given = [[x for x in row if x is not None] for row in rows]
    count = Counter(len(row) for row in given).most_common(1)[0][0]
    measure = f"Fleiss' kappa, items with {count} answers"
    try:
        return Agreement(what, measure, fleiss_kappa([row for row in given if len(row) == count], resamples=RESAMPLES))
    except ValueError as error:
        return Agreement(what, measure, None, str(error))


def people_of(people: Sequence[Annotator], overview: Overview, store: FeedbackStore) -> list[Person]:
    """Every annotator with figures, those who have not begun included."""
    figures = {one.annotator: one for one in overview.annotators}
    longer = _longer(store)
    found = []
    for person in people:
        mine = figures.get(person.id)
        gold = wilson(mine.gold_right, mine.gold_asked) if mine is not None and mine.gold_asked else None
        found.append(Person(person, mine, gold, longer.get(person.id)))
    return found


def _longer(store: FeedbackStore) -> dict[str, Estimate]:
    """p(the longer answer is better) by annotator, 0.5 where length does not matter."""
    lengths: dict[str, tuple[int, int]] = {}
    rows: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for item in store.items():
        if item.kind == "comparison":
            first, second = (len(text_with_parts(response)) for response in item.responses)
            lengths[item.id] = (first, second)
    for record in store.records(kinds=["comparison"]):
        if record.source == "human" and record.item in lengths:
            rows[record.annotator].append((record.value["strength"], *lengths[record.item]))
    found = {}
    for annotator, given in rows.items():
        unequal = [row for row in given if row[1] != row[2]]
        if len(unequal) > 1:
            strengths, first, second = np.array(unequal).T
            bias = length_bias(strengths, first, second, resamples=RESAMPLES)
            found[annotator] = Estimate(0.5 + bias.value, 0.5 + bias.low, 0.5 + bias.high, bias.n)
    return found


def said_of(store: FeedbackStore, people: Sequence[Annotator]) -> tuple[dict[str, int], list[Said]]:
    """Flags by category, and what was said last in words, newest first."""
    names = {person.id: person.name for person in people}
    counts: Counter[str] = Counter()
    last: deque[FeedbackRecord] = deque(maxlen=RECENT)
    for record in store.records(kinds=["flag", "text", "skip"]):
        if record.kind == "flag":
            counts[record.value["category"]] += 1
        last.append(record)
    said = [Said(one.kind, names.get(one.annotator, one.annotator), one.item, _words(one)) for one in reversed(last)]
    return dict(counts.most_common()), said


def _words(record: FeedbackRecord) -> str:
    value = record.value
    if record.kind != "flag":
        return str(value.get("text", value.get("reason", "")))
    return str(value["category"]) + ("" if value.get("response") is None else f" (response {value['response']})")


def prompts_of(store: FeedbackStore, said: Sequence[Said]) -> dict[str, str]:
    """The beginning of each item's prompt, for the admin to know it by."""
    items: dict[str, FeedbackItem] = {item.id: item for item in store.items(list({one.item for one in said}))}
    return {number: " ".join(text_with_parts(item.prompt).split())[:120] for number, item in items.items()}
