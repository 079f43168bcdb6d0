"""What a generator is asked and what it answers, one prompt at a time: for work that must survive single failures."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import Prompt


@dataclass(frozen=True)
class Request:
    """A prompt, with a seed of its own.

    Args:
        prompt (`str` or `list[dict]`): Text or messages.
        seed (`int`, *optional*): Its seed, in place of that of the call. A local model samples a batch with the seed of its
            first request.
    """

    prompt: Prompt
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """What came back for a prompt, and what it cost.

    Args:
        text (`str`, *optional*): The text, where text was asked for.
        logprobs (`list[float]`, *optional*): The choices' log-probabilities in nats, where choices were given.
        input_tokens (`int`, *optional*, defaults to `0`), output_tokens (`int`, *optional*, defaults to `0`): Tokens read
            and written. An endpoint's own count; where it gives none, 0.
        attempts (`int`, *optional*, defaults to `1`): Requests that were sent for it.
    """

    text: str | None = None
    logprobs: list[float] | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1


class PromptTooLong(ValueError):
    """A prompt and what is to follow do not fit into the model's window."""


class Unanswered(RuntimeError):
    """A prompt got no usable answer: the endpoint refused it, gave up on it, or sent something else.

    Args:
        reason (`str`): Why, in words that hold no key.
        attempts (`int`, *optional*, defaults to `1`): Requests that were sent for it.
        input_tokens (`int`, *optional*, defaults to `0`), output_tokens (`int`, *optional*, defaults to `0`): Tokens of an answer
            that came and is of no use: it is paid for all the same.
    """

    def __init__(self, reason: str, attempts: int = 1, input_tokens: int = 0, output_tokens: int = 0):
        super().__init__(reason)
        self.attempts, self.input_tokens, self.output_tokens = attempts, input_tokens, output_tokens
