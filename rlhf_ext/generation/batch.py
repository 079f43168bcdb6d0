"""Rows that are written together, each from where it stands: some join, some leave, with every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from .caches import cache_name, cache_of, is_plain, join, keep


class Batch:
    """Keys and values of the rows, padded in front, so that all of them end side by side.

    Args:
        model ([`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]): The language model, in eval mode.
    """

    def __init__(self, model: Any):
        self.model = model
        self.joins = True
        """Whether rows can be put together; known after the first has been read."""
        self._name = cache_name(model)
        self._has_adapters = hasattr(model, "peft_config")
        self.clear()

    def clear(self) -> None:
        """Lets go of all rows."""
        self._cache: Any = None
        self._mask = torch.zeros(0, 0, dtype=torch.long, device=self.model.device)
        self._adapters: list[str | None] = []

    def read(self, rows: Sequence[Sequence[int]], adapters: Sequence[str | None]) -> torch.Tensor:
        """Reads new rows and puts them below the others.

        Args:
            rows (`list[list[int]]`): Ids of their prompts.
            adapters (`list[str]`): The LoRA adapter of each; None is the base.

        Returns:
            `torch.Tensor` of shape (new rows, vocabulary): logits of the token that follows each.
        """
        ids = pad_sequence([torch.tensor(row) for row in rows], True, 0, "left").to(self.model.device)
        ones = [torch.ones(len(row), dtype=torch.long) for row in rows]
        mask = pad_sequence(ones, True, 0, "left").to(self.model.device)
        cache, logits = self._forward(None, ids, mask, adapters)
        self.joins = is_plain(cache)
        if self._cache is None:
            self._cache, self._mask = cache, mask
        else:
            join(self._cache, cache)
            width = max(mask.shape[1], self._mask.shape[1])
            filled = [pad(part, (width - part.shape[1], 0)) for part in (self._mask, mask)]
            self._mask = torch.cat(filled)
        self._adapters += adapters
        return logits

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Goes on with one token a row; logits of shape (rows, vocabulary) of the next."""
        ids = torch.tensor(tokens, device=self.model.device)[:, None]
        self._mask = pad(self._mask, (0, 1), value=1)
        self._cache, logits = self._forward(self._cache, ids, self._mask, self._adapters)
        return logits

    def keep(self, rows: list[int]) -> None:
        """Lets go of all other rows, and of columns that nothing is left in."""
        if not rows:
            self.clear()
            return
        chosen = torch.tensor(rows, device=self._mask.device)
        mask = self._mask[chosen]
        skip = int(mask.any(0).int().argmax())
        self._mask = mask[:, skip:]
        keep(self._cache, chosen, skip)
        self._adapters = [self._adapters[row] for row in rows]

    def _forward(
        self, cache: Any, ids: torch.Tensor, mask: torch.Tensor, adapters: Sequence[str | None]
    ) -> tuple[Any, torch.Tensor]:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        more: dict[str, Any] = {self._name: cache}
        if self._has_adapters:
            more["adapter_names"] = ["__base__" if name is None else name for name in adapters]
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1, **more
        )
        return cache_of(output), output.logits[:, -1]
