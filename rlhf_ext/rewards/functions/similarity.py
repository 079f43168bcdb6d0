"""Reward for meaning what a reference means: similarity of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn
from transformers import AutoModel, PreTrainedTokenizerBase

from ...types import Completion
from .encoders import Encoder, first_embedding, mean_embedding
from .rows import references_of, texts_of


class Similarity:
    """Cosine similarity of a completion's embedding to that of a reference column, in [-1, 1].

    It sees paraphrase, which [`Rouge`] and [`Bleu`] do not, and is half blind to negation and to a wrong number in an
    otherwise right sentence: for that see [`Factuality`].

    Args:
        model (`str`, `Path` or `PreTrainedModel`, *optional*, defaults to `"sentence-transformers/all-MiniLM-L6-v2"`):
            An encoder, by folder or hub name, or itself; one trained for sentence embeddings, since the embeddings of
            plain language models are nearly all alike.
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the closest counts. Rows without one give None.
        pooling (`str`, *optional*, defaults to `"mean"`):
            How token states become one embedding: `"mean"`, or `"first"` (CLS), as the model was trained (see the
            `1_Pooling` folder of sentence-transformers models).
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the same place by default.
        batch_size (`int`, *optional*, defaults to `32`):
            Texts a forward pass.
        max_length (`int`, *optional*):
            Tokens of a text that are read. Defaults to what the model can read.
        **model_kwargs:
            For `from_pretrained`: `dtype`, `device_map`, `revision`, `trust_remote_code`, ...

    Raises:
        ValueError: If `pooling` is unknown; from a call, if the column is missing.

    Example:

    ```python
    from rlhf_ext.rewards.functions import Similarity

    similar = Similarity()
    similar(prompts=["Why?"], completions=["It rains."], reference=["Rain is falling."])  # about [0.8]
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "sentence-transformers/all-MiniLM-L6-v2",
        column: str = "reference",
        pooling: Literal["mean", "first"] = "mean",
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        **model_kwargs: Any,
    ):
        if pooling not in ("mean", "first"):
            raise ValueError(f"`pooling` should be 'mean' or 'first', got {pooling!r}.")
        self.encoder = Encoder(AutoModel, model, tokenizer, batch_size, max_length, **model_kwargs)
        self.column, self.pooling = column, pooling
        self.__name__ = "similarity"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        references = references_of(columns, self.column, len(completions), "Similarity")
        pairs = [
            (row, text, target)
            for row, (text, targets) in enumerate(zip(texts_of(completions), references, strict=True))
            for target in targets or []
        ]
        best: dict[int, float] = {}
        if pairs:
            head = mean_embedding if self.pooling == "mean" else first_embedding
            embeddings = self.encoder.read([text for _, *both in pairs for text in both], head)
            cosines = (embeddings[::2] * embeddings[1::2]).sum(-1).clamp(-1, 1).tolist()
            for (row, *_), cosine in zip(pairs, cosines, strict=True):
                best[row] = max(cosine, best.get(row, -1.0))
        return [best.get(row) for row in range(len(completions))]
