"""Text from a script: the fake that ships, for tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..types import Prompt, text_of
from .answer import Answer, Request, Unanswered
from .sampling import as_request, check_choices, check_prompts, check_sampling, log_shares


class ScriptedGenerator:
    """Gives the answers it was told to and records what it was asked: for testing a pipeline without a model.

    Sampling arguments are checked as everywhere and recorded; they change nothing about the answers.

    Args:
        responses (`list[str]`, `dict[str, str | list[str]]` or `Callable`): Answers to give in turn; or the answer to
            each prompt text, or several to give in turn; or a function `(prompt, sampling) -> str`.
        choice_probs (`Callable`, *optional*): For `choice_logprobs`, a function `(prompt, choices) -> list[float]`
            with the probability, or any weight >= 0, of each choice.

    Attributes:
        calls (`list[tuple]`): For each prompt so far `(prompt, sampling)`, or `(prompt, {"choices": choices})`.

    Raises:
        TypeError: If `responses` is none of these; from `generate`, if a response is not text.
        LookupError: From `generate`, if there is no response to a prompt, or all are used up.
        NotImplementedError: From `choice_logprobs`, without `choice_probs`.

    Example:

    ```python
    >>> from rlhf_ext.generation import ScriptedGenerator
    >>> judge = ScriptedGenerator({"Which is better?": "A"})
    >>> judge.generate(["Which is better?"], temperature=0)
    ['A']
    >>> judge.calls
    [('Which is better?', {'temperature': 0})]
    ```
    """

    def __init__(
        self,
        responses: Sequence[str] | Mapping[str, str | list[str]] | Callable[[Prompt, dict[str, Any]], str],
        choice_probs: Callable[[Prompt, list[str]], Sequence[float]] | None = None,
    ):
        if not callable(responses) and not isinstance(responses, (list, tuple, Mapping)):
            raise TypeError(f"responses should be a list, a dict or a function, got {responses!r}.")
        self.responses, self.choice_probs = responses, choice_probs
        self.calls: list[tuple[Prompt, dict[str, Any]]] = []
        self._given: Counter[str] = Counter()

    group_size = 1
    """Requests that [`each`] takes at a time: each stands alone."""

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """The scripted response to each prompt, in order."""
        check_sampling(sampling)
        return [self._respond(prompt, dict(sampling)) for prompt in check_prompts(prompts)]

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Logarithms of what `choice_probs` gives for each prompt, made to sum to 1, in order."""
        if self.choice_probs is None:
            raise NotImplementedError("This ScriptedGenerator was made without `choice_probs`.")
        rows, choices = [], check_choices(choices)
        for prompt in check_prompts(prompts):
            self.calls.append((prompt, {"choices": choices}))
            weights = self.choice_probs(prompt, choices)
            if len(weights) != len(choices) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
                raise ValueError(f"choice_probs should give {len(choices)} weights >= 0, not all 0, got {weights}.")
            rows.append(log_shares(weights))
        return rows

    def each(
        self, requests: Iterable[Prompt | Request], choices: Sequence[str] | None = None, **sampling: Any
    ) -> Iterator[tuple[int, Answer | Exception]]:
        """Answers one at a time. A scripted function may raise [`Unanswered`], which comes back in the place of an answer.

        Words are counted for tokens.
        """
        for index, request in enumerate(map(as_request, requests)):
            given = {**sampling, **({} if request.seed is None else {"seed": request.seed})}
            read = len(text_of(request.prompt).split())
            try:
                if choices is None:
                    text = self.generate([request.prompt], **given)[0]
                    yield index, Answer(text, None, read, len(text.split()))
                else:
                    yield index, Answer(None, self.choice_logprobs([request.prompt], choices)[0], read, 1)
            except Unanswered as error:
                yield index, error

    def _respond(self, prompt: Prompt, sampling: dict[str, Any]) -> str:
        self.calls.append((prompt, sampling))
        script: Any = self.responses
        if callable(script):
            response = script(prompt, sampling)
        elif not isinstance(script, Mapping):
            response = self._next(script, "")
        elif (text := text_of(prompt)) not in script:
            raise LookupError(f"No response is scripted for the prompt {text!r}.")
        else:
            response = script[text] if isinstance(script[text], str) else self._next(script[text], text)
        if not isinstance(response, str):
            raise TypeError(f"A scripted response should be a string, got {response!r} to the prompt {prompt!r}.")
        return response

    def _next(self, responses: Sequence[str], text: str) -> str:
        self._given[text] += 1
        if self._given[text] > len(responses):
            raise LookupError(f"All {len(responses)} scripted responses{f' to {text!r}' if text else ''} are used up.")
        return responses[self._given[text] - 1]
