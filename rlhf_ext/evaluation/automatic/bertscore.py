"""BERTScore: similarity to a reference, token by token, in the space of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...rewards.functions.rows import need, references_of, texts_of
from ...types import Completion


class _Name(str):
    """A model's name or folder as bert-score may have it, which takes whatever has `t5` anywhere in it for a T5, and nothing
    else, and fetches `scibert` from its authors: here its configuration decides, and Transformers finds it."""

    is_t5: bool

    def __contains__(self, part: object) -> bool:
        return self.is_t5 if part == "t5" else super().__contains__(part)  # type: ignore[operator]

    def startswith(self, prefix: Any, *span: Any) -> bool:
        return prefix != "scibert" and super().startswith(prefix, *span)


class BertScore:
    """BERTScore F1 of a completion against a reference column, mostly in [0, 1], by the package bert-score.

    Each token is matched with the nearest one on the other side by the cosine of their contextual embeddings (Zhang et al.,
    [1904.09675](https://huggingface.co/papers/1904.09675)). Without the paper's rescaling, so that even unrelated texts have
    high scores (about 0.8 with RoBERTa): compare models, not values. An empty completion scores 0. Needs
    `pip install rlhf_ext[eval]`.

    Args:
        model (`str` or `Path`, *optional*, defaults to `"FacebookAI/roberta-large"`):
            An encoder, by folder or hub name.
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the best counts. Rows without one give None.
        num_layers (`int`, *optional*):
            The layer whose states count, from 1. Defaults to the one that the paper's authors tuned where they know the model
            by its last name (`roberta-large`: 17), else to the last.
        batch_size (`int`, *optional*, defaults to `32`):
            Texts a forward pass.
        device (`str`, *optional*):
            Defaults to an accelerator where there is one.

    Raises:
        ImportError: If bert-score is not installed.
        ValueError: From a call, if the column is missing.

    Example:

    ```python
    from rlhf_ext.evaluation.automatic import BertScore

    BertScore()(prompts=["Why?"], completions=["It rains."], reference=["Rain is falling."])  # about [0.94]
    ```
    """

    def __init__(
        self,
        model: str | Path = "FacebookAI/roberta-large",
        column: str = "reference",
        num_layers: int | None = None,
        batch_size: int = 32,
        device: str | torch.device | None = None,
    ):
        try:
            from bert_score import BERTScorer
            from bert_score.utils import model2layers
        except ImportError as error:
            raise need("bert-score", "eval", "BertScore") from error
        from transformers import AutoConfig

        name = str(model)
        config = AutoConfig.from_pretrained(name)
        layers = num_layers or model2layers.get(name) or model2layers.get(Path(name).name) or config.num_hidden_layers
        place = device or torch.accelerator.current_accelerator(check_available=True) or "cpu"
        known = _Name(name)
        known.is_t5 = "t5" in config.model_type  # mT5 and UMT5 as well
        self._scorer: Any = BERTScorer(known, num_layers=layers, batch_size=batch_size, device=str(place))
        # A tokenizer that does not say how long its model reads says 1e30, which the tokenizers' Rust code cannot hold.
        window = getattr(config, "max_position_embeddings", 512)
        if config.model_type in ("roberta", "xlm-roberta", "camembert"):
            window -= (config.pad_token_id or 0) + 1  # their positions begin after the padding's
        self._scorer._tokenizer.model_max_length = min(self._scorer._tokenizer.model_max_length, window)
        self.column = column
        self.settings = ["bertscore", name, column, layers]
        self.__name__ = "bertscore"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        references = references_of(columns, self.column, len(completions), "BertScore")
        texts = texts_of(completions)
        found: list[float | None] = [None if targets is None else 0.0 for targets in references]
        rows = [row for row, targets in enumerate(references) if targets is not None and texts[row].strip()]
        if rows:
            *_, scores = self._scorer.score([texts[row] for row in rows], [references[row] for row in rows])
            for row, score in zip(rows, scores.tolist(), strict=True):
                found[row] = score
        return found
