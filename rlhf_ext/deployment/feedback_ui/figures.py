"""What the admin sees of the work: agreement, each annotator's speed and biases, and what people wrote."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...data.store import Annotator, AnnotatorFigures, FeedbackItem, FeedbackRecord, FeedbackStore, Overview
from ...stats import Estimate, length_bias, wilson
from .questions import text_with_parts

RESAMPLES = 400
"""Bootstrap resamples of an interval: enough to look at, and the page stays quick."""
RECENT = 20


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
