"""lm-eval's samples as the answers and columns of a [`SuiteResult`]."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..running import SuiteResult, measure_answers
from ..suite import EMPTY, FAILED, Case, Column, Suite
from ..suites import SUITES, load_suite

_OWN = {"safety", "instructions"} & set(SUITES)
"""Suites whose settings name nothing that is read or imported."""

Metrics = Mapping[str, tuple[float, float | None]]


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The lines of a `samples_*.jsonl`.

    Raises:
        ValueError: If a line is no sample of lm-eval; it is named.
    """
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                missing = [name for name in ("doc_id", "doc_hash", "filter", "filtered_resps") if name not in row]
            except (json.JSONDecodeError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: not JSON of lm-eval ({error}).") from error
            if missing:
                raise ValueError(f"{path}, line {number}: a sample of lm-eval has `{missing[0]}`, this one does not.")
            rows.append(row)
    return rows


def result_of(
    task: str, found: Mapping[str, Any], model: str, metrics: Metrics, samples: Sequence[Mapping[str, Any]]
) -> tuple[SuiteResult | None, set[str]]:
    """A task's samples as a result, and the metrics that it tells; None where no metric is the mean of its samples.

    Args:
        task (`str`), found (`dict`), model (`str`):
            The task, the whole file of results, and the model's name.
        metrics (`dict`):
            Of the task, by name, from [`~rlhf_ext.evaluation.harness.reading.metrics_of`].
        samples (`list[dict]`):
            Of all filters.
    """
    config = found["configs"][task]
    by_doc: dict[int, dict[str, Mapping[str, Any]]] = {}
    for sample in samples:
        by_doc.setdefault(sample["doc_id"], {})[sample["filter"]] = sample
    docs = dict(sorted(by_doc.items()))
    shared: dict[str, Any] = {
        "model": model,
        "identity": f"{model} {found.get('config', {}).get('model_sha') or ''}".strip(),
        "seed": int(found.get("config", {}).get("random_seed") or 0),
        "sampling": _sampling(config),
    }
    if (suite := _own_suite(config)) is not None and len(docs) == len(suite.cases) * suite.samples:
        answers: list[str | None] = [_answer(next(iter(filters.values()))) for filters in docs.values()]
        columns = measure_answers(suite, answers)
        whole = SuiteResult(
            suite.name,
            suite.version,
            samples=suite.samples,
            cases=list(suite.cases),
            answers=answers,
            columns=columns,
            **shared,
        )
        return whole, {*suite.figures, EMPTY}
    columns = _columns(task, found, metrics, docs)
    if not columns:
        return None, set()
    firsts = [next(iter(filters.values())) for filters in docs.values()]
    cases = [Case(str(one["doc_id"]), _prompt(one), columns={"doc_hash": one["doc_hash"]}) for one in firsts]
    version = f"{found.get('versions', {}).get(task)}, {found.get('n-shot', {}).get(task, 0)}-shot"
    result = SuiteResult(
        task, version, samples=1, cases=cases, answers=[_answer(one) for one in firsts], columns=columns, **shared
    )
    return result, {column.name for column in columns} - {FAILED}


def _columns(
    task: str, found: Mapping[str, Any], metrics: Metrics, docs: Mapping[int, Mapping[str, Mapping[str, Any]]]
) -> list[Column]:
    columns = []
    for name, (value, _) in metrics.items():
        metric, _, filtered = name.partition(",")
        values = [_value(filters, metric, filtered) for filters in docs.values()]
        known = [one for one in values if one is not None]
        # A metric over all answers at once (BLEU, F1) has samples too, of which it is not the mean.
        if not known or not math.isclose(sum(known) / len(known), value, rel_tol=1e-6, abs_tol=1e-9):
            continue
        kind: Literal["rate", "mean"] = "rate" if all(0 <= one <= 1 for one in known) else "mean"
        columns.append(Column(name, name, values, kind, _better(found, task, metric)))
    return columns


def _value(filters: Mapping[str, Mapping[str, Any]], metric: str, filtered: str) -> float | None:
    sample = filters.get(filtered) if filtered else next(iter(filters.values()))
    value = None if sample is None else sample.get(metric)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def _better(found: Mapping[str, Any], task: str, metric: str) -> Literal["higher", "lower"] | None:
    higher = found.get("higher_is_better", {}).get(task, {}).get(metric)
    return None if higher is None else "higher" if higher else "lower"


def _own_suite(config: Mapping[str, Any]) -> Suite | None:
    """The project's own suite that the task was exported from, if it is the same today.

    A suite of one's own, `module:function`, is not made again: a file of results must not say what is imported and called.
    """
    told = config.get("metadata") or {}
    if told.get("source") not in _OWN or not isinstance(told.get("settings"), dict):
        return None
    suite = load_suite(told["source"], **told["settings"])
    return suite if suite.version == told.get("version") else None


def _sampling(config: Mapping[str, Any]) -> dict[str, Any]:
    given = config.get("generation_kwargs") or {}
    return {name: value for name, value in given.items() if isinstance(value, bool | int | float)}


def _prompt(sample: Mapping[str, Any]) -> str:
    first = _arguments(sample)[:1]
    return str(first[0][0]) if first and first[0] else json.dumps(sample.get("doc", ""))


def _answer(sample: Mapping[str, Any]) -> str:
    """What was written, or the choice that was likeliest."""
    given = sample["filtered_resps"]
    if given and all(isinstance(one, str) for one in given):
        return str(given[0])
    arguments = _arguments(sample)
    if len(given) == len(arguments) > 1 and all(isinstance(one, list) for one in given):
        best = max(range(len(given)), key=lambda place: float(given[place][0]))
        return str(arguments[best][-1])
    return json.dumps(given)


def _arguments(sample: Mapping[str, Any]) -> list[list[Any]]:
    """Arguments of each request: a dict of dicts on disk, lists in older releases."""
    given = sample.get("arguments") or []
    requests = list(given.values()) if isinstance(given, Mapping) else list(given)
    return [list(one.values()) if isinstance(one, Mapping) else list(one) for one in requests]
