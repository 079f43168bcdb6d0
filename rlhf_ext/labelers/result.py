"""What a labeler gives back: preferences, what was left out and why, and how the labels came about."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..stats import Estimate


@dataclass(frozen=True)
class LabelResult:
    """Labels, and everything that did not become one.

    Args:
        preferences (`list[dict]`): Rows with `prompt`, `chosen`, `rejected`, `preference_strength`, provenance (`source`,
            `annotator`, `model`; `label_source` and so on where the rows have a column of that name of their own) and the
            columns that came in; in the order of the input.
        left_out (`list[dict]`): Rows that got no label, each with the `reason`.
        measures (`dict[str, Estimate]`, *optional*): What is known of the labels, as far as the rows tell:

            - `labelled`: the share of judged pairs that became a label.
            - `orders_agree`, `position_bias`, `length_bias`: as in [`~rlhf_ext.stats`].
            - `own_preferred`: p(the judge's own answer is better) less 0.5, where rows name the models that wrote the answers;
              `self_preference`: the same less what given labels find in them.
            - `agrees_with_given`, `kappa_with_given` (Cohen's): of labels with those that rows came with.
            - `votes_alpha` (Krippendorff's): of single votes, both orders together; of grades by aspect.
            - `truncated`: the share of which a judge was not shown all. `graded`, `grade_...`: of answers, by aspect.
        unfinished (`int`, *optional*, defaults to `0`): Comparisons that the budget did not reach. They are neither in
            `preferences` nor in `left_out`: the same call with a larger budget goes on with them.
        spent (`dict`, *optional*): Requests, tokens and cost of the job so far.

    Example:

    ```python
    >>> from rlhf_ext.labelers.result import LabelResult
    >>> result = LabelResult([{"prompt": "Hi?", "chosen": "Hello.", "rejected": "No.", "preference_strength": 0.9}], [])
    >>> result.dataset.column_names
    ['prompt', 'chosen', 'rejected', 'preference_strength']

    ```
    """

    preferences: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    measures: dict[str, Estimate] = field(default_factory=dict)
    unfinished: int = 0
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The preferences as TRL reads them."""
        return Dataset.from_list(self.preferences)

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were left out, by the beginning of the reason."""
        return dict(Counter(row["reason"].split(":")[0] for row in self.left_out))

    def save(self, folder: str | Path) -> Path:
        """Writes `preferences.jsonl`, `left_out.jsonl` and `labels.json`, each whole or not at all.

        Returns:
            `Path`: the file with the preferences.
        """
        summary = {
            "labels": len(self.preferences),
            "left_out": self.reasons,
            "unfinished": self.unfinished,
            "measures": {name: one.to_dict() for name, one in self.measures.items()},
            "spent": self.spent,
        }
        write_rows(folder, "left_out.jsonl", self.left_out)
        write_rows(folder, "labels.json", [summary])
        return write_rows(folder, "preferences.jsonl", self.preferences)

    def __str__(self) -> str:
        lines = [f"{len(self.preferences)} labels, {len(self.left_out)} rows left out"]
        lines += [
            f"  {count:>6}  {reason}" for reason, count in sorted(self.reasons.items(), key=lambda item: -item[1])
        ]
        if self.unfinished:
            lines.append(
                f"{self.unfinished} comparisons not made: the budget is used up; a larger one goes on with them"
            )
        lines += [f"{name.replace('_', ' ')}: {estimate}" for name, estimate in self.measures.items()]
        spent = ", ".join(f"{value:,.6g} {name.replace('_', ' ')}" for name, value in self.spent.items() if value)
        return "\n".join([*lines, f"spent: {spent}"] if spent else lines)


def write_rows(folder: str | Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes rows as lines of JSON, whole or not at all; gives the file."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    os.replace(partial, path)
    return path
