"""What strategies read beside rewards: features of a reward model, embeddings of text, log-probabilities.

Features and embeddings are called as `(prompts, completions) -> array of shape (N, d)`; log-probabilities are a reward
function like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, PreTrainedTokenizerBase

from ..rewards import RewardModel
from ..rewards.functions.encoders import Encoder, mean_embedding
from ..types import Completion, Prompt, is_messages, template_kwargs, text_of

_HEADS = ("score", "classifier")


class RewardFeatures:
    """What the head of a reward model reads: the last layer's state, of which the reward is a linear function.

    Args:
        reward ([`~rlhf_ext.RewardModel`]):
            With a linear head named `score` or `classifier`, as `AutoModelForSequenceClassification` makes for language
            models.

    Raises:
        TypeError: If it is no [`~rlhf_ext.RewardModel`].
        ValueError: If the model has no such head.

    Example:

    ```python
    from rlhf_ext import RewardModel
    from rlhf_ext.active import RewardFeatures

    reward = RewardModel("./reward_model")
    RewardFeatures(reward)(["How are you?"], ["Fine, thank you."])  # shape (1, hidden size)
    ```
    """

    def __init__(self, reward: RewardModel):
        if not isinstance(reward, RewardModel):
            raise TypeError(
                f"Features are read from a `RewardModel`, got {type(reward).__name__}. For an ensemble give one of its members, "
                "or `TextEmbeddings`."
            )
        self.reward = reward
        named = [
            (name, module)
            for name, module in reward.model.named_modules()
            if name.rpartition(".")[2] in _HEADS and isinstance(module, nn.Module)
        ]
        if not named:
            raise ValueError(
                f"{type(reward.model).__name__} has no head named {' or '.join(_HEADS)}. Give `TextEmbeddings`, or a function "
                "(prompts, completions) -> array of your own."
            )
        self._head = named[0][1]

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> NDArray[np.float32]:
        """Features, shape `(N, d)`."""
        width = self.reward.model.config.get_text_config().hidden_size
        return self.reward._in_batches(prompts, completions, self._read, leading=(width,)).numpy().T

    def _read(self, ids: list[list[int]]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        hook = self._head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            self.reward._forward(ids)
        finally:
            hook.remove()
        states = seen[0]
        if states.dim() == 3:  # of all tokens; the score is that of the last
            states = states[torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])]
        return states.float().cpu().T


class TextEmbeddings:
    """Embeddings of responses by a sentence encoder.

    Args:
        model (`str`, `Path` or `PreTrainedModel`, *optional*, defaults to `"sentence-transformers/all-MiniLM-L6-v2"`):
            An encoder, by folder or hub name, or itself.
        tokenizer (`PreTrainedTokenizerBase`, *optional*), batch_size (`int`, *optional*, defaults to `32`), max_length (`int`,
            *optional*), **model_kwargs:
            As in [`~rlhf_ext.rewards.functions.Similarity`].

    Example:

    ```python
    from rlhf_ext.active import TextEmbeddings

    TextEmbeddings()(["Why?"], ["It rains."])  # shape (1, 384), of length 1
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "sentence-transformers/all-MiniLM-L6-v2",
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        **model_kwargs: Any,
    ):
        self.encoder = Encoder(AutoModel, model, tokenizer, batch_size, max_length, **model_kwargs)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> NDArray[np.float32]:
        """Embeddings of the completions, shape `(N, d)`; prompts are not read."""
        return self.encoder.read([text_of(completion) for completion in completions], mean_embedding).numpy()


class LogProbs:
    """Log-probability of a completion under a language model, as a reward function: summed over its tokens, or a token's mean.

    Args:
        model (`PreTrainedModel`):
            A decoder-only language model: the one that writes the completions.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer; with a chat template for messages.
        batch_size (`int`, *optional*, defaults to `16`):
            Completions a forward pass.
        mean (`bool`, *optional*, defaults to `False`):
            Whether a token's mean is taken, so that long completions do not count as unlikely ones.
        chat_template_kwargs (`dict`, *optional*):
            What the chat template is told beside the messages: as when the completions were written.

    Raises:
        ValueError: If `batch_size` is below 1; from a call, if a completion has no tokens (it is named).

    Example:

    ```python
    from rlhf_ext.active import LogProbs

    LogProbs(model, tokenizer)(prompts=["The capital of France is"], completions=[" Paris."])  # e.g. [-0.7]
    ```
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int = 16,
        mean: bool = False,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.batch_size, self.mean = batch_size, mean
        self.chat_template_kwargs = template_kwargs(chat_template_kwargs)
        self.__name__ = "log_probs"

    def __call__(
        self, *, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        rows = [self._ids(*pair, row) for row, pair in enumerate(zip(prompts, completions, strict=True))]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]))
        found: dict[int, float] = {}
        training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(order), self.batch_size):
                picked = order[start : start + self.batch_size]
                found.update(zip(picked, self._forward([rows[row] for row in picked]), strict=True))
        finally:
            self.model.train(training)
        return [found[row] for row in range(len(rows))]

    def _ids(self, prompt: Prompt, completion: Completion, row: int) -> tuple[list[int], int]:
        """Ids of prompt and completion, and how many are the prompt's."""
        start: Any = prompt
        special = not is_messages(prompt)
        if not special:
            start = self.tokenizer.apply_chat_template(
                prompt, tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
            )
        whole = self.tokenizer(start + text_of(completion), add_special_tokens=special)["input_ids"]
        given = self.tokenizer(start, add_special_tokens=special)["input_ids"]
        common = next(
            (i for i, pair in enumerate(zip(given, whole, strict=False)) if pair[0] != pair[1]),
            min(len(given), len(whole)),
        )
        if common >= len(whole):
            raise ValueError(f"Completion {row} has no tokens: {completion!r}.")
        return whole, max(common, 1)

    @torch.no_grad()
    def _forward(self, rows: list[tuple[list[int], int]]) -> list[float]:
        width = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for place, (row, _) in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        device = next(self.model.parameters()).device
        logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits
        found = []
        for place, (row, given) in enumerate(rows):
            logprobs = logits[place, given - 1 : len(row) - 1].float().log_softmax(-1)
            picked = logprobs[range(len(row) - given), row[given:]]
            found.append(float(picked.mean() if self.mean else picked.sum()))
        return found
