"""Carries per-pair numbers (`preference_strength`, `margin`, `weight`) from the data set into the loss.

TRL's preference trainers drop columns they do not know, and hand to the model every batch key they do. Two seams and
a wrapped collator carry the numbers past both; a data set without these columns goes through TRL's own path untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

import torch
from datasets import Dataset, IterableDataset

from ..data.preferences import STRENGTH


class WithPairColumns:
    """A collator that adds named columns to another collator's batch, as float tensors of shape `(batch,)`.

    Args:
        collator (`Callable`):
            The collator that makes the rest of the batch.
        columns (`tuple[str, ...]`):
            Columns to add. A row without one of them is an error, not a default.
    """

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], columns: tuple[str, ...]):
        self.collator = collator
        self.columns = columns

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collator(examples)
        for column in self.columns:
            if column in examples[0]:
                batch[column] = torch.tensor([example[column] for example in examples], dtype=torch.float32)
        return batch


def columns_in(names: tuple[str, ...], *datasets: Any) -> tuple[str, ...]:
    """Which of `names` are columns of any of the data sets (a data set, a dict of them, or None)."""
    found: set[str] = set()
    for dataset in datasets:
        if isinstance(dataset, dict):
            found |= set(columns_in(names, *dataset.values()))
        elif isinstance(dataset, Dataset | IterableDataset):
            first = dataset.column_names or list(next(iter(dataset)))
            found |= set(names) & set(first)
    return tuple(name for name in names if name in found)


def check_strength(strength: torch.Tensor) -> None:
    """Refuses a batch with a strength outside [0.5, 1]: a trainer may be given data that was never validated."""
    bad = ~((strength >= 0.5) & (strength <= 1.0))  # NaN is bad as well
    if bad.any():
        raise ValueError(
            f"`{STRENGTH}` is p(chosen is better) and must be in [0.5, 1], got {strength[bad][0].item():g}. Check the "
            "data set with `rlhf_ext.data.preferences.prepare_preferences`; it also reads strengths on 0 to 1."
        )


def strength_loss_field(choices: tuple[str, ...]) -> Any:
    """The config field that says how `preference_strength` enters the loss."""
    words = "How `preference_strength` enters the loss: " + ", ".join(map(repr, choices)) + "."
    return field(default="none", metadata={"help": words, "choices": list(choices)})


def check_strength_config(config: Any, choices: tuple[str, ...]) -> None:
    """Refuses a `strength_loss` that is none of `choices`, or a `strength_scale` that is not positive."""
    if config.strength_loss not in choices:
        raise ValueError(f"`strength_loss` must be one of {choices}, got {config.strength_loss!r}.")
    if not config.strength_scale > 0:
        raise ValueError(f"`strength_scale` must be positive, got {config.strength_scale}.")


def unused_strength(config: str, choices: tuple[str, ...]) -> str:
    """What to say where the column is there and the config does not say how to read it."""
    return (
        f"The data has a `{STRENGTH}` column, which is not used. Set `{config}(strength_loss=...)` to one of "
        f"{choices[1:]}, or drop the column."
    )
