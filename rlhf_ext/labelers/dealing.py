"""How several models share out the answers to prompts, and the job of writing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.store import Judgement, JudgementStore
from ..generation import EndpointGenerator, check_sampling
from ..generation.identity import identity, model_name
from ..rewards.calling import like_prompt
from ..types import Prompt
from .budget import Budget, BudgetUsedUp, CostEstimate
from .comparisons import AUTHORS, RESPONSES
from .job import JudgementJob, Question, key_of, question_of
from .judge import as_store


class Candidates:
    """The job behind [`sample_candidates`], which says what the arguments are; with an estimate, and with what failed.

    Raises:
        ValueError, TypeError, NotImplementedError: As there, before anything is asked.
    """

    def __init__(
        self,
        generators: Any,
        prompts: Iterable[Prompt | Mapping[str, Any]],
        n: int,
        *,
        seed: int = 0,
        store: str | Path | JudgementStore | None = None,
        budget: Budget | None = None,
        retry_failed: bool = False,
        progress: bool = False,
        **sampling: Any,
    ):
        named, self._rows = _named(generators), prompt_rows(prompts)
        self._options = {key: value for key, value in check_sampling(sampling).items() if key != "seed"}
        each = -(-n // len(named))
        check_samples(n, each, self._options["temperature"])
        if each > 1:
            _check_they_sample(named.values())
        ids = {name: identity(generator, name) for name, generator in named.items()}
        self._deals = _deal(ids, self._rows, n, seed, self._options)
        prompts = [row["prompt"] for row in self._rows]
        job = key_of(candidates=ids, sampling=self._options, seed=seed, prompts=prompts)
        common = (as_store(store), job, budget or Budget(), progress, retry_failed)
        self._jobs = {
            name: JudgementJob(generator, *common, task=f"sampling {name}") for name, generator in named.items()
        }

    def estimate(self, sample: int = 16) -> dict[str, CostEstimate]:
        """What it will take, by model, from `sample` answers of each, which are kept and paid for."""
        dealt = {name: self._questions(name) for name in self._jobs}
        return {
            name: self._jobs[name].estimate(questions, sample=sample, **self._options)
            for name, questions in dealt.items()
            if questions
        }

    def sample(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows with their answers, and those that got none, with the reason.

        Raises:
            BudgetUsedUp: If the budget does not reach for all answers.
        """
        found: dict[str, Judgement] = {}
        for name, job in self._jobs.items():
            found |= job.run(self._questions(name), **self._options)
        wanted = {question.key for dealt in self._deals for _, question in dealt}
        if len(found) < len(wanted):
            raise BudgetUsedUp(
                f"The budget is used up: {len(found)} of {len(wanted)} answers are sampled. With a `store`, the same call with a "
                "larger one goes on with the rest."
            )
        return self._gathered(found)

    def _questions(self, name: str) -> list[Question]:
        return [question for dealt in self._deals for other, question in dealt if other == name]

    def _gathered(self, found: Mapping[str, Judgement]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        gathered: list[dict[str, Any]] = []
        left_out: list[dict[str, Any]] = []
        for index, (row, dealt) in enumerate(zip(self._rows, self._deals, strict=True)):
            kept: dict[str, tuple[str, str]] = {}
            for name, question in dealt:
                result = found[question.key].result
                if result is not None:
                    kept.setdefault((result["text"] or "").strip(), (name, result["text"] or ""))
            if not kept:
                left_out.append({**row, "reason": f"row {index}: {found[dealt[0][1].key].failure}"})
                continue
            responses = [like_prompt(row["prompt"], text) for _, text in kept.values()]
            gathered.append({**row, RESPONSES: responses, AUTHORS: [name for name, _ in kept.values()]})
        return gathered, left_out


def prompt_rows(prompts: Iterable[Prompt | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Prompts, or rows with a prompt, as rows.

    Raises:
        ValueError: If there are none, or one is empty or missing; it is named.
    """
    if isinstance(prompts, str):
        raise ValueError(f"`prompts` should be a list of prompts, got one string; a list of one is [{prompts!r}].")
    rows = [dict(one) if isinstance(one, Mapping) else {"prompt": one} for one in prompts]
    if not rows:
        raise ValueError("There are no prompts.")
    for index, row in enumerate(rows):
        if "role" in row and "content" in row and "prompt" not in row:
            raise ValueError(f"`prompts[{index}]` is one message: a prompt is text or a list of messages.")
        if not row.get("prompt"):
            there = f"it has {', '.join(row)}" if "prompt" not in row else f"it is {row['prompt']!r}"
            raise ValueError(f"Row {index} has no `prompt`; {there}.")
    return rows


def check_samples(n: int, each: int, temperature: float) -> None:
    """Checks the number of samples, in all and of one model."""
    if n < 1:
        raise ValueError(f"`n` should be at least 1, got {n}.")
    if each > 1 and temperature == 0:
        raise ValueError(f"{each} answers of one model at temperature 0 would all be the same: set it above 0.")


def _named(generators: Any) -> dict[str, Any]:
    if isinstance(generators, Mapping):
        named = dict(generators)
    else:
        listed = list(generators) if isinstance(generators, (list, tuple)) else [generators]
        named = {model_name(generator): generator for generator in listed}
        if len(named) < len(listed):
            raise ValueError(
                f"Of {len(listed)} generators some have one name ({', '.join(named)}): pass a dict with a name for each."
            )
    if not named:
        raise ValueError("There are no generators.")
    for name, generator in named.items():
        if not callable(getattr(generator, "each", None)):
            raise TypeError(
                f"The generator {name!r} needs a method `each` (see rlhf_ext.generation), which {type(generator).__name__} has not."
            )
    return named


def _check_they_sample(generators: Iterable[Any]) -> None:
    for generator in generators:
        if isinstance(generator, EndpointGenerator) and not generator.probe().sampling:
            raise NotImplementedError(
                f"{generator.base_url} gave the same answer twice at a high temperature: it does not sample, so several answers to "
                "a prompt would be one. Ask for one answer of each model."
            )


def _deal(
    ids: Mapping[str, str], rows: Sequence[Mapping[str, Any]], n: int, seed: int, options: Mapping[str, Any]
) -> list[list[tuple[str, Question]]]:
    """For each row its samples: which model writes them, and the question."""
    names, deals = list(ids), []
    for index, row in enumerate(rows):
        dealt = sorted((index * n + place) % len(names) for place in range(n))
        deal = []
        for place, who in enumerate(dealt):
            parts = {
                "kind": "candidate",
                "model": ids[names[who]],
                "sampling": options,
                "sample": place - dealt.index(who),
            }
            deal.append((names[who], question_of(row["prompt"], seed, **parts)))
        deals.append(deal)
    return deals
