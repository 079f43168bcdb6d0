"""The model before and after, put to suites: a stage of a run whose results are kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation.answers_shown import write_answers
from ..evaluation.automatic import AutomaticSuite
from ..evaluation.page import evaluation_report
from ..evaluation.report import replace_file, write_report
from ..evaluation.running import SuiteResult, measure_answers, run_suite
from ..evaluation.suite import Case, Column
from .evaluation import Suites
from .stages import Run, answer_length
from .state import on_main

Pair = tuple[SuiteResult, SuiteResult]
"""What a suite gave before and after."""


def folder_of(run: Run) -> Path:
    """Where the results are."""
    return run.folder / "evaluation"


def put_to_suites(run: Run, suites: Suites, policy: Path, answers: tuple[list[str], list[str]]) -> dict[str, Any]:
    """Asks both models and measures their answers, on the main process; a run that was killed asks nothing twice.

    Args:
        run ([`Run`]):
            The run.
        suites ([`Suites`]):
            What to measure.
        policy (`Path`):
            The model after.
        answers (`tuple[list[str], list[str]]`):
            Answers to the held-out rows, before and after.

    Returns:
        `dict`: the versions of the suites; the results are in a file, see [`results_of`].
    """

    def measured() -> dict[str, Any]:
        sides = [_side(run, suites, path, given) for path, given in zip((None, policy), answers, strict=True)]
        plain = [[asdict(result) for result in pair] for pair in zip(*sides, strict=True)]
        folder_of(run).mkdir(parents=True, exist_ok=True)
        replace_file(folder_of(run) / "results.json", json.dumps(plain))
        return {"suites": suites.versions}

    return on_main(measured)


def results_of(run: Run) -> list[Pair]:
    """What [`put_to_suites`] found."""
    path = folder_of(run) / "results.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    return [(_result(before), _result(after)) for before, after in plain]


def write_evaluation(run: Run, pairs: Sequence[Pair], suites: Suites, title: str) -> Path:
    """The page on the suites, with more than the report of the run has: examples, categories, every answer as JSON lines."""
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    path = write_report(evaluation_report(after, before, suites.gate, title), folder_of(run))
    for old, new in pairs:
        write_answers(folder_of(run) / f"{new.suite}.jsonl", new, old)
    return path


def _side(run: Run, suites: Suites, adapter: Path | None, answers: list[str]) -> list[SuiteResult]:
    """All suites for one model, which is gone from memory afterwards."""
    name = run.base if adapter is None else str(adapter)
    reads_model = any(hasattr(metric, "of") for suite in suites.on_answers for metric in suite.metrics)
    generator = None
    if suites.asked or reads_model:
        generator = run.writer(adapter, 2 * run.config.batch_size)
    found = [_measured(run, suite, name, answers, generator) for suite in suites.on_answers]
    cache = folder_of(run) / "cache"
    return found + [run_suite(generator, suite, name, run.config.seed, cache, progress=True) for suite in suites.asked]


def _measured(run: Run, suite: AutomaticSuite, name: str, answers: list[str], generator: Any) -> SuiteResult:
    """A suite on answers that are there already."""
    sampling = {"temperature": 0.0, "max_new_tokens": answer_length(run)}
    columns = measure_answers(suite if generator is None else suite.of(generator), answers)
    return SuiteResult(
        suite=suite.name,
        version=suite.version,
        model=name,
        identity=name,
        seed=run.config.seed,
        samples=1,
        sampling=sampling,
        cases=suite.cases,
        answers=list(answers),
        columns=columns,
    )


def _result(plain: dict[str, Any]) -> SuiteResult:
    made: dict[str, Any] = {
        "cases": [Case(**case) for case in plain["cases"]],
        "columns": [Column(**column) for column in plain["columns"]],
        "failures": {int(row): why for row, why in plain["failures"].items()},
    }
    return SuiteResult(**{**plain, **made})
