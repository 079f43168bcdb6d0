"""A judge that is asked many short questions: one that fails has no answer, and a row of failures ends the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers.utils import logging

from ...types import Generator, Message

logger = logging.get_logger(__name__)

_IN_VAIN = 16
"""Failures in a row after which a judge is taken to be gone."""


class Judge:
    """What rewards from a language model have in common: which way it is asked, and what becomes of failures.

    A generator with `each` (all of [`~rlhf_ext.generation`]) gives a failure in the place of an answer, where a provider's filter
    or a too long text concerns one request alone. Others raise it.

    Args:
        generator ([`~rlhf_ext.types.Generator`]):
            Who is asked, in messages.
        use_probabilities (`bool`, *optional*):
            Whether to read the probabilities of choices. By default where the generator has `choice_logprobs`.
        max_new_tokens (`int`, *optional*, defaults to `16`):
            Room for a written answer.

    Raises:
        TypeError: If the generator has no `generate`, or no `choice_logprobs` although probabilities are wanted.
        ValueError: If `max_new_tokens` is below 1.
    """

    def __init__(self, generator: Generator, use_probabilities: bool | None = None, max_new_tokens: int = 16):
        if not callable(getattr(generator, "generate", None)):
            raise TypeError(f"`generator` should have a method `generate`, got {type(generator).__name__}.")
        readable = callable(getattr(generator, "choice_logprobs", None))
        if use_probabilities and not readable:
            raise TypeError(f"{type(generator).__name__} has no `choice_logprobs`: set `use_probabilities=False`.")
        if max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` must be at least 1, got {max_new_tokens}.")
        self.generator: Any = generator
        self.use_probabilities = readable if use_probabilities is None else use_probabilities
        self.max_new_tokens = max_new_tokens
        self._in_vain = 0

    def choose(self, requests: Sequence[list[Message]], choices: Sequence[str]) -> list[list[float] | None]:
        """The choices' log-probabilities for each request, None where there is no answer.

        Raises:
            NotImplementedError: If the generator cannot do it (a server without logprobs).
            RuntimeError: If the last 16 requests, over all calls, had no answer.
        """
        try:
            if not hasattr(self.generator, "each"):
                return list(self.generator.choice_logprobs(requests, choices))
            return [answer and answer.logprobs for answer in self._each(requests, choices)]
        except NotImplementedError as error:
            raise NotImplementedError(
                f"{error} To have the judge write its answer, set `use_probabilities=False`."
            ) from error

    def write(self, requests: Sequence[list[Message]]) -> list[str | None]:
        """What the judge writes to each request, greedily, None where there is no answer.

        Raises:
            RuntimeError: If the last 16 requests, over all calls, had no answer.
        """
        sampling = {"temperature": 0, "max_new_tokens": self.max_new_tokens}
        if not hasattr(self.generator, "each"):
            return list(self.generator.generate(requests, **sampling))
        return [answer and answer.text for answer in self._each(requests, None, **sampling)]

    def _each(self, requests: Sequence[list[Message]], choices: Sequence[str] | None, **sampling: Any) -> list[Any]:
        found: list[Any] = [None] * len(requests)
        for index, answer in self.generator.each(requests, choices, **sampling):
            if isinstance(answer, Exception):
                self._failed(answer)
            else:
                self._in_vain, found[index] = 0, answer
        return found

    def _failed(self, error: Exception) -> None:
        self._in_vain += 1
        if self._in_vain == _IN_VAIN:
            raise RuntimeError(
                f"The judge answered none of the last {_IN_VAIN} requests. The last time: {error}"
            ) from error
        logger.warning(f"The judge gave no answer to a request, whose score is None: {error}")
