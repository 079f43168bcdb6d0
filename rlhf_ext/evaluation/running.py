"""A suite put to a model: answers that no crash loses, and the columns measured of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from .. import __version__
from ..data.journal import Journal
from ..generation import Answer, EndpointGenerator, Request, check_sampling
from ..generation.identity import identity, model_name
from ..stats import Estimate, clustered_mean, clustered_rate
from .suite import EMPTY, FAILED, Case, Column, Suite, check_suite


@dataclass(frozen=True)
class SuiteResult:
    """What a model answered to a suite, and what was measured of it.

    Args:
        suite (`str`), version (`str`):
            Name and version of the suite.
        model (`str`), identity (`str`):
            The model's name, and what tells it from others of that name (for a local one a hash of its weights).
        seed (`int`), samples (`int`), sampling (`dict`):
            How the answers were sampled.
        cases (`list[Case]`):
            The suite's cases.
        answers (`list[str | None]`):
            `samples` answers a case, one case after another; `None` where none could be generated.
        failures (`dict[int, str]`):
            Why, by index of the answer.
        columns (`list[Column]`):
            Figures' values: one an answer, or with `per="case"` one a case, in the same order. Where there is no answer they
            are `None`. The last two are `failed` and `empty`, which every run adds.
    """

    suite: str
    version: str
    model: str
    identity: str
    seed: int
    samples: int
    sampling: dict[str, Any]
    cases: list[Case]
    answers: list[str | None]
    failures: dict[int, str] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)

    def clusters(self, column: Column) -> list[str]:
        """The case of each of a column's values: what intervals resample together."""
        repeat = self.samples if column.per == "answer" else 1
        return [case.id for case in self.cases for _ in range(repeat)]

    def estimates(self) -> dict[str, Estimate]:
        """Every figure with its interval, by its name (`"safety.harmful_complied"`); without those that have no value."""
        found = {f"{self.suite}.{column.name}": estimate_of(column, self.clusters(column)) for column in self.columns}
        return {name: estimate for name, estimate in found.items() if estimate is not None}


def estimate_of(column: Column, clusters: Sequence[str]) -> Estimate | None:
    """A column's figure with its interval; `None` where no value is one.

    Args:
        column (`Column`):
            The values.
        clusters (`Sequence[str]`):
            One label a value: the case it belongs to.
    """
    if all(value is None for value in column.values):
        return None
    if column.kind == "rate":
        return clustered_rate(column.values, clusters, contributed=column.corpus)
    return clustered_mean(column.values, clusters)


def run_suite(
    generator: Any,
    suite: Suite,
    model: str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = False,
) -> SuiteResult:
    """Has a model answer a suite and measures the answers.

    With a cache the answers are on disk as soon as a batch of them is there: a run that is killed goes on where it was, and
    one that is done asks and measures nothing again. The key is the model's identity, the suite's version, the sampling, the
    seed and how requests are batched. Answers that failed are asked again by the next call; an exception of `measure` ends
    the run, with the answers kept.

    Args:
        generator ([`~rlhf_ext.generation.LocalGenerator`], [`~rlhf_ext.generation.EndpointGenerator`] or one with `each`):
            The model.
        suite ([`~rlhf_ext.evaluation.suite.Suite`]):
            What it is asked.
        model (`str`, *optional*):
            Its name in reports and keys; by default its own.
        seed (`int`, *optional*, defaults to `0`):
            Of the sampling. The same seed gives the same answers.
        cache (`str` or `Path`, *optional*):
            A folder for answers and values. An endpoint's model is known by name alone: give it a new folder when other
            weights are behind the name.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show a bar.

    Returns:
        [`SuiteResult`]: answers, failures and columns.

    Raises:
        TypeError: If the suite or the generator lacks something.
        ValueError: If the suite is not sound, no answer could be generated at all, or `measure` gives something that is no
            column of the suite's (which is named).
        BlockingIOError: If another process is at the same run.

    Example:
    ```python
    >>> from rlhf_ext.evaluation.running import run_suite
    >>> from rlhf_ext.evaluation.suite import Case, Column, version_of
    >>> from rlhf_ext.generation import ScriptedGenerator

    >>> class Greets:
    ...     name, samples, sampling, figures = "greets", 1, {"max_new_tokens": 8}, ["greets"]
    ...     cases = [Case("en", "Say hello."), Case("de", "Sag hallo.")]
    ...     version = version_of(cases)
    ...
    ...     def measure(self, cases, answers):
    ...         return [Column("greets", "Greets", [float("h" in answer.lower()) for answer in answers])]

    >>> result = run_suite(ScriptedGenerator(["Hello!", "Nein."]), Greets())
    >>> print(result.estimates()["greets.greets"])
    0.50 [0.09, 0.91]

    ```
    """
    check_suite(suite)
    if not callable(getattr(generator, "each", None)):
        raise TypeError(
            f"`generator` needs a method `each` (see rlhf_ext.generation); {type(generator).__name__} has none."
        )
    if hasattr(suite, "of"):
        suite = suite.of(generator)
    name = model or model_name(generator)
    provenance = {
        "suite": suite.name,
        "version": suite.version,
        "model": name,
        "identity": _identity(generator, name),
        "seed": seed,
        "samples": suite.samples,
        "sampling": {k: v for k, v in check_sampling(suite.sampling).items() if k != "seed"},
        "group": generator.group_size,
    }
    with Journal(_path(cache, provenance), provenance, "answers") as journal:
        answers, failures = _answer(generator, suite, seed, journal, progress)
        if not any(answer is not None for answer in answers):
            raise ValueError(f"{name} answered none of the {len(answers)} prompts of {suite.name!r}: {failures[0]}")

        def columns(missing: list[int]) -> list[list[dict[str, Any]]]:
            return [[asdict(column) for column in measure_answers(suite, answers)] for _ in missing]

        if failures:  # the next call asks them again
            (plain,) = columns([0])
        else:
            (plain,) = journal.ask("columns", 0, [__version__], columns)
    given = {key: provenance[key] for key in ("suite", "version", "model", "identity", "seed", "samples", "sampling")}
    return SuiteResult(
        **given, cases=list(suite.cases), answers=answers, failures=failures, columns=[Column(**c) for c in plain]
    )


def _identity(generator: Any, name: str) -> str:
    return identity(generator, f"{name}@{generator.base_url}" if isinstance(generator, EndpointGenerator) else name)


def _path(cache: str | Path | None, provenance: dict[str, Any]) -> Path | None:
    if cache is None:
        return None
    key = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()[:16]
    words = (re.sub(r"[^\w.-]+", "_", provenance[name])[-40:] for name in ("suite", "model"))
    return Path(cache) / f"{'-'.join([*words, key])}.jsonl"


def _answer(
    generator: Any, suite: Suite, seed: int, journal: Journal, progress: bool
) -> tuple[list[str | None], dict[int, str]]:
    """Answers in order, and why some are missing. Whole groups of requests at a time: texts of one depend on no other."""
    rows = [(case, sample) for case in suite.cases for sample in range(suite.samples)]
    size, known = generator.group_size, journal.known("answers", 0)
    groups = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]
    open_rows = [row for group in groups if not all(str(row) in known for row in group) for row in group]
    answers: list[str | None] = [known.get(str(row)) for row in range(len(rows))]
    failures: dict[int, str] = {}
    waiting = {number: set(group) for number, group in enumerate(groups) if group[0] in set(open_rows)}
    requests = (Request(rows[row][0].prompt, _seed_of(seed, *rows[row])) for row in open_rows)
    bar = tqdm(
        total=len(rows), initial=len(rows) - len(open_rows), desc=suite.name, unit="answer", disable=not progress
    )
    with bar, closing(generator.each(requests, **suite.sampling)) as asked:
        for row, answer in _by_row(asked, open_rows):
            answers[row] = answer.text if isinstance(answer, Answer) else None
            if not isinstance(answer, Answer):
                failures[row] = f"{type(answer).__name__}: {answer}"
            bar.update()
            group = waiting[row // size]
            group.discard(row)
            if not group:
                done = {str(i): answers[i] for i in groups[row // size] if answers[i] is not None}
                journal.record("answers", 0, done)
    return answers, failures


def _by_row(asked: Iterator[tuple[int, Any]], rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    for index, answer in asked:
        yield rows[index], answer


def _seed_of(seed: int, case: Case, sample: int) -> int:
    """A seed of its own for each request, whatever other cases there are."""
    return int.from_bytes(hashlib.sha256(f"{seed} {sample} {case.id}".encode()).digest()[:4])


def measure_answers(suite: Suite, answers: Sequence[str | None]) -> list[Column]:
    """The suite's columns with a value for every answer or case, None where there was nothing to measure.

    Args:
        suite ([`~rlhf_ext.evaluation.suite.Suite`]):
            What measures.
        answers (`list[str | None]`):
            `samples` answers a case, one case after another; `None` where none could be generated.

    Returns:
        `list[Column]`: those of the suite, then `failed` and `empty`.

    Raises:
        ValueError: If `measure` gives something that is no column of the suite's.
    """
    owners = [index for index in range(len(suite.cases)) for _ in range(suite.samples)]
    present = [row for row, answer in enumerate(answers) if answer is not None]
    whole = list(dict.fromkeys(owners[row] for row in present))
    given = suite.measure([suite.cases[owners[row]] for row in present], [answers[row] or "" for row in present])
    columns = []
    for column in _checked(suite, given, {"answer": len(present), "case": len(whole)}):
        places, length = (present, len(answers)) if column.per == "answer" else (whole, len(suite.cases))
        values: list[float | None] = [None] * length
        for place, value in zip(places, column.values, strict=True):
            values[place] = None if value is None else float(value)
        columns.append(replace(column, values=values))
    failed: list[float | None] = [float(answer is None) for answer in answers]
    empty: list[float | None] = [None if answer is None else float(not answer.strip()) for answer in answers]
    return [
        *columns,
        Column(FAILED, "Answers that could not be generated", failed, better="lower"),
        Column(EMPTY, "Empty answers", empty, better="lower"),
    ]


def _checked(suite: Suite, given: Any, lengths: dict[str, int]) -> list[Column]:
    if not isinstance(given, list) or not all(isinstance(column, Column) for column in given):
        raise ValueError(f"`measure` of the suite {suite.name!r} must give a list of Column, got {given!r}.")
    names: set[str] = set()
    for column in given:
        if column.name not in suite.figures:
            raise ValueError(
                f"`measure` of {suite.name!r} gave {column.name!r}, which is not in its `figures`: {suite.figures}."
            )
        if column.name in names:
            raise ValueError(f"`measure` of the suite {suite.name!r} gave {column.name!r} twice.")
        if len(column.values) != lengths[column.per]:
            raise ValueError(
                f"`measure` of {suite.name!r} gave {len(column.values)} values of {column.name!r}, one for each {column.per}, where "
                f"there are {lengths[column.per]}."
            )
        names.add(column.name)
    return given
