"""Text from a language model in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList

from ..types import Prompt
from .answer import Answer, PromptTooLong, Request
from .loading import check_language_model, load_language_model, tokenizer_of
from .prefixes import Group, PrefixReader, common_length, plan
from .reading import PromptReader
from .sampling import as_request, check_choices, check_prompts, check_sampling, cut

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


class LocalGenerator:
    """Writes with a decoder-only language model in this process.

    Leaves model and tokenizer as they were: each module's train or eval mode, generation config, padding side, pad
    token. Of the model's generation config only the start and end tokens count: temperature 1 samples the model's own
    distribution. With a `seed`, the same prompts and batch size give the same texts, and torch's global random state
    stays as it was. Under FSDP or ZeRO-3, pass the unwrapped model.

    `choice_logprobs` sums over the tokens of a choice. Prompt and choice are tokenized as one text: write the space
    that belongs between them (`" A"` after `"Answer:"`).

    Args:
        model (`str`, `Path`, [`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]): A folder or hub name of a language
            model, a folder with a LoRA adapter (as trainers write with `peft_config`), or the model itself. What is loaded
            goes to the accelerator, if there is one.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Its tokenizer; with a chat template for messages.
            By default loaded from where the model is from.
        batch_size (`int`, *optional*, defaults to `16`): Prompts a batch, at least 1; like lengths go together.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar with the remaining time.
        chat_template_kwargs (`dict`, *optional*): What the chat template is told beside the messages, such as
            `{"enable_thinking": False}` for Qwen3.
        **model_kwargs: For `from_pretrained`, where a model is loaded: `dtype` (defaults to `"auto"`), `device_map`,
            `revision`, `trust_remote_code`, `quantization_config`, ...

    Raises:
        FileNotFoundError: If there is no model of that name.
        TypeError: If there are `model_kwargs` and the model is loaded already.
        ValueError: If the model is an encoder-decoder or a classifier, its tokenizer is not to be found, or `batch_size` < 1.
            From the methods: if a prompt is too long for the model, is empty with no token to start from, or has messages
            and there is no chat template.

    Example:

    ```python
    >>> from rlhf_ext.generation import LocalGenerator
    >>> generator = LocalGenerator("Qwen/Qwen3-0.6B")
    >>> answers = generator.generate(["The capital of France is"], max_new_tokens=8, temperature=0)
    ```
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 16,
        progress: bool = False,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
        **model_kwargs: Any,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, got {batch_size}.")
        if isinstance(model, str | Path):
            model, tokenizer = load_language_model(model, tokenizer, **model_kwargs)
        elif model_kwargs:
            raise TypeError(f"{', '.join(model_kwargs)}: for loading a model, and this one is loaded already.")
        check_language_model(model)
        tokenizer = tokenizer or tokenizer_of(model)
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.batch_size, self.progress = batch_size, progress
        self._prefixes = PrefixReader(model)
        self._reader = PromptReader(model, tokenizer, chat_template_kwargs)

    @property
    def chat_template_kwargs(self) -> dict[str, Any]:
        """What the chat template is told beside the messages."""
        return self._reader.chat_template_kwargs

    @property
    def group_size(self) -> int:
        """Requests that [`each`] takes at a time: texts of one group do not depend on what else is asked."""
        return 4 * self.batch_size

    def generate(self, prompts: Sequence[Prompt], **sampling: Any) -> list[str]:
        """One completion a prompt, in order, without special tokens."""
        options = check_sampling(sampling)
        rows = [self._row(index, prompt, options) for index, prompt in enumerate(check_prompts(prompts))]
        texts = [""] * len(rows)
        for batch in self._written(rows, options):
            for index, answer in batch:
                texts[index] = answer.text or ""
        return texts

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of the choices after each prompt, in order. What prompts begin with alike is read once."""
        choices = check_choices(choices)
        targets = [self._choice_ids(index, prompt, choices) for index, prompt in enumerate(check_prompts(prompts))]
        return self._chosen(targets)

    def fits(self, prompt: Prompt, choices: Sequence[str] | None = None, **sampling: Any) -> bool:
        """Whether the model's window has room for a prompt and what is to follow: one of `choices`, or `max_new_tokens`."""
        try:
            if choices is None:
                self._row(0, prompt, check_sampling(sampling), strict=True)
            else:
                self._choice_ids(0, prompt, check_choices(choices), strict=True)
        except PromptTooLong:
            return False
        return True

    def each(
        self, requests: Iterable[Prompt | Request], choices: Sequence[str] | None = None, **sampling: Any
    ) -> Iterator[tuple[int, Answer | Exception]]:
        """Answers as they come, each with the index of its request: texts, or with `choices` their log-probabilities.

        Requests are taken in groups of [`group_size`], each sampled with the seed of its first request. What does not fit
        into the model's window comes back as a [`PromptTooLong`].
        """
        options, asked = check_sampling(sampling), enumerate(map(as_request, requests))
        choices = None if choices is None else check_choices(choices)
        while group := list(islice(asked, self.group_size)):
            rows: dict[int, Any] = {}
            for index, request in group:
                try:
                    if choices is None:
                        rows[index] = self._row(index, request.prompt, options, strict=True)
                    else:
                        rows[index] = self._choice_ids(index, request.prompt, choices, strict=True)
                except PromptTooLong as error:
                    yield index, error
            places, given = list(rows), list(rows.values())
            if choices is None:
                seed = options["seed"] if group[0][1].seed is None else group[0][1].seed
                for batch in self._written(given, {**options, "seed": seed}):
                    yield from ((places[i], answer) for i, answer in batch)
            else:
                read = [max(len(ids) for ids, _ in wanted) for wanted in given]
                for place, row, n in zip(places, self._chosen(given), read, strict=True):
                    yield place, Answer(None, row, n)

    def _row(self, index: int, prompt: Prompt, options: Mapping[str, Any], strict: bool = False) -> list[int]:
        row = self._reader.ids(prompt) or [self._reader.start(index)]
        self._reader.check_room(
            index, len(row) + options["max_new_tokens"] - 1, strict
        )  # the last token is not fed back
        return row

    def _written(self, rows: Sequence[list[int]], options: Mapping[str, Any]) -> Iterator[list[tuple[int, Answer]]]:
        """Batches of answers, with the indices of their rows."""
        stop = options["stop"]
        ends = self._reader.ends(stop)
        with self._evaluating(options["seed"], self._config(options, ends)):
            for batch in self._batches([len(row) for row in rows]):
                answers = []
                for index, ids in zip(batch, self._write([rows[index] for index in batch], stop), strict=True):
                    length = next((n for n, token in enumerate(ids) if token in ends), len(ids))
                    text = cut(self.tokenizer.decode(ids[:length], skip_special_tokens=True), stop)
                    answers.append((index, Answer(text, None, len(rows[index]), min(length + 1, len(ids)))))
                yield answers

    def _chosen(self, wanted: Sequence[list[tuple[list[int], int]]]) -> list[list[float]]:
        """Log-probabilities of the choices of each request, which gives ids and how many of them are not predicted."""
        scores = torch.zeros(len(wanted), max(map(len, wanted), default=0), dtype=torch.float64)
        # Keyed by the ids to feed: choices of one token all feed the prompt alone, and so share one pass.
        targets: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
        for index, choices in enumerate(wanted):
            for column, (ids, given) in enumerate(choices):
                targets.setdefault(tuple(ids[:-1]), []).append((index, column, ids[given:]))
        rows = list(targets)
        need = max((len(ids) for found in targets.values() for *_, ids in found), default=0)
        with self._evaluating(), torch.no_grad():
            for row, logits in self._last_logits(rows, need):
                for index, column, ids in targets[row]:
                    logprobs = logits[-len(ids) :].float().log_softmax(-1)
                    scores[index, column] = logprobs[range(len(ids)), ids].sum()
        return scores.log_softmax(-1).tolist()

    def _last_logits(
        self, rows: Sequence[tuple[int, ...]], count: int
    ) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """Each row with its logits up to its end, of the last `count` ids at least."""
        common, groups = plan(rows, count, self.batch_size)
        start = self._prefixes.begin(rows[0][:common]) if common else None
        if start is None:
            groups = [Group([index], 0, len(row)) for index, row in enumerate(rows)]
        for batch in self._batches([group.read for group in groups], [len(group.rows) for group in groups]):
            picked = [groups[place] for place in batch]
            flat = [rows[index] for group in picked for index in group.rows]
            logits = (
                self._read(flat, count) if start is None else self._prefixes.last_logits(start, rows, picked, count)
            )
            yield from zip(flat, logits, strict=True)

    def _choice_ids(
        self, index: int, prompt: Prompt, choices: list[str], strict: bool = False
    ) -> list[tuple[list[int], int]]:
        """For each choice the ids of prompt and choice, and how many of them are given rather than predicted."""
        start, *wholes = [self._reader.ids(prompt, choice) for choice in ["", *choices]]
        if len({tuple(ids) for ids in [start, *wholes]}) <= len(choices):
            raise ValueError(
                f"After prompts[{index}] the tokenizer reads two of {choices} as the same, or one as empty."
            )
        # Where a token spans the end of the prompt, the choices are compared from the last token in common.
        given = common_length([start, *wholes])
        if not given:
            given, wholes = 1, [[self._reader.start(index), *ids] for ids in wholes]
        self._reader.check_room(index, max(map(len, wholes)) - 1, strict)
        return [(ids, given) for ids in wholes]

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

    def _batches(self, lengths: Sequence[int], sizes: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Indices of rows (or of groups of `sizes` rows) of like length, a batch's worth at a time."""
        sizes = sizes or [1] * len(lengths)
        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])  # longest first: memory runs out early
        with tqdm(total=sum(sizes), desc="generating", unit="prompt", disable=not self.progress) as bar:
            while order:
                batch = [order.pop(0)]
                while order and sum(sizes[i] for i in batch) + sizes[order[0]] <= self.batch_size:
                    batch.append(order.pop(0))
                yield batch
                bar.update(sum(sizes[i] for i in batch))

    def _pad(self, rows: Sequence[Sequence[int]], side: str) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row) for row in rows]
        mask = [torch.ones_like(row) for row in ids]
        padded = {"input_ids": ids, "attention_mask": mask}
        return {name: pad_sequence(x, True, 0, side).to(self.model.device) for name, x in padded.items()}

    def _read(self, rows: Sequence[Sequence[int]], count: int) -> list[torch.Tensor]:
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
