"""Which answers a report shows: what changed most, the worst there are, and some of every category."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import text_of
from ._report_plots import as_pair
from .report import Example, replace_file
from .running import SuiteResult
from .suite import EMPTY, FAILED, Column

WORSE, BETTER, WORST = "What got worse", "What got better", "The worst answers now"
_EPSILON = 1e-9


def examples(after: SuiteResult, before: SuiteResult | None = None, most: int = 6, each: int = 5) -> list[Example]:
    """Answers worth reading, side by side where there are two models.

    An answer's badness is the sum over its figures that have a better way: a rate counts from 0 to 1, a mean by how many
    standard deviations it lies on the bad side of the average; a figure of several samples together does not count. What changed most is what differs most in it.

    Args:
        after ([`SuiteResult`]), before ([`SuiteResult`], *optional*):
            The model, and the one to compare with.
        most (`int`, *optional*, defaults to `6`):
            Answers of each of: what got worse, what got better, the worst now. Categories take turns.
        each (`int`, *optional*, defaults to `5`):
            Answers of each category, the first ones of the suite, whatever they are like.

    Returns:
        `list[Example]`: with their figures as scores.
    """
    owners = [case for case in after.cases for _ in range(after.samples)]
    table = _table(after)
    bad = _badness(after, after)
    found: list[tuple[str, Sequence[int]]] = []
    if before is not None:
        change = bad - _badness(before, after)
        found += [(WORSE, _top(change, owners, most)), (BETTER, _top(-change, owners, most))]
    found.append((WORST, _top(bad, owners, most)))
    firsts: dict[str, list[int]] = {}
    for row, case in enumerate(owners):
        firsts.setdefault(case.category, []).append(row)
    found.append(("Answers by category", [row for rows in firsts.values() for row in rows[:each]]))
    old = None if before is None else _table(before)
    return [
        Example(
            prompt=text_of(owners[row].prompt),
            before=None if before is None else _answer(before, row),
            after=_answer(after, row),
            category=owners[row].category,
            scores=_scores(row, table, old),
            group=f"{after.suite}: {group[0].lower()}{group[1:]}",
        )
        for group, rows in found
        for row in rows
    ]


def write_answers(path: Path, after: SuiteResult, before: SuiteResult | None = None) -> None:
    """Writes every answer with its values as JSON lines, for those who want to look at all of them."""
    table, old = _table(after), None if before is None else _table(before)
    lines = []
    for row in range(len(after.answers)):
        case = after.cases[row // after.samples]
        line: dict[str, Any] = {"case": case.id, "category": case.category, "prompt": case.prompt}
        if before is not None and old is not None:
            line |= {"before": before.answers[row], "before_values": {c.name: v[row] for c, v in old}}
        line |= {"after": after.answers[row], "after_values": {c.name: v[row] for c, v in table}}
        lines.append(json.dumps(line) + "\n")
    replace_file(path, "".join(lines))


def _table(result: SuiteResult) -> list[tuple[Column, list[float | None]]]:
    """Columns with a value for each answer, without those of the whole corpus, which say nothing of one."""
    repeat = result.samples
    return [
        (one, one.values if one.per == "answer" else [value for value in one.values for _ in range(repeat)])
        for one in result.columns
        if not one.corpus
    ]


def _badness(result: SuiteResult, scale: SuiteResult) -> NDArray[np.float64]:
    """One number an answer; means are scaled by those of `scale`, so that two results can be subtracted."""
    total = np.zeros(len(result.answers))
    scales = {column.name: values for column, values in _table(scale)}
    for column, values in _table(result):
        # What is said of all samples of a case is not the fault of any one of them.
        if column.better is None or (column.per == "case" and result.samples > 1):
            continue
        numbers = _floats(values)
        if column.kind == "mean":
            basis = _floats(scales.get(column.name, values))
            if np.isnan(basis).all() or not np.nanstd(basis) > _EPSILON:
                continue
            numbers = (numbers - np.nanmean(basis)) / np.nanstd(basis)
        worse = numbers if column.better == "lower" else (1 - numbers if column.kind == "rate" else -numbers)
        total += np.nan_to_num(worse)
    return total


def _floats(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values])


def _top(amounts: NDArray[np.float64], owners: Sequence[Any], most: int) -> list[int]:
    """Rows with the largest amounts above 0, one of each category in turn, one answer a case."""
    queues: dict[str, list[int]] = {}
    seen: set[str] = set()
    for row in np.argsort(-amounts, kind="stable").tolist():
        if amounts[row] > _EPSILON and owners[row].id not in seen:
            seen.add(owners[row].id)
            queues.setdefault(owners[row].category, []).append(row)
    return [row for _, row in zip(range(most), _in_turn(list(queues.values())), strict=False)]


def _in_turn(queues: Sequence[Sequence[int]]) -> Iterator[int]:
    for rank in range(max(map(len, queues), default=0)):
        yield from (queue[rank] for queue in queues if rank < len(queue))


def _answer(result: SuiteResult, row: int) -> str:
    answer = result.answers[row]
    if answer is None:
        return f"[no answer could be generated: {result.failures.get(row, 'unknown')}]"
    return answer if answer.strip() else "[an empty answer]"


def _scores(row: int, table: Any, old: Any) -> dict[str, tuple[float, float]]:
    before = {} if old is None else {column.name: values[row] for column, values in old}
    found = {}
    for column, values in table:
        pair = (before.get(column.name), values[row])
        if any(pair) or (column.name not in (FAILED, EMPTY) and pair != (None, None)):
            found[column.label] = as_pair(pair)
    return found
