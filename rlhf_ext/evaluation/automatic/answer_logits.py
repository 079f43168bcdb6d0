"""A causal language model that reads answers after their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...generation.loading import load_language_model, tokenizer_of
from ...types import Completion, Prompt, is_messages, template_kwargs, text_of


class AnswerLogits:
    """A causal language model that reads answers after their prompts: like lengths together, a batch at a time.

    Args:
        model (`str`, `Path` or `PreTrainedModel`):
            A folder or hub name, or the model itself.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the same place by default.
        batch_size (`int`, *optional*, defaults to `8`):
            Answers a forward pass, at least 1.
        max_length (`int`, *optional*):
            Tokens of prompt and answer that are read; the model's window by default. The beginning of a prompt that is
            too long is cut off, then the end of the answer.
        chat_template_kwargs (`dict`, *optional*):
            What the chat template is told beside the messages.

    Raises:
        ValueError: If `batch_size` is below 1 or `max_length` below 2.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 8,
        max_length: int | None = None,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        if isinstance(model, str | Path):
            model, tokenizer = load_language_model(model, tokenizer)
        self.model: Any = model
        self.tokenizer: Any = tokenizer or tokenizer_of(model)
        self.batch_size, self.chat_template_kwargs = batch_size, template_kwargs(chat_template_kwargs)
        window = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 20
        self.max_length = min(max_length or window, window)
        if self.max_length < 2:
            raise ValueError(f"`max_length` must be at least 2, got {max_length}.")

    def rows(self, prompts: Sequence[Prompt | None], completions: Sequence[Completion]) -> list[tuple[list[int], int]]:
        """Ids of each prompt and answer, and how many of them at the end are the answer's.

        Args:
            prompts (`Sequence`):
                Text, messages, or None where the answer is read by itself.
            completions (`Sequence`):
                The answers.

        Raises:
            ValueError: If a prompt is of messages and the tokenizer has no chat template, or there is no token to begin with.
        """
        return [self._row(prompt, text_of(answer)) for prompt, answer in zip(prompts, completions, strict=True)]

    @torch.no_grad()
    def each(self, rows: Sequence[tuple[list[int], int]]) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Every row that has an answer, in any order: its index, the logits `(t, vocabulary)` that predict the answer's
        tokens, and their ids `(t,)`."""
        order = sorted((i for i, (_, count) in enumerate(rows) if count), key=lambda i: -len(rows[i][0]))
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            for start in range(0, len(order), self.batch_size):
                yield from self._batch(rows, order[start : start + self.batch_size])
        finally:
            for module in training:
                module.training = True

    def _batch(
        self, rows: Sequence[tuple[list[int], int]], picked: list[int]
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        ids = [torch.tensor(rows[index][0]) for index in picked]
        device = self.model.device
        padded = pad_sequence(ids, True, 0).to(device)
        mask = pad_sequence([torch.ones_like(row) for row in ids], True, 0).to(device)
        # Padding on the right: logits from where the shortest prompt ends are enough.
        keep = padded.shape[1] - min(len(rows[index][0]) - rows[index][1] for index in picked) + 1
        logits = self.model(input_ids=padded, attention_mask=mask, logits_to_keep=keep, use_cache=False).logits
        first = padded.shape[1] - logits.shape[1]
        for place, index in enumerate(picked):
            end, count = len(rows[index][0]), rows[index][1]
            yield (
                index,
                logits[place, end - count - 1 - first : end - 1 - first].float(),
                padded[place, end - count : end],
            )

    def _row(self, prompt: Prompt | None, answer: str) -> tuple[list[int], int]:
        said = self.tokenizer(answer, add_special_tokens=False)["input_ids"] if answer.strip() else []
        said = said[: self.max_length - 1]
        return [*self._given(prompt)[-(self.max_length - len(said)) :], *said], len(said)

    def _given(self, prompt: Prompt | None) -> list[int]:
        if prompt is not None and is_messages(prompt):
            if self.tokenizer.chat_template is None:
                raise ValueError(
                    "The prompts are messages, and the tokenizer has no chat template: read answers by themselves "
                    "(`conditional=False`), or set `tokenizer.chat_template`."
                )
            text = self.tokenizer.apply_chat_template(
                prompt, tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
            )
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(prompt)["input_ids"] if prompt else []
        if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:  # some tokenizers close every text
            ids = ids[:-1]
        start = self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
        if not ids and start is None:
            raise ValueError("The tokenizer has no BOS or EOS token, which an answer without a prompt begins after.")
        return ids or [start]
