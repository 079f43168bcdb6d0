"""AI feedback as stages of a run: preferences of a labeler and of a constitution, beside those of people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from ..data.preferences import STRENGTH, prepare_preferences
from ..labelers import sample_candidates
from ..labelers.result import write_rows
from .plan import Plan
from .stages import Run
from .state import on_main

if TYPE_CHECKING:
    from ..constitution import Constitution
    from ..labelers import PairwiseLabeler

_KEPT = ("prompt", "chosen", "rejected", STRENGTH)


class Feedback:
    """What a run asks of machines before it trains a reward model.

    Args:
        labeler ([`~rlhf_ext.labelers.PairwiseLabeler`], *optional*): Labels `unlabelled`, judges revisions.
        constitution ([`~rlhf_ext.constitution.Constitution`], *optional*): What the model revises its answers by.
        unlabelled (`Dataset` or `list[dict]`, *optional*): Rows with a `prompt` and perhaps `responses`.

    Raises:
        ValueError: If there are rows to label and nobody to label them, or the other way round; or a row has no prompt.
    """

    def __init__(self, labeler: PairwiseLabeler | None, constitution: Constitution | None, unlabelled: Any):
        self.labeler, self.constitution = labeler, constitution
        self.rows: list[dict[str, Any]] = [] if unlabelled is None else [dict(row) for row in unlabelled]
        if unlabelled is not None and not self.rows:
            raise ValueError("`unlabelled_dataset` is empty.")
        for index, row in enumerate(self.rows):
            if not row.get("prompt"):
                raise ValueError(f"`unlabelled_dataset` row {index} has no `prompt`; it has {', '.join(row)}.")
        if self.rows and labeler is None and constitution is None:
            raise ValueError("`unlabelled_dataset` needs a `labeler`, or a `constitution` that uses its prompts.")
        if labeler is not None and not self.rows and constitution is None:
            raise ValueError("`labeler` has nothing to label: give `unlabelled_dataset`.")

    @property
    def stages(self) -> set[str]:
        """Names of the stages that it adds."""
        labels = {"labels"} if self.labeler is not None and self.rows else set()
        return labels | ({"revisions"} if self.constitution is not None else set())

    def identity(self) -> dict[str, Any]:
        """What tells this run from another, as far as feedback goes."""
        found: dict[str, Any] = {}
        if self.labeler is not None:
            found["labeler"] = f"{self.labeler.model}, {self.labeler.annotator}"
        if self.constitution is not None:
            found["constitution"] = self.constitution.provenance
        return found

    @property
    def dataset(self) -> Dataset | None:
        """The rows to label."""
        return Dataset.from_list(self.rows) if self.rows else None

    def join(self, run: Run, data: Dataset, plan: Plan) -> Dataset:
        """The preferences with what the stages add to them."""
        added: list[dict[str, Any]] = []
        if "labels" in self.stages:
            run.stage("labels", lambda: self._label(run, plan))
            added += _read(run.folder / "labels" / "preferences.jsonl")
        if "revisions" in self.stages:
            prompts = [row["prompt"] for row in self.rows] or list(data["prompt"])
            run.stage("revisions", lambda: self._revise(run, prompts, plan))
            added += _read(run.folder / "revisions" / "preferences.jsonl")
        return _joined(data, added) if added else data

    def _label(self, run: Run, plan: Plan) -> dict[str, Any]:
        plan.title("labels")  # announces it: the labeler has a bar of its own
        return on_main(lambda: self._labelled(run))

    def _labelled(self, run: Run) -> dict[str, Any]:
        assert self.labeler is not None
        result = self.labeler.label(self._with_responses(run))
        if result.unfinished:
            raise ValueError(
                f"The labeler's budget is used up with {result.unfinished} comparisons open. The same call with a larger budget goes "
                "on with them."
            )
        if not result.preferences:
            raise ValueError(f"The labeler gave no label for any of {len(self.rows)} rows: {result.reasons}.")
        result.save(run.folder / "labels")
        return json.loads((run.folder / "labels" / "labels.json").read_text(encoding="utf-8"))

    def _with_responses(self, run: Run) -> list[dict[str, Any]]:
        """The rows; those without responses get two that the model writes."""
        without = [index for index, row in enumerate(self.rows) if not row.get("responses") and not row.get("chosen")]
        if not without:
            return self.rows
        writer = run.writer()
        written = sample_candidates(
            writer,
            [self.rows[index]["prompt"] for index in without],
            n=2,
            seed=run.config.seed,
            progress=True,
            max_new_tokens=run.config.eval_max_new_tokens,
        )
        responses = dict(zip(without, written["responses"], strict=True))
        return [
            {**row, "responses": responses[index]} if index in responses else row
            for index, row in enumerate(self.rows)
        ]

    def _revise(self, run: Run, prompts: list[Any], plan: Plan) -> dict[str, Any]:
        plan.title("revisions")
        return on_main(lambda: self._revised(run, prompts))

    def _revised(self, run: Run, prompts: list[Any]) -> dict[str, Any]:
        from ..constitution import critique_and_revise, to_preferences

        folder = run.folder / "revisions"
        revisions = critique_and_revise(
            run.writer(),
            prompts,
            self.constitution,
            judge=self.labeler,
            store=folder / "steps.jsonl",
            seed=run.config.seed,
            max_new_tokens=run.config.eval_max_new_tokens,
        )
        pairs, left_out = to_preferences(revisions)
        write_rows(folder, "left_out.jsonl", list(left_out))
        write_rows(folder, "preferences.jsonl", list(pairs))
        return {"rows": len(pairs), "left_out": len(left_out)}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _joined(data: Dataset, added: Sequence[Mapping[str, Any]]) -> Dataset:
    """Both as preferences; where strengths are known of one part only, the other is certain of its choice."""
    rows = [dict(row) for row in data] + [{name: row[name] for name in _KEPT if name in row} for row in added]
    if any(STRENGTH in row for row in rows):
        rows = [{**row, STRENGTH: 1.0 if row.get(STRENGTH) is None else row[STRENGTH]} for row in rows]
    return prepare_preferences(Dataset.from_list(rows))
