"""Automatic metrics over the user's own rows, as a suite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from ...types import Prompt, RewardFunction
from ..prompt_files import Rows
from ..prompt_suite import PromptSuite, user_message
from ..suite import Case, Column
from .metrics import AnswerMetric, Answers, Metric
from .names import metric_named

_RESERVED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


class AutomaticSuite(PromptSuite):
    """Cases and the metrics of their answers. Make one of rows with [`automatic_suite`].

    Args:
        cases (`Sequence[Case]`):
            The prompts, with what metrics read in their columns.
        metrics (`Sequence[Metric]`):
            At least one, with figures of different names.
        name (`str`, *optional*, defaults to `"automatic"`):
            The suite's name.
        samples (`int`, *optional*, defaults to `1`), sampling (`dict`, *optional*):
            Answers a case, and how they are sampled, over the defaults: greedy for one, temperature 1 for several, up to
            256 tokens.

    Raises:
        ValueError: If there is no metric, two have a figure of the same name, or one cannot measure these cases.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        metrics: Sequence[Metric],
        name: str = "automatic",
        samples: int = 1,
        sampling: Mapping[str, Any] | None = None,
    ):
        if not metrics:
            raise ValueError(f"The suite {name!r} has no metrics.")
        self.metrics = list(metrics)
        figures = [figure for metric in metrics for figure in metric.figures]
        if repeated := [figure for figure in figures if figures.count(figure) > 1]:
            raise ValueError(f"Two metrics have a figure called {repeated[0]!r}: give one of them another name.")
        settings = [metric.settings for metric in metrics]
        super().__init__(name, cases, figures, samples, sampling, metrics=settings)
        for metric in metrics:
            metric.check(self.cases)

    def of(self, generator: Any) -> AutomaticSuite:
        """The same suite for a certain model: for metrics that read the model itself, such as [`ReferenceKL`]; `run_suite` asks.

        Args:
            generator ([`~rlhf_ext.generation.LocalGenerator`]):
                What is about to answer.

        Returns:
            [`AutomaticSuite`]: of the same version, so that the results of two models can be compared.
        """
        made = copy(self)
        made.metrics = [metric.of(generator) if hasattr(metric, "of") else metric for metric in self.metrics]
        return made

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """The columns of all metrics."""
        given = Answers(cases, answers)
        return [column for metric in self.metrics for column in metric.measure(given)]


def automatic_suite(
    rows: str | Path | Iterable[Mapping[str, Any]],
    metrics: Sequence[str | Metric | RewardFunction],
    prompt: str = "prompt",
    reference: str = "reference",
    source: str = "source",
    name: str = "automatic",
    samples: int = 1,
    sampling: Mapping[str, Any] | None = None,
    chat: bool = False,
) -> AutomaticSuite:
    """A suite of one's own prompts and any metrics.

    Columns called `id` and `category` are taken as such where they are there; all others go to the metrics.

    Args:
        rows (`str`, `Path`, `Dataset` or iterable of `dict`):
            A JSONL, JSON or CSV file, a data set, or rows.
        metrics (`Sequence`):
            Short names (see [`metric_named`]), reward functions in TRL's protocol, or [`Metric`]s.
        prompt (`str`, *optional*, defaults to `"prompt"`):
            Column with the prompt, text or messages.
        reference (`str`, *optional*, defaults to `"reference"`):
            Column that metrics given by name compare with.
        source (`str`, *optional*, defaults to `"source"`):
            Column with the text that a summary must be faithful to.
        name (`str`, *optional*, defaults to `"automatic"`), samples, sampling:
            As for [`AutomaticSuite`].
        chat (`bool`, *optional*, defaults to `False`):
            Whether prompts that are text are asked as a user's message, by the model's chat template. By default they are
            continued as they are, as TRL does.

    Returns:
        [`AutomaticSuite`]: its figures are those of the metrics.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there are no rows, one has no prompt or comes twice (it is named), or a metric is unknown or reads a
            column that is not there.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import automatic_suite
    >>> from rlhf_ext.evaluation.running import run_suite
    >>> from rlhf_ext.generation import ScriptedGenerator

    >>> rows = [{"prompt": "2 + 2 =", "reference": "4"}, {"prompt": "3 + 3 =", "reference": "6"}]
    >>> suite = automatic_suite(rows, ["exact_match", "length"])
    >>> result = run_suite(ScriptedGenerator(["4", "5 or so"]), suite)
    >>> {name: estimate.value for name, estimate in result.estimates().items()}
    {'automatic.exact_match': 0.5, 'automatic.length': 2.0, 'automatic.failed': 0.0, 'automatic.empty': 0.0}

    ```
    """
    cases = _cases(rows, prompt, chat)
    made = [_metric(metric, reference, source) for metric in metrics]
    return AutomaticSuite(cases, made, name, samples, sampling)


def _metric(metric: Any, reference: str, source: str) -> Metric:
    if isinstance(metric, str):
        return metric_named(metric, reference, source)
    return metric if isinstance(metric, Metric) else AnswerMetric(metric)


def _cases(rows: Any, prompt: str, chat: bool) -> list[Case]:
    if isinstance(rows, str | Path):
        read = Rows.read(rows)
        signed = [(f"{read.path} {row.place}", row.fields) for row in read.rows]
    else:
        signed = [(f"Row {number}", row) for number, row in enumerate(rows)]
    if not signed:
        raise ValueError("There are no rows.")
    return [_case(where, number, row, prompt, chat) for number, (where, row) in enumerate(signed)]


def _case(where: str, number: int, row: Any, prompt: str, chat: bool) -> Case:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where} should be a dict of columns, got {row!r}.")
    if prompt not in row:
        raise ValueError(f"{where} has no column {prompt!r}; its columns are {', '.join(row)}.")
    if reserved := [column for column in _RESERVED if column in row]:
        raise ValueError(f"{where} has a column {reserved[0]!r}, which reward functions are given by their caller.")
    asked: Prompt = row[prompt]
    if not isinstance(asked, str | list) or not asked or (isinstance(asked, str) and not asked.strip()):
        raise ValueError(f"{where}: {prompt!r} should be text or messages, got {asked!r}.")
    if isinstance(asked, str) and chat:
        asked = user_message(asked)
    columns = {name: value for name, value in row.items() if name not in (prompt, "id", "category")}
    for name, value in columns.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise ValueError(f"{where}: the column {name!r} holds no plain value: {error}. Leave it out.") from error
    own = row.get("id")
    return Case(str(number if own is None else own), asked, str(row.get("category") or ""), columns)
