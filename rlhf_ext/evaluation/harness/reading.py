"""lm-eval's results as ours: with its samples, row by row; without them, by its standard errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

from ...stats import Estimate, wilson
from ..report import Measure
from ..running import SuiteResult
from .samples import read_samples, result_of

_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+)\.json$")

FROM_STDERR = "Interval from lm-eval's standard error, for want of samples that it is the mean of"
NO_STDERR = "lm-eval gives no standard error, and there are no samples that it is the mean of"


@dataclass(frozen=True)
class HarnessResult:
    """One run of lm-eval.

    Args:
        path (`Path`):
            Its `results_*.json`.
        model (`str`):
            As it was named.
        results (`list[SuiteResult]`):
            The tasks that have samples, for [`~rlhf_ext.evaluation.comparison.compare`] and gates: figures are `task.metric`.
        measures (`list[Measure]`):
            What is known by value and standard error alone.
        notes (`list[str]`):
            Where intervals come from, and what could not be read.
    """

    path: Path
    model: str
    results: list[SuiteResult] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_results(path: str | Path) -> HarnessResult:
    """Reads what `lm_eval --output_path` wrote.

    A metric that is the mean of its samples (`--log_samples`, in files beside the results) gets the intervals of
    [`~rlhf_ext.evaluation.running.estimate_of`]: Wilson's for yes and no. Anything else (a corpus BLEU, a perplexity, a run
    without samples) gets lm-eval's own standard error, or none; `notes` say which is which. Tasks that
    [`export_suite`] made of the project's own suites are measured anew from their
    answers, with all figures. Groups of tasks are left to their tasks.

    Args:
        path (`str` or `Path`):
            A `results_*.json`, or a folder with one in it.

    Returns:
        [`HarnessResult`].

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a folder holds several (they are named), or a file is not lm-eval's (it, and the line, is named).
    """
    file = _file(Path(path))
    found = _json(file)
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict) or "configs" not in found:
        raise ValueError(f"{file} is no file of results of lm-eval: it has no `results` and `configs`.")
    read = HarnessResult(file, str(found.get("model_name") or found.get("config", {}).get("model_args") or "unknown"))
    for task in found["results"]:
        if found.get("group_subtasks", {}).get(task) or task not in found["configs"]:
            continue
        _read_task(task, found, _samples_file(file, task), read)
    if not read.results and not read.measures:
        raise ValueError(f"{file} has no task with a number in it.")
    return read


def _read_task(task: str, found: Mapping[str, Any], samples: Path | None, read: HarnessResult) -> None:
    metrics = metrics_of(found["results"][task])
    counted: set[str] = set()
    if samples is not None:
        result, counted = result_of(task, found, read.model, metrics, read_samples(samples))
        if result is not None:
            read.results.append(result)
            read.notes.append(f"{task}: intervals from the {len(result.cases):,} samples in {samples.name}.")
    rest = {name: pair for name, pair in metrics.items() if name not in counted}
    for name, (value, error) in rest.items():
        if not math.isfinite(value):
            read.notes.append(f"{task}: {name} is {value}, and left out.")
            continue
        share = name.partition(",")[0] in _shares(found["configs"][task])
        read.measures.append(_measure(task, name, value, error, _size(found, task), share))
    if rest and samples is None:
        read.notes.append(
            f"{task}: no samples (run lm_eval with --log_samples), so intervals from its standard errors."
        )
    elif rest:
        read.notes.append(f"{task}: not means of samples, so with lm-eval's standard error if any: {', '.join(rest)}.")


def metrics_of(values: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """(value, standard error) of each metric, by `"metric"`, or `"metric,filter"` where there are several filters."""
    found: dict[str, tuple[float, float | None]] = {}
    keys = [key for key in values if "," in key and "_stderr," not in key]
    filters = {key.partition(",")[2] for key in keys}
    for key in keys:
        metric, _, filtered = key.partition(",")
        value, error = values[key], values.get(f"{metric}_stderr,{filtered}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        known = float(error) if isinstance(error, int | float) and math.isfinite(error) else None
        found[key if len(filters) > 1 else metric] = (float(value), known)
    return found


def _shares(config: Mapping[str, Any]) -> set[str]:
    """Metrics that are means over documents. A figure over all answers at once that is 0 is no share of documents."""
    listed = config.get("metric_list") or [{"metric": name, "aggregation": "mean"} for name in ("acc", "acc_norm")]
    return {str(one["metric"]) for one in listed if one.get("aggregation") == "mean"}


def _measure(task: str, name: str, value: float, error: float | None, n: int, share: bool) -> Measure:
    note = FROM_STDERR
    if error is None:
        estimate, note = Estimate(value, -math.inf, math.inf, n), NO_STDERR
    elif share and error == 0 and value in (0.0, 1.0):
        # All yes or all no: the standard error of 0 says nothing of what other documents would give.
        estimate, note = wilson(round(value * n), n), f"All {n:,} documents alike: Wilson's interval"
    else:
        reach = NormalDist().inv_cdf(0.975) * error
        estimate = Estimate(value, value - reach, value + reach, n)
    return Measure(f"{task}.{name}", name, estimate, note=note, group=task)


def _size(found: Mapping[str, Any], task: str) -> int:
    sizes = found.get("n-samples", {}).get(task, {})
    return max(1, int(sizes.get("effective") or found["results"][task].get("sample_len") or 1))


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"There is no {path}: give lm-eval's results_*.json, or the folder that it is in.")
    files = sorted(file for file in path.rglob("*.json") if file.name.startswith("results") or _DATE.search(file.name))
    if not files:
        raise FileNotFoundError(f"There is no results_*.json of lm-eval in {path}.")
    if len(files) > 1:
        raise ValueError(f"{path} holds {len(files)} results; give one: {', '.join(map(str, files))}.")
    return files[0]


def _samples_file(file: Path, task: str) -> Path | None:
    dated = _DATE.search(file.name)
    # lm-eval writes a task's name into a file's with what file systems refuse replaced.
    name = re.sub(r"\W", "_", task)
    names = [f"samples_{one}_{dated[1]}.jsonl" for one in (task, name)] if dated else []
    return next((file.with_name(one) for one in names if file.with_name(one).is_file()), None)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}).") from error
