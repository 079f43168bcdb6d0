"""The pool as a stream: rows read one by one, and blocks of them with their responses and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rewards import RewardEnsemble
from ..rewards.calling import like_prompt, score_rows
from ..types import Completion, Prompt, text_of
from .arrays import Floats


@dataclass
class PoolRow:
    """A prompt, the different responses to it, which models wrote them (if it is known), and the other columns."""

    index: int
    prompt: Prompt
    responses: list[Completion]
    models: list[str] | None
    columns: dict[str, Any]


def read_rows(prompts: Iterable[Prompt | Mapping[str, Any]], sampled: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a pool, one at a time, with their numbers.

    Args:
        prompts (`Iterable`): Prompts (text or messages) or rows with a `prompt`; may be a stream.
        sampled (`bool`): Whether responses are to be sampled; if not, each row has to bring `responses`.

    Raises:
        ValueError: If a row has no prompt, no responses where it needs them, or has them where they would be lost; it is named.
        TypeError: If `prompts` is one text.
    """
    if isinstance(prompts, str):
        raise TypeError(f"`prompts` should be a list of prompts, got one string; a list of one is [{prompts!r}].")
    for index, one in enumerate(prompts):
        row = dict(one) if isinstance(one, Mapping) else {"prompt": one}
        if not row.get("prompt") or not isinstance(row["prompt"], str | list):
            raise ValueError(
                f"Row {index} has no `prompt`, which is text or a list of messages; it has {', '.join(row)}."
            )
        responses = row.get("responses")
        if sampled and responses is not None:
            raise ValueError(
                f"Row {index} has `responses` already, and there is a generator to sample others: pass None as the generator to "
                "choose among those that there are, or take the column out."
            )
        if not sampled and (not isinstance(responses, Sequence) or isinstance(responses, str) or not responses):
            raise ValueError(
                f"Row {index} needs `responses`, a list of answers, got {responses!r}. With a generator they are sampled."
            )
        yield index, row


def pool_row(index: int, row: Mapping[str, Any]) -> PoolRow:
    """A row with its responses; those that are equal but for white space are kept once, empty ones not at all.

    Raises:
        ValueError: If `models` does not name one for each response.
        TypeError: If a response is neither text nor messages.
    """
    models = row.get("models")
    if models is not None and len(models) != len(row["responses"]):
        raise ValueError(f"Row {index} has {len(row['responses'])} responses, and {len(models)} `models`.")
    kept: dict[str, int] = {}
    for place, response in enumerate(row["responses"]):
        try:
            words = text_of(response).strip()
        except TypeError as error:
            raise TypeError(f"Row {index}, response {place}: {error}") from None
        if words:  # of an empty answer nobody is asked: the feedback page refuses such items
            kept.setdefault(words, place)
    places = list(kept.values())
    return PoolRow(
        index,
        row["prompt"],
        [row["responses"][place] for place in places],
        None if models is None else [models[place] for place in places],
        {name: value for name, value in row.items() if name not in ("prompt", "responses", "models")},
    )


def prompt_key(prompt: Prompt) -> bytes:
    """What tells prompts apart: 16 bytes of a hash of their words; white space does not count, and text is a user's message."""
    parts = [("user", prompt)] if isinstance(prompt, str) else [(str(m.get("role")), text_of([m])) for m in prompt]
    text = json.dumps([(role, " ".join(words.split())) for role, words in parts], ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def member_count(reward: Any) -> int:
    """Reward models that a `reward` argument stands for."""
    return 0 if reward is None else len(reward) if isinstance(reward, RewardEnsemble | list | tuple) else 1


def score_members(
    reward: Any, prompts: Sequence[Prompt], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
) -> Floats:
    """Scores of completions by each member, shape `(N, m)`; NaN where a reward function gives None.

    An ensemble's members are taken in their own units, those of Bradley and Terry, not on the ensemble's common scale.

    Raises:
        TypeError, ValueError: As in [`~rlhf_ext.rewards.calling.score_rows`].
    """
    if isinstance(reward, RewardEnsemble):
        scores = reward.score_members(prompts, completions).numpy().astype(np.float64)
        return (scores if reward.scale is None else scores * reward.scale.numpy()[:, None]).T
    members = list(reward) if isinstance(reward, list | tuple) else [reward]
    return np.stack([score_rows(member, prompts, completions, columns) for member in members], axis=1)


def flat(rows: Sequence[PoolRow]) -> tuple[list[Prompt], list[Completion], dict[str, list[Any]]]:
    """All responses in one list, with their prompts and the other columns of their rows."""
    prompts = [row.prompt for row in rows for _ in row.responses]
    completions = [like_prompt(row.prompt, response) for row in rows for response in row.responses]
    names = dict.fromkeys(name for row in rows for name in row.columns)
    return prompts, completions, {name: [r.columns.get(name) for r in rows for _ in r.responses] for name in names}


def padded(rows: Sequence[PoolRow], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values of all responses, shape `(N, ...)`, as `(P, n, ...)`, and where there is one."""
    counts = np.array([len(row.responses) for row in rows])
    there = np.arange(counts.max()) < counts[:, None]
    filled = np.zeros((*there.shape, *values.shape[1:]), dtype=values.dtype)
    filled[there] = values
    return filled, there
