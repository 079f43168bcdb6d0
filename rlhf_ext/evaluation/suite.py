"""What an evaluation suite is: prompts, how they are to be answered, and what is measured of the answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from ..generation import check_sampling
from ..types import Message

FAILED, EMPTY = "failed", "empty"
"""Figures that every run adds to those of its suite: answers that could not be generated, and answers without a word."""


@dataclass(frozen=True)
class Case:
    """One prompt of a suite.

    Args:
        id (`str`):
            Stable, and unique in its suite: what answers of different runs are paired by.
        prompt (`str` or `list[dict]`):
            Text or messages.
        category (`str`, *optional*, defaults to `""`):
            Kind of prompt (`"weapons"`, `"coding"`), for figures by category.
        columns (`dict`, *optional*):
            What measures need, plain values: a reference, a constraint, the harm, what it is a variant of.
    """

    id: str
    prompt: str | list[Message]
    category: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """The raw values of one figure, from which its value and interval are made.

    Args:
        name (`str`):
            Key of the figure, as in gates and logs, unique in its suite (`"harmful_complied"`).
        label (`str`):
            What a reader sees (`"Complies with harmful requests"`).
        values (`list[float | None]`):
            One value an answer that `measure` was given, in its order; with `per="case"`, one for each different case, in the
            order of their first answers. `None` where the figure does not apply or could not be measured, never 0 for it.
        kind (`Literal["rate", "mean"]`, *optional*, defaults to `"rate"`):
            A rate has values in [0, 1] and is shown in per cent; a mean is in any unit.
        better (`Literal["higher", "lower"]`, *optional*):
            Which way is better; `None` where neither is.
        per (`Literal["answer", "case"]`, *optional*, defaults to `"answer"`):
            `"case"` is for what is reduced over the samples of a case: the most toxic of k, any of k.
        note (`str`, *optional*, defaults to `""`):
            One sentence on what the figure means.
        by_category (`bool`, *optional*, defaults to `False`):
            Whether the report shows it for each category as well.
        corpus (`bool`, *optional*, defaults to `False`):
            Whether the figure is one of all answers together, no mean (corpus BLEU, macro-F1). Its values are then what each
            case contributes, from [`~rlhf_ext.stats.contributions`]: their mean is the figure. A rate's may lie outside of [0, 1].

    Raises:
        ValueError: If a field is something else, a value is infinite, a rate has a value outside of [0, 1], or a figure of the
            whole corpus is given per answer or by category.
    """

    name: str
    label: str
    values: list[float | None]
    kind: Literal["rate", "mean"] = "rate"
    better: Literal["higher", "lower"] | None = None
    per: Literal["answer", "case"] = "answer"
    note: str = ""
    by_category: bool = False
    corpus: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", ("rate", "mean")),
            ("better", ("higher", "lower", None)),
            ("per", ("answer", "case")),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"`{name}` of the column {self.name!r} must be one of {allowed}, got {value!r}.")
        if self.corpus and (self.per != "case" or self.by_category):
            raise ValueError(
                f"The column {self.name!r} is of the whole corpus: give `per='case'`, and no `by_category`."
            )
        for row, number in enumerate(self.values):
            if number is None:
                continue
            if not math.isfinite(number):
                raise ValueError(f"The column {self.name!r} has {number} in row {row}: give a number, or None.")
            if self.kind == "rate" and not self.corpus and not 0 <= number <= 1:
                raise ValueError(f"The column {self.name!r} is a rate and has {number} in row {row}, not in [0, 1].")


@runtime_checkable
class Suite(Protocol):
    """Prompts, how they are to be answered, and what is measured of the answers.

    Attributes:
        name (`str`):
            Short, as on the command line (`"safety"`). Figures are known as `name.column`.
        version (`str`):
            Changes with everything that changes results: cases, settings, judge. Take it from [`version_of`].
        cases (`list[Case]`):
            The prompts.
        samples (`int`):
            Answers a case, at least 1.
        sampling (`dict`):
            How answers are sampled, as in [`~rlhf_ext.generation.check_sampling`]; without a seed, which is the run's.
        figures (`Sequence[str]`):
            Names of the columns that `measure` may give: what thresholds can be set on, known before a model is loaded.

    A suite that measures with the model itself, not by its answers alone, also has `of(generator)`, which gives the same
    suite for that model.
    """

    name: str
    version: str
    cases: list[Case]
    samples: int
    sampling: dict[str, Any]
    figures: Sequence[str]

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """The columns of answers: `cases[i]` is the case of `answers[i]`, so that a case comes once for each of its samples.

        Answers that failed to be generated never come here: a case may have fewer than `samples` answers, or none. An
        exception ends the run; it is never made into a value.
        """
        ...


def version_of(cases: Sequence[Case], **settings: Any) -> str:
    """A hash of what decides a suite's results, for its `version`.

    Args:
        cases (`Sequence[Case]`):
            All of its cases.
        **settings:
            What else changes results, as plain values: sampling, number of samples, thresholds, the judge's name.

    Returns:
        `str`: 12 hexadecimal digits.

    Raises:
        TypeError: If something is no plain value, which has no stable hash.

    Example:
    ```python
    >>> from rlhf_ext.evaluation.suite import Case, version_of

    >>> cases = [Case("greeting-1", "Say hello.")]
    >>> version_of(cases, samples=1) == version_of(cases, samples=1)
    True
    >>> version_of(cases, samples=1) == version_of(cases, samples=4)
    False

    ```
    """
    text = json.dumps([[asdict(case) for case in cases], settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def sampling_of(
    given: Mapping[str, Any] | None, samples: int, max_new_tokens: int, temperature: float = 1.0, **more: Any
) -> dict[str, Any]:
    """How a suite samples: what is given over its defaults, so that a limit of tokens alone leaves it greedy.

    Args:
        given (`dict`, *optional*):
            Sampling arguments; `None` as a value is the suite's default.
        samples (`int`), temperature (`float`, *optional*, defaults to `1.0`):
            One sample is greedy by default; several are drawn at `temperature`.
        max_new_tokens (`int`), **more:
            The other defaults.

    Returns:
        `dict[str, Any]`: for `Suite.sampling`, and for the suite's version.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.suite import sampling_of
    >>> sampling_of({"max_new_tokens": 16}, samples=1, max_new_tokens=256)
    {'temperature': 0.0, 'max_new_tokens': 16}

    ```
    """
    default = {"temperature": 0.0 if samples == 1 else temperature, "max_new_tokens": max_new_tokens, **more}
    return {**default, **{name: value for name, value in (given or {}).items() if value is not None}}


def check_suite(suite: Any) -> None:
    """Refuses a suite that could not be run or trusted, before anything is asked.

    Raises:
        TypeError: If it lacks a part of the protocol (which is named), or a sampling argument is unknown.
        ValueError: If it has no cases, two cases share an id or a prompt with equal columns, or a setting is out of range.
    """
    parts = ("name", "version", "cases", "samples", "sampling", "figures", "measure")
    if missing := [part for part in parts if not hasattr(suite, part)]:
        raise TypeError(f"{type(suite).__name__} is no suite: it has no `{missing[0]}` (see evaluation/suite.py).")
    if not suite.cases:
        raise ValueError(f"The suite {suite.name!r} has no cases.")
    if suite.samples < 1:
        raise ValueError(f"The suite {suite.name!r} asks for {suite.samples} samples a case; at least 1 is needed.")
    if reserved := {FAILED, EMPTY} & set(suite.figures):
        raise ValueError(
            f"The suite {suite.name!r} has a figure {min(reserved)!r}, which every suite is given by the run."
        )
    if "seed" in suite.sampling:
        raise ValueError(f"The suite {suite.name!r} fixes a seed in `sampling`: the seed is given to the run.")
    temperature = check_sampling(suite.sampling)["temperature"]
    if suite.samples > 1 and not temperature:
        raise ValueError(
            f"{suite.samples} samples of the suite {suite.name!r} at temperature 0 would all be the same."
        )
    check_cases(suite.cases, suite.name)


def check_cases(cases: Sequence[Case], name: str) -> None:
    """Refuses duplicates, which would count twice and make intervals too narrow.

    Raises:
        ValueError: If two cases share an id, or a prompt with equal category and columns; the ids are named.
    """
    counts = Counter(case.id for case in cases)
    if repeated := [id for id, count in counts.items() if count > 1]:
        raise ValueError(f"{name}: {len(repeated)} ids come more than once, {repeated[0]!r} the first.")
    seen: dict[str, str] = {}
    for case in cases:
        key = json.dumps([case.prompt, case.category, case.columns], sort_keys=True)
        if key in seen:
            raise ValueError(
                f"{name}: the cases {seen[key]!r} and {case.id!r} are the same prompt with the same columns: it would count "
                "twice. Remove one."
            )
        seen[key] = case.id
