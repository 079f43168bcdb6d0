"""Calling a reward function outside of a trainer: any kind of it, and what it gives is checked."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Completion, Prompt, is_messages, text_of


def score_rows(
    reward: Any,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> NDArray[np.float64]:
    """Scores of completions by any reward function, sync or async, as an array.

    Args:
        reward (`RewardFunction`):
            Called with keywords.
        prompts, completions (`Sequence`):
            One completion a prompt.
        columns (`dict[str, Sequence]`, *optional*):
            Other columns of the rows.

    Returns:
        Array of shape `(n,)`, in the function's unit; NaN where it gives None.

    Raises:
        ValueError: If it gives another number of scores, or one that is NaN or infinite (the row is named).

    Example:

    ```python
    >>> from rlhf_ext.rewards.calling import score_rows
    >>> score_rows(lambda prompts, completions: [float(len(c)) for c in completions], ["a", "b"], ["xy", "z"]).tolist()
    [2.0, 1.0]

    ```
    """
    scores = reward(prompts=list(prompts), completions=list(completions), **(columns or {}))
    if inspect.iscoroutine(scores):  # in a thread, since a notebook has an event loop running in this one
        with ThreadPoolExecutor(1) as pool:
            scores = pool.submit(asyncio.run, scores).result()
    name = getattr(reward, "__name__", type(reward).__name__)
    if len(scores) != len(completions):
        raise ValueError(f"The reward function {name!r} gave {len(scores)} scores for {len(completions)} completions.")
    for row, score in enumerate(scores):
        if score is not None and not np.isfinite(float(score)):
            raise ValueError(
                f"The reward function {name!r} gave {score} for row {row}: {text_of(completions[row])[:200]!r}. A score "
                "must be finite, or None where the function does not apply."
            )
    return np.array([np.nan if score is None else float(score) for score in scores])


def like_prompt(prompt: Prompt, completion: Completion) -> Completion:
    """A text as the assistant's message where the prompt is messages; anything else as it is."""
    if is_messages(prompt) and isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return completion
