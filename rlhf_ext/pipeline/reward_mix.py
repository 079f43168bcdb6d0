"""A run's declared rewards: made once, tried on the data before anything is trained, mixed for PPO, and measured in the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers.utils import logging

from ..evaluation.automatic import AnswerMetric
from ..evaluation.automatic.metrics import described
from ..evaluation.suite import Case
from ..rewards.calling import score_rows
from ..rewards.mixing import RewardMixer
from ..rewards.model import RewardModel
from ..rewards.recipe import RewardRecipe, Where
from ..rewards.weights import Linear
from ..types import text_of

logger = logging.get_logger(__name__)

_ANSWERS = ("chosen", "rejected")
_TRIED = 8
"""Rows that each function is tried on."""


class RewardMix:
    """What `rewards` of a run come to.

    Args:
        recipe ([`~rlhf_ext.rewards.recipe.RewardRecipe`]):
            The mix.
        tokenizer (`PreTrainedTokenizerBase`):
            The policy's: what counts tokens for functions that read `completion_ids`, outside of training.

    Raises:
        ImportError, OSError, TypeError, ValueError: If a function cannot be made; its component is named.
    """

    def __init__(self, recipe: RewardRecipe, tokenizer: Any):
        self.recipe, self.tokenizer = recipe, tokenizer
        self.functions = recipe.functions()

    def check(self, data: Dataset) -> None:
        """Tries every function on the chosen answers of a few rows: what fails would fail after hours otherwise.

        Args:
            data (`Dataset`):
                Preferences.

        Raises:
            ValueError: If a column that it reads is not there or empty in all rows; component and columns are named.
            Exception: What a function raises, with its component.
        """
        for name, one in self.recipe.components.items():
            scored = Scored(self.functions.get(name, _no_score), one.where, self.tokenizer)
            picked = self._rows(name, data, scored)
            if name not in self.functions:
                continue
            columns = {key: picked[key] for key in picked.column_names if key not in ("prompt", *_ANSWERS)}
            try:
                scores = score_rows(scored, list(picked["prompt"]), list(picked["chosen"]), columns)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"`rewards.components.{name}`, tried on chosen answers: {error}") from error
            if all(map(math.isnan, scores)):
                logger.warning(
                    f"The reward {name!r} gives None for all of {len(scores)} chosen answers it was tried on."
                )

    def _rows(self, name: str, data: Dataset, scored: Scored) -> Dataset:
        """A few rows that the component counts in and that have a value in all columns that it reads."""
        there = [column for column in data.column_names if column not in ("prompt", *_ANSWERS)]
        for column in scored.reads:
            if column not in there:
                raise ValueError(
                    f"`rewards.components.{name}` reads the column {column!r}, which the preferences do not have beside "
                    f"prompt and answers; they have {', '.join(there) or 'none'}."
                )
        rows = data.select_columns(scored.reads or ["prompt"])
        fit = [i for i, row in enumerate(rows) if not _lacks(row) and (scored.where is None or scored.where(row, {}))]
        if not fit:
            raise ValueError(
                f"`rewards.components.{name}` counts in no row: none has what it reads or is limited to in "
                f"{', '.join(map(repr, scored.reads))}."
            )
        return data.select(fit[:_TRIED])

    def mixer(self, reward_model: RewardModel | None, device: Any) -> RewardMixer:
        """The reward function that PPO is given, its models on `device`."""
        return self.recipe.build(reward_model, self.functions).to(device)

    def metrics(self, load_reward: Callable[[], RewardModel]) -> list[AnswerMetric]:
        """Each component as a metric, raw: before normalising, weights and constraints.

        Args:
            load_reward (`Callable`):
                Loads the run's own reward model, when that is asked.
        """
        own = _Late(load_reward)
        return [
            AnswerMetric(
                scored := Scored(self.functions.get(name, own), one.where, self.tokenizer),
                name,
                name.replace("_", " ").capitalize(),
                better=self._better(name),
                note=self._note(name),
                reads=scored.reads,
            )
            for name, one in self.recipe.components.items()
        ]

    def _better(self, name: str) -> Any:
        weight = self.recipe.components[name].weight
        at_most = any(one.component == name and one.at_most is not None for one in self.recipe.constraints)
        negative = (weight.end if isinstance(weight, Linear) else weight or 0) < 0
        return "lower" if at_most or negative else "higher"

    def _note(self, name: str) -> str:
        one = self.recipe.components[name]
        said = [f"Weight {one.weight_text}."] if one.weight_text else []
        said += [f"Constraint: {bound} on average." for bound in self.recipe.bounds(name)]
        if one.where is not None:
            said.append(
                f"In rows with {' and '.join(f'{c} {_listed(v)}' for c, v in one.where.columns.items())} alone."
            )
        return " ".join(said)


@dataclass(frozen=True)
class Scored:
    """A component outside of training: in its rows alone, and with the `completion_ids` that trainers pass.

    Args:
        function (`RewardFunction`):
            What scores.
        where ([`~rlhf_ext.rewards.recipe.Where`], *optional*):
            Its rows.
        tokenizer (`PreTrainedTokenizerBase`):
            What makes ids of completions.
    """

    function: Any
    where: Where | None
    tokenizer: Any

    @property
    def reads(self) -> list[str]:
        """Columns that it cannot do without."""
        asked = [name for name in AnswerMetric(self.function, "any").reads if name != "completion_ids"]
        return list(dict.fromkeys([*asked, *(self.where.columns if self.where else ())]))

    @property
    def settings(self) -> list[Any]:
        """What tells it from others, for the version of a suite."""
        return [
            described(self.function),
            [[c, list(v)] for c, v in self.where.columns.items()] if self.where else None,
        ]

    def __call__(self, *, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        kept = list(range(len(completions)))
        if self.where is not None:
            kept = [i for i in kept if self.where({name: columns[name][i] for name in self.where.columns}, {})]
        answers = [completions[i] for i in kept]
        ids = self.tokenizer([text_of(one) for one in answers], add_special_tokens=False)["input_ids"] if kept else []
        given = {name: [column[i] for i in kept] for name, column in columns.items()}
        scores = score_rows(self.function, [prompts[i] for i in kept], answers, {**given, "completion_ids": ids})
        found = {i: None if math.isnan(score) else float(score) for i, score in zip(kept, scores, strict=True)}
        return [found.get(i) for i in range(len(completions))]


def heldout_cases(rows: Dataset) -> list[Case]:
    """Held-out rows as cases: the answers as text among the columns, and the category both there and for figures."""
    cases = []
    for number, row in enumerate(rows):
        columns = {
            name: text_of(value) if name in _ANSWERS else value for name, value in row.items() if name != "prompt"
        }
        try:
            json.dumps(columns)
        except TypeError as error:
            raise TypeError(
                f"`eval_dataset` row {number} holds what is no plain value: {error}. Leave it out."
            ) from error
        cases.append(Case(str(number), row["prompt"], str(row.get("category") or ""), columns))
    return cases


class _Late:
    """The run's reward model, loaded when it is first asked."""

    def __init__(self, load: Callable[[], RewardModel]):
        self._load = load
        self._model: RewardModel | None = None
        self.settings = "the reward model of this run"
        self.__name__ = "reward_model"

    def __call__(self, *, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        if self._model is None:
            self._model = self._load()
        return self._model(prompts=prompts, completions=completions)


def _no_score(*, prompts: Any, completions: Any, **columns: Any) -> list[None]:
    return [None] * len(completions)


def _lacks(row: Mapping[str, Any]) -> bool:
    return any(value is None or value in ("", []) for value in row.values())


def _listed(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))
