"""Writing text with a local model, an OpenAI-compatible endpoint, or a script: three classes, one protocol.

Each has `generate(prompts, **sampling)`, which gives one text a prompt, in order (for n samples, repeat the prompt n
times; `sampling` as in [`check_sampling`]), and `choice_logprobs(prompts, choices)`, which gives a row a prompt: the
log-probability (in nats) of each choice as the continuation, given that it is one of them, so that `exp` sums to 1.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList

from .types import Prompt, text_of

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

# name: default, type, what to make of it, valid values, the same in words
_SAMPLING: dict[str, tuple[Any, type, Callable[[Any], Any], Callable[[Any], bool], str]] = {
    "max_new_tokens": (256, Integral, int, lambda value: value >= 1, "an integer of at least 1"),
    "temperature": (1.0, Real, float, lambda value: 0 <= value < math.inf, "a number of at least 0 (0 is greedy)"),
    "top_p": (1.0, Real, float, lambda value: 0 < value <= 1, "a number in (0, 1] (1 is off)"),
    "top_k": (0, Integral, int, lambda value: value >= 0, "an integer of at least 0 (0 is off)"),
    "stop": (
        [],
        list,
        list,
        lambda value: all(isinstance(s, str) and s for s in value),
        "a list of non-empty strings",
    ),
    "seed": (None, Integral, int, lambda value: 0 <= value < 2**63, "an integer in [0, 2**63)"),
}


def check_sampling(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the sampling arguments of a generator and fills in the defaults, which are the same for every generator.

    Args:
        sampling (`Mapping[str, Any]`):
            Any of `max_new_tokens` (`int` >= 1, default 256), `temperature` (`float` >= 0, default 1.0, 0 is greedy),
            `top_p` (`float` in (0, 1], default 1.0, off), `top_k` (`int` >= 0, default 0, off), `stop` (`list[str]`,
            the text is cut before the first of them) and `seed` (`int` in [0, 2**63)). `None` is the default.

    Returns:
        `dict[str, Any]`: all six of them.

    Raises:
        TypeError: If a name is unknown.
        ValueError: If a value is not valid.

    Example:

    ```python
    >>> from rlhf_ext.generation import check_sampling
    >>> check_sampling({"temperature": 0})["max_new_tokens"]
    256
    ```
    """
    if unknown := [name for name in sampling if name not in _SAMPLING]:
        raise TypeError(f"Unknown sampling argument {unknown[0]!r}; the known ones are {', '.join(_SAMPLING)}.")
    checked = {}
    for name, (default, kind, convert, valid, expected) in _SAMPLING.items():
        value = sampling.get(name)
        if value is not None and not (isinstance(value, kind) and valid(value)):
            raise ValueError(f"{name} should be {expected}, got {value!r}.")
        checked[name] = default if value is None else convert(value)
    return checked


def _check_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        raise TypeError(f"prompts should be a list of prompts, got one string; a list of one is [{prompts!r}].")
    prompts = list(prompts)
    for index, prompt in enumerate(prompts):
        messages = isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt)
        if not isinstance(prompt, str) and not messages:
            raise TypeError(f"prompts[{index}] should be text or a list of messages, got {prompt!r}.")
    return prompts


def _check_choices(choices: Sequence[str]) -> list[str]:
    strings = not isinstance(choices, str) and all(isinstance(choice, str) and choice for choice in choices)
    if not strings or not choices or len(set(choices)) < len(choices):
        raise ValueError(f"choices should be a list of non-empty strings, each different, got {choices!r}.")
    return list(choices)


def _log_shares(weights: Sequence[float]) -> list[float]:
    return [math.log(weight / sum(weights)) if weight else -math.inf for weight in weights]


def _cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.find(s) for s in stop if s in text), default=len(text))]


class LocalGenerator:
    """Writes with a decoder-only language model in this process.

    Leaves model and tokenizer as they were: each module's train or eval mode, generation config, padding side, pad
    token. Of the model's generation config only the start and end tokens count: temperature 1 samples the model's own
    distribution. With a `seed`, the same prompts and batch size give the same texts, and torch's global random state
    stays as it was. Under FSDP or ZeRO-3, pass the unwrapped model.

    `choice_logprobs` sums over the tokens of a choice. Prompt and choice are tokenized as one text: write the space
    that belongs between them (`" A"` after `"Answer:"`).

    Args:
        model ([`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]): The language model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer; with a chat template for messages.
        batch_size (`int`, *optional*, defaults to `16`): Prompts a batch, at least 1; like lengths go together.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar with the remaining time.

    Raises:
        ValueError: If the model is an encoder-decoder or `batch_size` < 1. From the methods: if a prompt is too long
            for the model, is empty with no token to start from, or has messages and there is no chat template.

    Example:

    ```python
    >>> from rlhf_ext.generation import LocalGenerator
    >>> from transformers import AutoModelForCausalLM, AutoTokenizer
    >>> name = "Qwen/Qwen2.5-0.5B-Instruct"
    >>> generator = LocalGenerator(AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name))
    >>> answers = generator.generate(["The capital of France is"], max_new_tokens=8, temperature=0)
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int = 16,
        progress: bool = False,
    ):
        if model.config.is_encoder_decoder:
            raise ValueError(f"{type(model).__name__} is an encoder-decoder; a decoder-only model is needed.")
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, got {batch_size}.")
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.batch_size, self.progress = batch_size, progress

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """One completion a prompt, in order, without special tokens."""
        options = check_sampling(sampling)
        rows = [self._ids(prompt) or [self._start(index)] for index, prompt in enumerate(_check_prompts(prompts))]
        for index, row in enumerate(rows):
            self._check_room(index, len(row) + options["max_new_tokens"] - 1)  # the last token is not fed back
        stop = options["stop"]
        # A stop that is one added token, such as <|im_end|>, is not in the decoded text: it ends as EOS does.
        added = self.tokenizer.get_added_vocab()
        ends = self._ends() | {added[s] for s in stop if s in added}
        texts = [""] * len(rows)
        with self._evaluating(options["seed"], self._config(options, ends)):
            for batch in self._batches(rows):
                for index, ids in zip(batch, self._write([rows[index] for index in batch], stop), strict=True):
                    length = next((n for n, token in enumerate(ids) if token in ends), len(ids))
                    texts[index] = _cut(self.tokenizer.decode(ids[:length], skip_special_tokens=True), stop)
        return texts

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of the choices after each prompt, in order."""
        choices, prompts = _check_choices(choices), _check_prompts(prompts)
        scores = torch.zeros(len(prompts), len(choices), dtype=torch.float64)
        # Keyed by the ids to feed: choices of one token all feed the prompt alone, and so share one pass.
        targets: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
        for index, prompt in enumerate(prompts):
            for column, (ids, given) in enumerate(self._choice_ids(index, prompt, choices)):
                targets.setdefault(tuple(ids[:-1]), []).append((index, column, ids[given:]))
        rows = list(targets)
        with self._evaluating(), torch.no_grad():
            for batch in self._batches(rows):
                need = max(len(ids) for row in batch for *_, ids in targets[rows[row]])
                for row, logits in zip(batch, self._last_logits([rows[row] for row in batch], need), strict=True):
                    for index, column, ids in targets[rows[row]]:
                        logprobs = logits[-len(ids) :].float().log_softmax(-1)
                        scores[index, column] = logprobs[range(len(ids)), ids].sum()
        return scores.log_softmax(-1).tolist()

    def _ids(self, prompt: Prompt, choice: str = "") -> list[int]:
        if not isinstance(prompt, str):  # a chat template writes the special tokens itself
            if self.tokenizer.chat_template is None:
                raise ValueError(
                    "The prompts are messages, and the tokenizer has no chat template: pass the prompts as text, or "
                    "set `tokenizer.chat_template`."
                )
            text = self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            return self.tokenizer(text + choice, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(prompt + choice)["input_ids"]
        eos, eos_id = self.tokenizer.eos_token, self.tokenizer.eos_token_id
        # Some tokenizers close every text with EOS; a prompt is to be continued.
        return ids[:-1] if ids and ids[-1] == eos_id and not (prompt + choice).endswith(eos) else ids

    def _choice_ids(self, index: int, prompt: Prompt, choices: list[str]) -> list[tuple[list[int], int]]:
        """For each choice the ids of prompt and choice, and how many of them are given rather than predicted."""
        start, *wholes = [self._ids(prompt, choice) for choice in ["", *choices]]
        if len({tuple(ids) for ids in [start, *wholes]}) <= len(choices):
            raise ValueError(
                f"After prompts[{index}] the tokenizer reads two of {choices} as the same, or one as empty."
            )
        # Where a token spans the end of the prompt, the choices are compared from the last token in common.
        given = len(os.path.commonprefix([start, *wholes]))
        if not given:
            given, wholes = 1, [[self._start(index), *ids] for ids in wholes]
        self._check_room(index, max(map(len, wholes)) - 1)
        return [(ids, given) for ids in wholes]

    def _start(self, index: int) -> int:
        config = self.model.generation_config
        for token in (self.tokenizer.bos_token_id, config.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        raise ValueError(f"prompts[{index}] has no tokens, and the tokenizer no BOS or EOS token to start from.")

    def _ends(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}

    def _check_room(self, index: int, length: int) -> None:
        # A table of positions has an end: past it an IndexError, and on a GPU a dead process. RoPE has none.
        config = self.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        if limit is not None and getattr(config, "rope_parameters", None) is None and length > limit:
            raise ValueError(
                f"prompts[{index}] and what is to follow need {length} positions, and the model has {limit}: shorten "
                "the prompt or lower max_new_tokens."
            )

    def _config(self, options: Mapping[str, Any], ends: set[int]) -> GenerationConfig:
        pad, shape = self.tokenizer.pad_token_id, {}
        if options["temperature"]:
            shape = {name: options[name] for name in ("temperature", "top_p", "top_k")}
        return GenerationConfig(
            max_new_tokens=options["max_new_tokens"],
            do_sample=bool(shape),
            **shape,
            eos_token_id=sorted(ends) or None,
            pad_token_id=min(ends, default=0) if pad is None else pad,
        )

    @contextmanager
    def _evaluating(self, seed: int | None = None, config: GenerationConfig | None = None) -> Iterator[None]:
        """In eval mode; with a seed, in a fork of the random state; with a config, in place of the model's own."""
        training = [module for module in self.model.modules() if module.training]
        base = next(module for module in self.model.modules() if isinstance(module, PreTrainedModel))  # inside PEFT's
        own, base.generation_config = base.generation_config, config or base.generation_config
        self.model.eval()
        try:
            with torch.random.fork_rng(range(torch.accelerator.device_count()), enabled=seed is not None):
                if seed is not None:
                    torch.manual_seed(seed)
                yield
        finally:
            base.generation_config = own
            for module in training:
                module.training = True

    def _batches(self, rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))  # longest first: memory runs out early
        with tqdm(total=len(rows), desc="generating", unit="prompt", disable=not self.progress) as bar:
            for first in range(0, len(order), self.batch_size):
                yield (batch := order[first : first + self.batch_size])
                bar.update(len(batch))

    def _pad(self, rows: Sequence[Sequence[int]], side: str) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row) for row in rows]
        mask = [torch.ones_like(row) for row in ids]
        padded = {"input_ids": ids, "attention_mask": mask}
        return {name: pad_sequence(x, True, 0, side).to(self.model.device) for name, x in padded.items()}

    def _last_logits(self, rows: Sequence[Sequence[int]], count: int) -> list[torch.Tensor]:
        """For each row, its logits up to its end: of the last `count` ids at least."""
        lengths = [len(row) for row in rows]
        keep = max(lengths) - min(lengths) + count  # all logits of long prompts would not fit in memory
        # Padding on the right changes nothing before it, in any causal model and for any kind of positions.
        logits = self.model(**self._pad(rows, "right"), logits_to_keep=keep, use_cache=False).logits
        return [row[: len(row) - max(lengths) + length] for row, length in zip(logits, lengths, strict=True)]

    def _write(self, rows: Sequence[Sequence[int]], stop: Sequence[str]) -> list[list[int]]:
        inputs = self._pad(rows, "left")
        width = inputs["input_ids"].shape[1]
        window = max((len(s.encode()) for s in stop), default=0)  # a token is at least a byte

        def stopped(input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            # transformers' `stop_strings` would also end at a string that the prompt begins and the answer completes.
            tails = input_ids[:, max(width, input_ids.shape[1] - window) :]
            texts = self.tokenizer.batch_decode(tails, skip_special_tokens=True)
            return torch.tensor([any(s in text for s in stop) for text in texts], device=input_ids.device)

        criteria = StoppingCriteriaList([stopped] if stop else [])
        return self.model.generate(**inputs, stopping_criteria=criteria)[:, width:].tolist()


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
        return [_cut(self._content(index, answer), options["stop"]) for index, answer in enumerate(answers)]

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of the choices as the first token of each answer, in order."""
        choices = _check_choices([choice.strip() for choice in _check_choices(choices)])
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
        return _log_shares(weights)

    def _ask(self, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> list[ChatCompletion]:
        requests = []
        for index, prompt in enumerate(_check_prompts(prompts)):
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
            async with client:
                tasks = [asyncio.create_task(ask(request)) for request in requests]
                try:
                    return await asyncio.gather(*tasks)
                finally:  # after a failure, ask (and pay) for nothing more
                    for task in tasks:
                        task.cancel()


def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


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

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """The scripted response to each prompt, in order."""
        check_sampling(sampling)
        return [self._respond(prompt, dict(sampling)) for prompt in _check_prompts(prompts)]

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Logarithms of what `choice_probs` gives for each prompt, made to sum to 1, in order."""
        if self.choice_probs is None:
            raise NotImplementedError("This ScriptedGenerator was made without `choice_probs`.")
        rows, choices = [], _check_choices(choices)
        for prompt in _check_prompts(prompts):
            self.calls.append((prompt, {"choices": choices}))
            weights = self.choice_probs(prompt, choices)
            if len(weights) != len(choices) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
                raise ValueError(f"choice_probs should give {len(choices)} weights >= 0, not all 0, got {weights}.")
            rows.append(_log_shares(weights))
        return rows

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
