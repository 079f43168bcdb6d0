"""What an exported task is made of, in lm-eval's process. Nothing in rlhf_ext imports this: it needs lm-eval."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, DatasetDict
from lm_eval.api.task import ConfigurableTask

from ..suite import EMPTY, Suite
from ..suites import load_suite
from .exporting import SUITE


class SuiteTask(ConfigurableTask):
    """A suite as a task of lm-eval; see [`~rlhf_ext.evaluation.harness.export_suite`], which writes a class of this kind.

    It is lm-eval's own task but for what the format has no place for: chats of several turns, figures over the answers to
    several prompts, and values that do not apply to an answer, which are in no mean.

    Args:
        config (`dict`):
            The task's YAML.

    Raises:
        ValueError: If the suite that is installed is not the one that was exported.
    """

    folder: ClassVar[Path]

    def __init__(self, config: dict[str, Any] | None = None):
        given = {key: value for key, value in (config or {}).items() if key != "class"}
        told = given["metadata"]
        suite = load_suite(told["source"], **told["settings"])
        if suite.version != told["version"]:
            raise ValueError(
                f"The task {given['task']!r} was exported from version {told['version']} of the suite {suite.name!r} "
                f"(rlhf_ext {told['rlhf_ext']}), and {suite.version} is installed: export it again."
            )
        metrics = [dict(metric) for metric in given["metric_list"]]
        alone = {metric["metric"] for metric in metrics if metric["aggregation"] != SUITE}
        for metric in metrics:
            if metric["aggregation"] == SUITE:
                metric["aggregation"] = _whole(suite, metric["metric"])
        # Functions rather than methods: lm-eval copies its configuration deeply, and a method brings its object along.
        super().__init__(config={**given, "metric_list": metrics, "process_results": _scorer(suite, alone)})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """The prompts beside the task."""
        lines = (self.folder / f"{self.config.task}.jsonl").read_text(encoding="utf-8").splitlines()
        self.dataset = DatasetDict(test=Dataset.from_list([json.loads(line) for line in lines]))

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> str:
        """The prompt as `rlhf-ext evaluate` sends it: chats through the template, plain prompts as they are.

        Raises:
            ValueError: If the prompts are chats and no template is to be applied, or examples are asked for.
        """
        if num_fewshot:
            raise ValueError(f"{self.config.task} has no examples to show: leave --num_fewshot out.")
        if not doc["messages"]:
            return f"{system_instruction}\n\n{doc['text']}" if system_instruction else str(doc["text"])
        if not apply_chat_template or chat_template is None:
            raise ValueError(f"The prompts of {self.config.task} are chats: run lm_eval with --apply_chat_template.")
        messages = json.loads(doc["messages"])
        if system_instruction:
            own = [messages.pop(0)["content"]] if messages[0]["role"] == "system" else []
            messages.insert(0, {"role": "system", "content": "\n\n".join([system_instruction, *own])})
        return chat_template(messages)


def _scorer(suite: Suite, alone: set[str]) -> Callable[[dict[str, Any], list[str]], dict[str, Any]]:
    cases = {case.id: case for case in suite.cases}

    def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        answer = results[0]
        columns = suite.measure([cases[doc["case"]]], [answer])
        values = {column.name: column.values[0] for column in columns if column.name in alone}
        raw = {"case": doc["case"], "sample": doc["sample"], "answer": answer}
        rest = {name: raw for name in suite.figures if name not in alone}
        known = {name: value for name, value in values.items() if value is not None}
        return {**known, **rest, EMPTY: float(not answer.strip())}

    return process_results


def _whole(suite: Suite, name: str) -> Callable[[list[dict[str, Any]]], float]:
    cases = {case.id: (place, case) for place, case in enumerate(suite.cases)}

    def aggregate(items: list[dict[str, Any]]) -> float:
        rows = sorted(items, key=lambda item: (cases[item["case"]][0], item["sample"]))
        columns = suite.measure([cases[row["case"]][1] for row in rows], [row["answer"] for row in rows])
        values = [value for column in columns if column.name == name for value in column.values if value is not None]
        return sum(values) / len(values) if values else math.nan

    return aggregate
