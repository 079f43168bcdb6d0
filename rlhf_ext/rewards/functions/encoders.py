"""Reading many texts with a Hugging Face encoder: loaded once, sorted by length, batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

logger = logging.get_logger(__name__)


class Encoder:
    """A model and its tokenizer, over texts or pairs of texts of any number and length.

    Args:
        kind (`type`):
            The class to load with: `AutoModel` or `AutoModelForSequenceClassification`.
        model (`str`, `Path` or `PreTrainedModel`):
            A folder or hub name, or such a model itself.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the same place by default.
        batch_size (`int`, *optional*, defaults to `32`):
            Texts a forward pass.
        max_length (`int`, *optional*):
            Tokens of a text that are read; the rest of it is cut off, with a warning. Defaults to what the model can read.
        **model_kwargs:
            For `from_pretrained`: `dtype` (defaults to `"auto"`), `device_map`, `revision`, `trust_remote_code`, ...

    Raises:
        ValueError: If `batch_size` or `max_length` is below 1.
    """

    def __init__(
        self,
        kind: Any,
        model: str | Path | nn.Module,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        **model_kwargs: Any,
    ):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        if max_length is not None and max_length < 1:
            raise ValueError(f"`max_length` must be at least 1, got {max_length}.")
        path = str(model) if isinstance(model, str | Path) else None
        self.model = cast(Any, kind.from_pretrained(path, **{"dtype": "auto", **model_kwargs}) if path else model)
        where = {name: model_kwargs[name] for name in ("revision", "trust_remote_code") if name in model_kwargs}
        name = path or self.model.config._name_or_path
        self.tokenizer = cast(Any, tokenizer or AutoTokenizer.from_pretrained(name, **where))
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
            self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.name = Path(name).name if name else type(self.model).__name__
        self.batch_size = batch_size
        self.max_length = max_length or min(positions_of(self.model) or 1 << 20, self.tokenizer.model_max_length)
        self.model.eval()

    @property
    def labels(self) -> dict[str, int]:
        """A classifier's labels and their places."""
        return {label: place for place, label in self.model.config.id2label.items()}

    def to(self, device: torch.device | str) -> Encoder:
        """Moves the model, as `nn.Module.to` does; one that `device_map` has placed stays where it is."""
        if not getattr(self.model, "hf_device_map", None):
            self.model.to(device)
        return self

    def read(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], head: Callable[[Any, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Runs the model over texts, each different one once.

        Args:
            texts (`Sequence[str]` or `Sequence[tuple[str, str]]`):
                Texts, or pairs of them, at least one.
            head (`Callable`):
                Makes `(b, k)` of the model's output and the attention mask of b texts.

        Returns:
            `torch.Tensor` of shape `(n, k)`, float32 on CPU, in the order of the texts.
        """
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        rows = self._tokenize(list(places))
        order = sorted(range(len(places)), key=lambda place: -len(rows["input_ids"][place]))
        found: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), self.batch_size):
            picked = order[start : start + self.batch_size]
            read = self._forward({name: [values[place] for place in picked] for name, values in rows.items()}, head)
            found.update(zip(picked, read, strict=True))
        return torch.stack([found[places[text]] for text in texts])

    def _tokenize(self, texts: list[Any]) -> dict[str, list[list[int]]]:
        parts = [texts] if isinstance(texts[0], str) else [list(part) for part in zip(*texts, strict=True)]
        rows = dict(self.tokenizer(*parts, truncation=True, max_length=self.max_length))
        full = [place for place, ids in enumerate(rows["input_ids"]) if len(ids) == self.max_length]
        whole = self.tokenizer(*([part[place] for place in full] for part in parts), verbose=False) if full else None
        if whole and max(map(len, whole["input_ids"])) > self.max_length:
            logger.warning_once(
                f"A text is longer than the {self.max_length} tokens that {self.name} reads: what comes after them is not seen."
            )
        return rows

    @torch.no_grad()
    def _forward(self, rows: dict[str, Any], head: Callable[[Any, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        batch = self.tokenizer.pad(rows, padding_side="right", return_tensors="pt").to(self.model.device)
        return head(self.model(**batch), batch["attention_mask"]).float().cpu()


def probabilities(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """Softmax over a classifier's labels."""
    return output.logits.float().softmax(-1)


def independent_probabilities(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """A sigmoid for each of a multi-label classifier's labels."""
    return output.logits.float().sigmoid()


def mean_embedding(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """The mean of a text's token states, of length 1."""
    weights = mask[..., None].float()
    means = (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return nn.functional.normalize(means, dim=-1)


def first_embedding(output: Any, mask: torch.Tensor) -> torch.Tensor:
    """The state of a text's first token (CLS), of length 1."""
    return nn.functional.normalize(output.last_hidden_state[:, 0].float(), dim=-1)


def positions_of(model: Any) -> int | None:
    """Tokens of a text that a model can read; None where it does not say."""
    tables = [
        table
        for name, table in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding)
    ]
    # RoBERTa's positions begin after the padding's.
    limits = [table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1) for table in tables]
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min([*limits, stated] if stated else limits, default=None)
