"""What a metric is: a reward function with a name, a kind and a direction, or a figure of all answers together."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

from ...rewards.calling import like_prompt, score_rows
from ...stats import contributions
from ...types import RewardFunction
from ..suite import Case, Column
from ..told_apart import told_apart

Kind = Literal["rate", "mean"]
Better = Literal["higher", "lower"] | None

# What a caller passes beside the columns; a reward function that asks for them asks for no column.
_PASSED = {"prompts", "completions", "log_extra", "log_metric", "trainer_state"}


@dataclass(frozen=True)
class Answers:
    """Answers and the cases they belong to, as reward functions take them.

    Args:
        cases (`list[Case]`), texts (`list[str]`):
            `cases[i]` is the case of `texts[i]`.
    """

    cases: list[Case]
    texts: list[str]

    @property
    def inputs(self) -> dict[str, list[Any]]:
        """`prompts`, `completions` (messages where the prompt is) and every column, one value an answer."""
        names = dict.fromkeys(name for case in self.cases for name in case.columns)
        prompts = [case.prompt for case in self.cases]
        completions = [like_prompt(prompt, text) for prompt, text in zip(prompts, self.texts, strict=True)]
        columns = {name: [case.columns.get(name) for case in self.cases] for name in names}
        return {**columns, "prompts": prompts, "completions": completions}


@runtime_checkable
class Metric(Protocol):
    """What an automatic suite measures.

    Attributes:
        figures (`Sequence[str]`):
            Names of the columns that `measure` gives.
        settings (`Any`):
            Plain values that decide its results, for the suite's version.
    """

    figures: Sequence[str]
    settings: Any

    def check(self, cases: Sequence[Case]) -> None:
        """Refuses cases that it could not measure, before anything is generated."""
        ...

    def measure(self, answers: Answers) -> list[Column]:
        """Its columns, with a value for each answer, or for each case."""
        ...


class AnswerMetric:
    """Any reward function as a metric: one value an answer.

    Args:
        function (`RewardFunction`):
            Called with `prompts`, `completions` (messages where the prompt is) and the columns of the rows. None is left out.
        name (`str`, *optional*), label (`str`, *optional*):
            Key of the figure and what a reader sees. Default to the function's name.
        kind (`str`, *optional*, defaults to `"mean"`):
            `"rate"` for scores in [0, 1], which are shown in per cent.
        better (`str`, *optional*, defaults to `"higher"`):
            `"higher"`, `"lower"`, or `None` where neither is.
        note (`str`, *optional*, defaults to `""`):
            One sentence on what it means.
        reads (`Sequence[str]`, *optional*):
            Columns that it needs. By default its attribute `column`, and the keywords of its call that have no default.

    Raises:
        TypeError: If it is not callable.
        ValueError: If it is a lambda without a name; from `check`, if a column is missing.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import AnswerMetric
    >>> def polite(completions, **columns):
    ...     return [float("please" in text.lower()) for text in completions]

    >>> AnswerMetric(polite, kind="rate").figures
    ('polite',)

    ```
    """

    def __init__(
        self,
        function: RewardFunction | Callable[..., Any],
        name: str | None = None,
        label: str | None = None,
        kind: Kind = "mean",
        better: Better = "higher",
        note: str = "",
        reads: Sequence[str] | None = None,
    ):
        if not callable(function):
            raise TypeError(f"A metric is a reward function, a name or a Metric, got {function!r}.")
        if name is None and _name_of(function) == "<lambda>":
            raise ValueError("A metric of a lambda needs a `name`.")
        self.function, self.kind, self.better, self.note = function, kind, better, note
        self.name = name or _name_of(function)
        self.label = label or self.name.replace("_", " ").capitalize()
        self.reads = tuple(_columns_of(function) if reads is None else reads)
        self.figures: Sequence[str] = (self.name,)
        self.settings = [self.name, kind, described(function), *told_apart(function)]

    def check(self, cases: Sequence[Case]) -> None:
        """Refuses cases without the columns that it reads."""
        need_columns(self.name, self.reads, cases)

    def measure(self, answers: Answers) -> list[Column]:
        """One column, one value an answer."""
        inputs = answers.inputs
        scores = score_rows(self.function, inputs.pop("prompts"), inputs.pop("completions"), inputs).tolist()
        values = [None if score != score else score for score in scores]
        column = Column(self.name, self.label, values, self.kind, self.better, note=self.note, by_category=True)
        return [column]


class CorpusMetric:
    """A figure of all answers together, which is no mean of rows: corpus BLEU, macro-F1, perplexity.

    Args:
        prepare (`Callable`):
            Called as a reward function is; gives for each answer what the statistic needs of it, None where it does not apply.
        statistic (`Callable`):
            Makes a finite number of a list of those, also where some answers are left out: see
            [`~rlhf_ext.stats.contributions`].
        name (`str`), label (`str`), kind (`str`), better (`str`), note (`str`), reads (`Sequence[str]`):
            As for [`AnswerMetric`].

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import CorpusMetric
    >>> def words(completions, **columns):
    ...     return [text.split() for text in completions]

    >>> vocabulary = CorpusMetric(words, lambda rows: len({word for row in rows for word in row}), "vocabulary")
    >>> vocabulary.label
    'Vocabulary'

    ```
    """

    def __init__(
        self,
        prepare: Callable[..., Sequence[Any]],
        statistic: Callable[[list[Any]], float],
        name: str,
        label: str | None = None,
        kind: Kind = "mean",
        better: Better = "higher",
        note: str = "",
        reads: Sequence[str] | None = None,
    ):
        self.prepare, self.statistic, self.name, self.kind, self.better = prepare, statistic, name, kind, better
        self.label, self.note = label or name.replace("_", " ").capitalize(), note
        self.reads = tuple(_columns_of(prepare) if reads is None else reads)
        self.figures: Sequence[str] = (name,)
        self.settings = [name, kind, described(prepare), *told_apart([prepare, statistic])]

    def check(self, cases: Sequence[Case]) -> None:
        """Refuses cases without the columns that it reads."""
        need_columns(self.name, self.reads, cases)

    def measure(self, answers: Answers) -> list[Column]:
        """One column of the corpus, with what each case contributes."""
        values = corpus_values(self.statistic, answers.cases, self.prepare(**answers.inputs))
        return [Column(self.name, self.label, values, self.kind, self.better, "case", self.note, corpus=True)]


def corpus_values(
    statistic: Callable[[list[Any]], float], cases: Sequence[Case], rows: Sequence[Any]
) -> list[float | None]:
    """What each case contributes to a figure of all rows; None for cases without one.

    Args:
        statistic (`Callable`):
            Makes a number of a list of rows.
        cases (`Sequence[Case]`):
            The case of each row.
        rows (`Sequence`):
            Rows; None where there is none.
    """
    kept = [(case.id, row) for case, row in zip(cases, rows, strict=True) if row is not None]
    ids = [id for id, _ in kept]
    found = contributions(statistic, [row for _, row in kept], ids) if kept else []
    by_case = dict(zip(dict.fromkeys(ids), found, strict=True))
    return [by_case.get(id) for id in dict.fromkeys(case.id for case in cases)]


def need_columns(who: str, names: Iterable[str], cases: Sequence[Case]) -> None:
    """Refuses cases of which none has a value in a column.

    Raises:
        ValueError: That names the column, and those there are.
    """
    there = list(dict.fromkeys(name for case in cases for name in case.columns))
    for name in names:
        if name not in there:
            raise ValueError(
                f"The metric {who!r} reads the column {name!r}, which is not there; the columns are "
                f"{', '.join(there) or 'none'}."
            )
        if all(case.columns.get(name) in (None, "", []) for case in cases):
            raise ValueError(f"The metric {who!r} reads the column {name!r}, which is empty in every row.")


def described(function: Any) -> Any:
    """What tells a function from another of its kind, as plain values: its name and its settings."""
    while isinstance(function, partial):
        function = function.func
    own = getattr(function, "settings", None)
    if own is None:
        own = {name: _plain(value) for name, value in getattr(function, "__dict__", {}).items() if name[0] != "_"}
        own = {name: value for name, value in own.items() if value is not None}
    return [getattr(function, "__qualname__", type(function).__qualname__), _name_of(function), own]


def model_name_of(model: Any) -> str:
    """A model's folder or hub name."""
    return model if isinstance(model, str) else str(getattr(getattr(model, "config", model), "_name_or_path", model))


def _plain(value: Any) -> Any:
    """A setting as it is where JSON can hold it, the name of the model in it, or None."""
    if hasattr(value, "model") and hasattr(value.model, "config"):
        return model_name_of(value.model)
    if hasattr(value, "pattern") and isinstance(value.pattern, str):
        return value.pattern
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def _name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _columns_of(function: Any) -> list[str]:
    column = getattr(function, "column", None)
    needed: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    asked = [
        name
        for name, one in needed.items()
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and name not in _PASSED
    ]
    return [*([column] if isinstance(column, str) else []), *asked]
