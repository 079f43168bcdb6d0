"""How a judge's word is had: read from log-probabilities, or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..generation import EndpointGenerator, ScriptedGenerator


@dataclass(frozen=True)
class Mode:
    """How often and how a judge is asked.

    Args:
        reads_logprobs (`bool`): Whether its choice is read from log-probabilities, not from text.
        votes (`int`): Answers for each order.
        temperature (`float`): Of written answers.
    """

    reads_logprobs: bool
    votes: int
    temperature: float


def choose_mode(generator: Any, mode: str, votes: int, temperature: float) -> Mode:
    """What the generator can do of what is asked for.

    Raises:
        ValueError: If a setting is out of range, or votes would all be the same.
        TypeError: If the generator has no `each`.
        NotImplementedError: If an endpoint lacks what is needed.
    """
    if mode not in ("auto", "logprobs", "text"):
        raise ValueError(f"`mode` should be 'auto', 'logprobs' or 'text', got {mode!r}.")
    if votes < 1:
        raise ValueError(f"`votes` should be at least 1, got {votes}.")
    if not callable(getattr(generator, "each", None)):
        raise TypeError(
            f"A judge needs a method `each` (see rlhf_ext.generation), which {type(generator).__name__} has not."
        )
    reads = mode == "logprobs" or (mode == "auto" and votes == 1)
    if isinstance(generator, EndpointGenerator):
        abilities = generator.probe()
        if mode == "logprobs" and not abilities.logprobs:
            raise NotImplementedError(
                f"{generator.base_url} gives no log-probabilities for {generator.model!r}, which `mode='logprobs'` reads. Use "
                "`mode='text'`, with `votes` for soft labels."
            )
        reads = reads and abilities.logprobs
        if votes > 1 and not abilities.sampling:
            raise NotImplementedError(
                f"{generator.base_url} gave the same answer twice at a high temperature: it does not sample, so {votes} votes would "
                "be one. Use `votes=1`."
            )
    elif isinstance(generator, ScriptedGenerator):
        reads = reads and (mode == "logprobs" or generator.choice_probs is not None)
    if reads and votes > 1:
        raise ValueError(
            "Log-probabilities need one vote: asked again, they are the same. Set `votes=1` or `mode='text'`."
        )
    if votes > 1 and temperature <= 0:
        raise ValueError(f"{votes} votes at temperature 0 would all be the same: set `temperature` above 0.")
    return Mode(reads, votes, temperature if votes > 1 else 0.0)
