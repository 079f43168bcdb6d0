"""Text from an OpenAI-compatible endpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from ..types import Prompt, template_kwargs
from .answer import Answer, Request, Unanswered
from .probing import Abilities, probe
from .sampling import as_request, check_choices, check_prompts, check_sampling, cut, log_shares
from .sending import Sender

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion


_LEAST_SHARE = 0.01
"""Probability that the choices must have together: the odds of tokens that are never written say nothing."""


class EndpointGenerator:
    """Writes with any OpenAI-compatible endpoint (vLLM, llama.cpp, a hosted service), several requests at a time.

    Text becomes one user message. Temperature and `top_p` are always sent, lest the server's own defaults slip in. A
    `seed` is sent as `seed + n` with prompt n, so that a repeated prompt gets different samples. Works in a notebook
    too, where an event loop is running. `choice_logprobs` reads the 20 likeliest first tokens, white space aside: each
    choice must be one token, and has probability 0 (`-inf`) if it is not among them. Where all choices together have less
    than 1 %, the model means to say something else (a refusal, a thought), and there is no answer.

    Args:
        base_url (`str`): The endpoint, usually up to and with `/v1`; without user and password, which would stand in messages.
        model (`str`): The model's name there.
        api_key_env (`str`, *optional*, defaults to `"OPENAI_API_KEY"`): The environment variable with the key. It is
            read at each call and not kept; where it is not set, `"not-needed"` is sent.
        max_concurrency (`int`, *optional*, defaults to `8`): Requests at the same time, at least 1.
        timeout (`float`, *optional*, defaults to `60.0`): Seconds that one attempt may take.
        max_retries (`int`, *optional*, defaults to `4`): How often a request is sent again after a failure that may pass (429,
            5xx, no connection, a timeout, half an answer), after the time that the server asks for or a growing wait.
        max_wait (`float`, *optional*, defaults to `600.0`): Seconds that the server may ask to wait (`Retry-After`); where it asks
            for more, the work ends with an error that says so.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar with the remaining time.
        chat_template_kwargs (`dict`, *optional*): What the server's chat template is told beside the messages, such as
            `{"enable_thinking": False}` for Qwen3: a field of the request that vLLM, SGLang, llama.cpp and `transformers serve` read.
            Hosted services may ignore or refuse it.

    Raises:
        ImportError: If `openai` is not installed.
        ValueError: If `base_url` is no such address, `max_concurrency` < 1 or `max_wait` < 0. From the methods: the endpoint does not know the model.
        NotImplementedError: From the methods: `top_k`; no logprobs from the server; a choice of several tokens.
        Unanswered: From the methods: a prompt got no answer, or one without content, or with none of the choices.
        PermissionError: From the methods: the key is missing or refused, or its quota used up.
        TimeoutError: From the methods: the server asks to wait for longer than `max_wait`.

    Example:

    ```python
    >>> from rlhf_ext.generation import EndpointGenerator
    >>> generator = EndpointGenerator("http://localhost:8000/v1", model="Qwen/Qwen2.5-0.5B-Instruct")
    >>> answers = generator.generate(["What is the capital of France?"], max_new_tokens=8)  # with a server running
    ```
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key_env: str = "OPENAI_API_KEY",
        max_concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 4,
        max_wait: float = 600.0,
        progress: bool = False,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
    ):
        _check_url(base_url)
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency should be at least 1, got {max_concurrency}.")
        if not max_wait >= 0:
            raise ValueError(f"max_wait should be at least 0 seconds, got {max_wait}.")
        try:
            import openai  # noqa: F401
        except ImportError as error:
            raise ImportError("EndpointGenerator needs the openai package: pip install rlhf_ext[label]") from error
        self.base_url, self.model, self.api_key_env = base_url, model, api_key_env
        self.max_concurrency, self.timeout, self.max_retries = max_concurrency, timeout, max_retries
        self.max_wait, self.progress = max_wait, progress
        self.chat_template_kwargs = template_kwargs(chat_template_kwargs)

    group_size = 1
    """Requests that [`each`] takes at a time: each stands alone."""

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """One completion a prompt, in order."""
        seed = check_sampling(sampling)["seed"]
        return [answer.text for answer in self._all(prompts, None, sampling, seed)]

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of the choices as the first token of each answer, in order."""
        return [answer.logprobs for answer in self._all(prompts, choices, {}, None)]

    def each(
        self, requests: Iterable[Prompt | Request], choices: Sequence[str] | None = None, **sampling: Any
    ) -> Iterator[tuple[int, Answer | Exception]]:
        """Answers as they come, each with the index of its request: texts, or with `choices` their log-probabilities.

        At most `max_concurrency` requests are on their way; the next is taken from `requests` when one is answered. What
        concerns one request comes back as [`Unanswered`]. Closing the iterator cancels what is on its way.
        """
        options, choices = self._options(choices, sampling), _stripped(choices)
        waiting = 0
        with self._sender() as sender:
            for index, request in enumerate(map(as_request, requests)):
                sender.submit(index, self._request(request, options))
                waiting += 1
                if waiting == self.max_concurrency:
                    yield self._received(sender, options, choices)
                    waiting -= 1
            for _ in range(waiting):
                yield self._received(sender, options, choices)

    def probe(self) -> Abilities:
        """What the endpoint truly does of what it accepts; see [`~rlhf_ext.generation.probing.Abilities`]. Sends five requests.

        Raises:
            ConnectionError: If it cannot be reached.
        """
        with self._sender() as sender:
            return probe(sender, self.model, self._beside)

    def _sender(self) -> Sender:
        return Sender(self.base_url, self.api_key_env, self.timeout, self.max_retries, self.max_wait)

    def _all(
        self, prompts: Sequence[Prompt], choices: Sequence[str] | None, sampling: Mapping[str, Any], seed: int | None
    ) -> list[Any]:
        """All answers in order; the first prompt without one ends it."""
        prompts = check_prompts(prompts)
        answers: list[Any] = [None] * len(prompts)
        requests = [Request(prompt, None if seed is None else seed + n) for n, prompt in enumerate(prompts)]
        with tqdm(total=len(prompts), desc="generating", unit="prompt", disable=not self.progress) as bar:
            for index, answer in self.each(requests, choices, **sampling):
                if isinstance(answer, Unanswered):
                    raise Unanswered(f"prompts[{index}]: {answer}", answer.attempts) from answer.__cause__
                if isinstance(answer, Exception):
                    raise answer
                answers[index] = answer
                bar.update()
        return answers

    def _options(self, choices: Sequence[str] | None, sampling: Mapping[str, Any]) -> dict[str, Any]:
        options = check_sampling(sampling)
        if choices is not None:
            return {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20}
        if options.pop("top_k"):
            raise NotImplementedError("top_k is not part of the chat completions protocol; use top_p.")
        options["max_tokens"] = options.pop("max_new_tokens")
        return options

    def _request(self, request: Request, options: Mapping[str, Any]) -> dict[str, Any]:
        prompt = request.prompt
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        fields = {"model": self.model, "messages": messages, **options}
        if request.seed is not None and "logprobs" not in options:
            fields["seed"] = request.seed
        return {name: value for name, value in {**fields, **self._beside}.items() if value not in (None, [])}

    @property
    def _beside(self) -> dict[str, Any]:
        """Fields of every request that are not part of the protocol."""
        told = self.chat_template_kwargs
        return {"extra_body": {"chat_template_kwargs": told}} if told else {}

    def _received(
        self, sender: Sender, options: Mapping[str, Any], choices: list[str] | None
    ) -> tuple[int, Answer | Exception]:
        index, outcome, attempts = sender.next_result()
        if isinstance(outcome, Unanswered):
            return index, outcome
        usage = outcome.usage
        counts = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        try:
            if choices is not None:
                return index, Answer(None, self._first_token(outcome, choices), *counts, attempts)
            return index, Answer(cut(_content(outcome), options["stop"]), None, *counts, attempts)
        except Unanswered as error:
            return index, Unanswered(str(error), attempts, *counts)

    def _first_token(self, answer: ChatCompletion, choices: list[str]) -> list[float]:
        logprobs = _choice(answer).logprobs
        if not logprobs or not logprobs.content or not logprobs.content[0].top_logprobs:
            _content(answer)  # one that has no text either says nothing about what the server can do
            raise NotImplementedError(f"{self.base_url} returned no logprobs for {self.model!r}: choices need them.")
        tokens = [(top.token.strip(), math.exp(top.logprob)) for top in logprobs.content[0].top_logprobs]
        for choice in choices:
            parts = [token for token, _ in tokens if token and choice.startswith(token)]
            if parts and choice not in parts:
                raise NotImplementedError(f"The choice {choice!r} should be one token; the server has {parts[0]!r}.")
        weights = [sum(weight for token, weight in tokens if token == choice) for choice in choices]
        if sum(weights) < _LEAST_SHARE:
            likely = ", ".join(f"{token!r} {weight:.2g}" for token, weight in tokens[:5])
            raise Unanswered(f"none of {choices} is a likely first token of the answer; these are: {likely}")
        return log_shares(weights)


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"`base_url` holds a user or password for {parts.hostname}: addresses stand in messages and results. Give the key in "
            "the environment variable `api_key_env`."
        )
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"`base_url` should begin with http:// or https://, got {base_url!r}.")


def _stripped(choices: Sequence[str] | None) -> list[str] | None:
    return None if choices is None else check_choices([choice.strip() for choice in check_choices(choices)])


def _choice(answer: ChatCompletion) -> Any:
    # The client does not hold a server to the types it declares: any of these may be missing.
    if not answer.choices or len(answer.choices) != 1:
        raise Unanswered(f"the answer has {len(answer.choices or [])} choices where one was asked for")
    choice = answer.choices[0]
    if choice.finish_reason == "content_filter" and choice.message is not None and choice.message.content is not None:
        raise Unanswered("the endpoint's filter cut the answer off (finish_reason: 'content_filter')")
    return choice


def _content(answer: ChatCompletion) -> str:
    choice = _choice(answer)
    if choice.message is None or choice.message.content is None:
        raise Unanswered(f"the answer has no content (finish_reason: {choice.finish_reason!r})")
    return str(choice.message.content)
