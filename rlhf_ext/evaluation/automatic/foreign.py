"""Any metric of Hugging Face's `evaluate`, by name, script or object."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from ...rewards.functions.rows import need
from ...types import text_of
from ..suite import Case, Column
from ..told_apart import told_apart
from .metrics import Answers, Better, Kind, corpus_values, described, need_columns

PROMPT = "prompt"
"""In `inputs`: what is asked, as text."""


class EvaluateMetric:
    """A metric of `evaluate` over the answers.

    Where the metric gives a list with one number an answer (BERTScore, perplexity), that is what the figure is made of.
    Where it gives one number for all (accuracy, METEOR, SARI), the figure is that number, and its interval comes of
    leaving out one case after another, or one of 200 groups of them ([`~rlhf_ext.stats.contributions`]): the metric is
    computed up to 201 times, and should not hang on single answers, as a maximum does. `each=True` computes it for every
    answer by itself instead, and takes the mean: another figure, where the metric is no mean (BLEU).

    Args:
        metric (`str` or `evaluate.EvaluationModule`):
            Name on the hub, path of a local script, or the module itself (from `evaluate.load(...)`).
        results (`str` or `Sequence[str]`, *optional*):
            Which of its results become figures. Defaults to the one that is called as the metric is.
        inputs (`Mapping[str, str]`, *optional*, defaults to `{"references": "reference"}`):
            Columns that it reads, by its argument. `"prompt"` is what was asked. `predictions` are the answers. Rows without one of
            them do not count.
        predict (`Callable`, *optional*):
            Makes a prediction of an answer's text, for metrics that do not read text: `lambda text: int("yes" in text)`.
        each (`bool`, *optional*, defaults to `False`):
            Whether it is computed for every answer by itself.
        kind (`str`, *optional*, defaults to `"mean"`), better (`str`, *optional*, defaults to `"higher"`), note (`str`):
            As for [`AnswerMetric`].
        **compute_kwargs:
            For its `compute`: `use_stemmer=True`, `average="macro"`, ...

    Raises:
        ImportError: If evaluate is not installed.
        ValueError: From `check` (before anything is generated), if a column is missing, or the metric, tried on two references
            in place of answers, does not give what is asked for; if a result is no finite number.

    Example:

    ```python
    from rlhf_ext.evaluation.automatic import EvaluateMetric

    EvaluateMetric("rouge", results=["rougeL", "rougeLsum"], kind="rate", use_stemmer=True)
    EvaluateMetric("sari", inputs={"sources": "prompt", "references": "references"})
    ```
    """

    def __init__(
        self,
        metric: Any,
        results: str | Sequence[str] | None = None,
        inputs: Mapping[str, str] | None = None,
        predict: Callable[[str], Any] | None = None,
        each: bool = False,
        kind: Kind = "mean",
        better: Better = "higher",
        note: str = "",
        **compute_kwargs: Any,
    ):
        self.module = _loaded(metric) if isinstance(metric, str) else metric
        if not callable(getattr(self.module, "compute", None)):
            raise TypeError(f"`metric` should be a name, a script or a module of evaluate, got {metric!r}.")
        self.name = str(self.module.name)
        self.results = (self.name,) if results is None else (results,) if isinstance(results, str) else tuple(results)
        self.figures: Sequence[str] = tuple(key if key == self.name else f"{self.name}_{key}" for key in self.results)
        self.inputs = dict({"references": "reference"} if inputs is None else inputs)
        self.predict, self.each, self.kind, self.better, self.note = predict or str, each, kind, better, note
        self.compute_kwargs = compute_kwargs
        self.settings = [
            "evaluate",
            self.name,
            getattr(self.module, "hash", None),
            self.results,
            self.inputs,
            [described(self.predict), *told_apart(self.predict)],
            each,
            kind,
            repr(sorted(compute_kwargs.items())),
        ]

    def check(self, cases: Sequence[Case]) -> None:
        """Refuses missing columns, and results that the metric does not give."""
        need_columns(self.name, [column for column in self.inputs.values() if column != PROMPT], cases)
        rows = [row for row in self._rows(cases, ["1"] * len(cases)) if row is not None][:2]
        if not rows:
            raise ValueError(f"The metric {self.name!r} has no row with all of {', '.join(self.inputs.values())}.")
        if "references" in self.inputs and self.predict is str:
            for row in rows:
                reference = row["references"]
                row["predictions"] = reference if isinstance(reference, str) else reference[0]
        self._found(rows[:1] if self.each else rows)

    def measure(self, answers: Answers) -> list[Column]:
        """One column a result."""
        rows = self._rows(answers.cases, answers.texts)
        there = [row for row in rows if row is not None]
        if not there:
            nothing: list[float | None] = [None] * len(rows)
            return [Column(figure, _label(figure), nothing, self.kind, self.better) for figure in self.figures]
        if self.each:
            by_row = [self._found([row]) for row in there]
            found: dict[str, Any] = {key: [one[key] for one in by_row] for key in self.results}
        else:
            found = self._found(there)
        return [
            self._column(figure, key, found[key], answers.cases, rows)
            for figure, key in zip(self.figures, self.results, strict=True)
        ]

    def _column(self, figure: str, key: str, found: Any, cases: list[Case], rows: list[dict | None]) -> Column:
        label = _label(figure)
        if isinstance(found, list):
            numbers = iter(found)
            values = [None if row is None else float(next(numbers)) for row in rows]
            return Column(figure, label, values, self.kind, self.better, note=self.note, by_category=True)
        values = corpus_values(lambda kept: self._found(kept)[key], cases, rows)
        return Column(figure, label, values, self.kind, self.better, "case", self.note, corpus=True)

    def _rows(self, cases: Sequence[Case], texts: Sequence[str]) -> list[dict[str, Any] | None]:
        """What `compute` is given for each answer; None where a column has no value."""
        found: list[dict[str, Any] | None] = []
        for case, text in zip(cases, texts, strict=True):
            columns = {**case.columns, PROMPT: text_of(case.prompt)}
            row = {argument: columns.get(column) for argument, column in self.inputs.items()}
            missing = any(value in (None, "", []) for value in row.values())
            found.append(None if missing else {"predictions": self.predict(text), **row})
        return found

    def _found(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The results that are asked for: a number, or a list with one a row."""
        given = {argument: [row[argument] for row in rows] for argument in rows[0]}
        computed = self.module.compute(**given, **self.compute_kwargs)
        for key in self.results:
            if key not in (computed or {}):
                raise ValueError(
                    f"The metric {self.name!r} gives {', '.join(computed or {}) or 'nothing'}, and no {key!r}: name the ones "
                    "you want with `results`."
                )
        return {key: self._numbers(key, computed[key], len(rows)) for key in self.results}

    def _numbers(self, key: str, value: Any, rows: int) -> Any:
        numbers = value.tolist() if hasattr(value, "tolist") else value
        several = isinstance(numbers, list) and len(numbers) == rows
        if self.each and several:
            numbers, several = numbers[0], False
        for number in numbers if several else [numbers]:
            if not isinstance(number, Real) or not math.isfinite(number):
                raise ValueError(
                    f"{key!r} of the metric {self.name!r} is {str(value)[:200]}: one finite number, or one for each of {rows} "
                    "answers, is needed."
                )
        return numbers if several else float(numbers)


def _loaded(name: str) -> Any:
    try:
        import evaluate
    except ImportError as error:
        raise need("evaluate", "eval", "EvaluateMetric") from error
    return evaluate.load(name)


def _label(figure: str) -> str:
    return figure.replace("_", " ").capitalize()
