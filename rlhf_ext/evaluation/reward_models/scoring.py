"""Scores of held-out pairs: any reward function is called as trainers call it, and what it gives is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from ...data.preferences import COLUMNS, STRENGTH
from ...rewards.calling import score_rows
from ...types import Completion, Prompt, text_of
from .result import CannotMeasure

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs whose two answers have a score, with what else is known of them; arrays of shape `(n,)`."""

    prompts: list[Prompt]
    chosen: list[Completion]
    rejected: list[Completion]
    chosen_scores: Floats
    rejected_scores: Floats
    columns: dict[str, list[Any]]
    """The data set's other columns, which reward functions are given."""
    unscored: int
    """Pairs that were left out."""

    @property
    def margins(self) -> Floats:
        """By how much the chosen answer scores higher, in reward units."""
        return self.chosen_scores - self.rejected_scores

    @property
    def strengths(self) -> Floats | None:
        """p(chosen is better) as given, or None without the column."""
        return np.array(self.columns[STRENGTH], dtype=float) if STRENGTH in self.columns else None

    @property
    def extra_characters(self) -> Floats:
        """By how many characters the chosen answer is longer."""
        pairs = zip(self.chosen, self.rejected, strict=True)
        return np.array([len(text_of(c)) - len(text_of(r)) for c, r in pairs], dtype=float)

    def strengths_or_certain(self) -> Floats:
        """p(chosen is better): as given, or 1."""
        return np.ones(len(self.prompts)) if self.strengths is None else self.strengths


def score_pairs(reward: Any, preferences: Dataset, without: Sequence[str] = ()) -> ScoredPairs:
    """Scores both answers of every row; a pair with an answer that has no score is left out.

    Args:
        reward (`RewardFunction`):
            What is validated.
        preferences (`datasets.Dataset`):
            Checked rows.
        without (`Sequence[str]`, *optional*):
            Columns that reward functions are not given.

    Raises:
        ValueError: If no pair has two scores.
    """
    names = [name for name in preferences.column_names if name not in (*COLUMNS, *without)]
    prompts, chosen, rejected = (list(preferences[name]) for name in COLUMNS)
    columns = {name: list(preferences[name]) for name in names}
    twice = {name: values * 2 for name, values in columns.items()}
    scores = score_rows(reward, prompts * 2, chosen + rejected, twice).reshape(2, -1)
    kept = np.flatnonzero(~np.isnan(scores).any(axis=0)).tolist()
    if not kept:
        raise ValueError(f"The reward function gave None for all {len(prompts)} pairs; nothing is left to validate.")
    return ScoredPairs(
        prompts=[prompts[i] for i in kept],
        chosen=[chosen[i] for i in kept],
        rejected=[rejected[i] for i in kept],
        chosen_scores=scores[0, kept],
        rejected_scores=scores[1, kept],
        columns={name: [values[i] for i in kept] for name, values in columns.items()},
        unscored=len(prompts) - len(kept),
    )


def needs_rows(pairs: ScoredPairs, count: int) -> None:
    """Refuses a measure that fewer pairs than `count` cannot carry."""
    if len(pairs.prompts) < count:
        raise CannotMeasure(f"it needs at least {count} pairs, and there are {len(pairs.prompts)}")
