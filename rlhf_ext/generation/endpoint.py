"""Text from an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..types import Prompt
from .sampling import check_choices, check_prompts, check_sampling, cut, log_shares

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion


class EndpointGenerator:
    """Writes with any OpenAI-compatible endpoint (vLLM, llama.cpp, a hosted service), several requests at a time.

    Text becomes one user message. Temperature and `top_p` are always sent, lest the server's own defaults slip in. A
    `seed` is sent as `seed + n` with prompt n, so that a repeated prompt gets different samples. Works in a notebook
    too, where an event loop is running. `choice_logprobs` reads the 20 likeliest first tokens, white space aside: each
    choice must be one token, and has probability 0 (`-inf`) if it is not among them.

    Args:
        base_url (`str`): The endpoint, usually up to and with `/v1`.
        model (`str`): The model's name there.
        api_key_env (`str`, *optional*, defaults to `"OPENAI_API_KEY"`): The environment variable with the key. It is
            read at each call and not kept; where it is not set, `"not-needed"` is sent.
        max_concurrency (`int`, *optional*, defaults to `8`): Requests at the same time, at least 1.
        timeout (`float`, *optional*, defaults to `60.0`): Seconds that one attempt may take.
        max_retries (`int`, *optional*, defaults to `4`): How often the client tries again (429, 5xx, no connection).
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar with the remaining time.

    Raises:
        ImportError: If `openai` is not installed.
        ValueError: If `max_concurrency` < 1.
        NotImplementedError: From the methods: `top_k`; no logprobs from the server; a choice of several tokens.
        RuntimeError: From the methods: an answer without content, or with none of the choices. What still fails after
            the retries is the client's own `openai.APIError`.

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
        progress: bool = False,
    ):
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency should be at least 1, got {max_concurrency}.")
        try:
            import openai  # noqa: F401
        except ImportError as error:
            raise ImportError("EndpointGenerator needs the openai package: pip install rlhf_ext[label]") from error
        self.base_url, self.model, self.api_key_env = base_url, model, api_key_env
        self.max_concurrency, self.timeout, self.max_retries = max_concurrency, timeout, max_retries
        self.progress = progress

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """One completion a prompt, in order."""
        options = check_sampling(sampling)
        if options.pop("top_k"):
            raise NotImplementedError("top_k is not part of the chat completions protocol; use top_p.")
        options["max_tokens"] = options.pop("max_new_tokens")
        answers = self._ask(prompts, options)
        return [cut(self._content(index, answer), options["stop"]) for index, answer in enumerate(answers)]

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of the choices as the first token of each answer, in order."""
        choices = check_choices([choice.strip() for choice in check_choices(choices)])
        answers = self._ask(prompts, {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20})
        return [self._first_token(index, answer, choices) for index, answer in enumerate(answers)]

    def _content(self, index: int, answer: ChatCompletion) -> str:
        # The client does not hold a server to the types it declares: any of these may be missing.
        choice = answer.choices[0] if answer.choices else None
        if choice is None or choice.message is None or choice.message.content is None:
            reason = choice.finish_reason if choice else None
            raise RuntimeError(f"The answer to prompts[{index}] has no content (finish_reason: {reason!r}).")
        return choice.message.content

    def _first_token(self, index: int, answer: ChatCompletion, choices: list[str]) -> list[float]:
        logprobs = answer.choices[0].logprobs if answer.choices else None
        if not logprobs or not logprobs.content or not logprobs.content[0].top_logprobs:
            raise NotImplementedError(f"{self.base_url} returned no logprobs for {self.model!r}: choices need them.")
        tokens = [(top.token.strip(), math.exp(top.logprob)) for top in logprobs.content[0].top_logprobs]
        for choice in choices:
            parts = [token for token, _ in tokens if token and choice.startswith(token)]
            if parts and choice not in parts:
                raise NotImplementedError(f"The choice {choice!r} should be one token; the server has {parts[0]!r}.")
        weights = [sum(weight for token, weight in tokens if token == choice) for choice in choices]
        if not sum(weights):
            raise RuntimeError(
                f"None of {choices} is a likely first token after prompts[{index}]; these are: {tokens}."
            )
        return log_shares(weights)

    def _ask(self, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> list[ChatCompletion]:
        requests = []
        for index, prompt in enumerate(check_prompts(prompts)):
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            request = {"model": self.model, "messages": messages, **options}
            if options.get("seed") is not None:
                request["seed"] = options["seed"] + index
            requests.append({name: value for name, value in request.items() if value not in (None, [])})
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            run: Callable[..., Any] = asyncio.run
        else:  # a thread with a running loop, as in a notebook, cannot run a second one
            run = _run_in_thread
        return run(self._ask_all(requests))

    async def _ask_all(self, requests: list[dict[str, Any]]) -> list[ChatCompletion]:
        from openai import AsyncOpenAI

        key = os.environ.get(self.api_key_env, "").strip() or "not-needed"
        gate = asyncio.Semaphore(self.max_concurrency)
        bar = tqdm(total=len(requests), desc="generating", unit="prompt", disable=not self.progress)
        client = AsyncOpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=self.max_retries)

        async def ask(request: dict[str, Any]) -> ChatCompletion:
            async with gate:
                answer = await client.chat.completions.create(**request)
            bar.update()
            return answer

        with bar:
            async with client:  # when one fails, `asyncio.run` cancels the others
                return await asyncio.gather(*map(ask, requests))


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
