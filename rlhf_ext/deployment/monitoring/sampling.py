"""Live answers scored by reward functions: a sample, drawn by a seed, that no request waits for."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from .settings import SampleSettings, ScoreSettings

_BITS = 53


def drawn(id: str, share: float, seed: int) -> bool:
    """Whether a response is in the sample: by a hash of its id, alike in all workers and whenever it is asked.

    Args:
        id (`str`): Of the response.
        share (`float`): Of responses that are drawn, in [0, 1].
        seed (`int`): Another one draws others.

    Example:

    ```python
    >>> from rlhf_ext.deployment.monitoring.sampling import drawn
    >>> sum(drawn(f"chatcmpl-{i}", 0.1, seed=0) for i in range(10_000))
    1007

    ```
    """
    digest = hashlib.blake2b(f"{seed}:{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) < share * 2**_BITS


def load_scores(settings: SampleSettings) -> dict[str, Any]:
    """The reward functions by name, ready to be called.

    Raises:
        ValueError: If one cannot be found or made; it is named.
    """
    return {name: _load(name, one) for name, one in settings.scores.items()}


def _load(name: str, one: ScoreSettings) -> Any:
    where = f"monitoring.sample.scores.{name}"
    module, _, attribute = one.reward.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}: {one.reward!r} cannot be found: {error}") from error
    if isinstance(found, type) or one.arguments is not None:
        try:
            found = found(**(one.arguments or {}))
        except (TypeError, ValueError, ImportError, OSError) as error:
            raise ValueError(f"{where}: {one.reward!r} cannot be made: {error}") from error
    if not callable(found):
        raise ValueError(f"{where}: {one.reward!r} is no reward function.")
    return found


Scored = Callable[[str, int, float | None], None]
"""Told of a score: its name, which of the answers, and the value; None where it does not apply."""


def score_all(
    functions: Mapping[str, Any], prompts: list[Any], answers: list[str], guard: Any, scored: Scored
) -> None:
    """Scores answers by each function; one that raises gives no scores, and the others theirs.

    Args:
        functions (`Mapping`): Reward functions by name.
        prompts (`list`), answers (`list[str]`): One answer a prompt.
        guard (`Callable`): Makes the block that a function's errors end in, of the function's name.
        scored (`Callable`): Told of every score.
    """
    from ...rewards.calling import call_all, like_prompt

    inputs = {
        "prompts": prompts,
        "completions": [like_prompt(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)],
    }
    for name, function in functions.items():
        scores: list[float | None] = []
        with guard(f"score {name}"):
            scores = call_all({name: function}, {name: inputs}, kind="score")[name]
        for place, value in enumerate(scores):
            scored(name, place, value)
