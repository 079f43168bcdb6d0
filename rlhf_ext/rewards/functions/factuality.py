"""Reward for saying what a reference passage supports: natural language inference, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from ...types import Completion
from .encoders import Encoder, probabilities
from .rows import log_mean, references_of, texts_of

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’)]*\s+|(?<=[。！？])|\n+")


class Factuality:
    """How far a reference passage supports a completion, in [0, 1], by a model of natural language inference (NLI).

    For each sentence of the completion, the highest probability of entailment by any few consecutive sentences of the
    passage; then the mean over the sentences. This is the aggregation of SummaC-ZS (Laban et al.,
    [2111.09525](https://huggingface.co/papers/2111.09525)), whose best premises were one or two sentences, since NLI data
    are of that length. It tells whether the passage says so, not whether it is true; a sentence that claims nothing ("Sure!")
    counts as unsupported. An empty completion scores 0.0. [`Similarity`] to the passage is the cheaper, blunter relative.

    Args:
        model (`str`, `Path` or `PreTrainedModel`, *optional*, defaults to `"FacebookAI/roberta-large-mnli"`):
            An NLI classifier over pairs of premise and hypothesis, by folder or hub name, or itself.
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the passage, or a list of passages, of which the best supporting counts for each sentence. Rows
            without one give None.
        window (`int`, *optional*, defaults to `2`):
            Consecutive sentences of the passage that make one premise. Cost grows with sentences of the passage times
            sentences of the completion.
        entailment (`str`, *optional*, defaults to `"entailment"`):
            The model's label for entailment, in any case.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the same place by default.
        batch_size (`int`, *optional*, defaults to `32`):
            Pairs a forward pass.
        max_length (`int`, *optional*):
            Tokens of a pair that are read. Defaults to what the model can read.
        **model_kwargs:
            For `from_pretrained`: `dtype`, `device_map`, `revision`, `trust_remote_code`, ...

    Raises:
        ValueError: If `window` is below 1 or the model has no such label; from a call, if the column is missing.

    Example:

    ```python
    from rlhf_ext.rewards.functions import Factuality

    factual = Factuality(column="passage")
    factual(prompts=["When?"], completions=["In 1889."], passage=["The tower was opened in 1889."])
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "FacebookAI/roberta-large-mnli",
        column: str = "reference",
        window: int = 2,
        entailment: str = "entailment",
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        **model_kwargs: Any,
    ):
        if window < 1:
            raise ValueError(f"`window` must be at least 1, got {window}.")
        self.encoder = Encoder(
            AutoModelForSequenceClassification, model, tokenizer, batch_size, max_length, **model_kwargs
        )
        labels = {label.lower(): place for label, place in self.encoder.labels.items()}
        if entailment.lower() not in labels:
            raise ValueError(
                f"`entailment` should name one of the model's labels, {', '.join(self.encoder.labels)}; got {entailment!r}."
            )
        self.column, self.window, self.entailment = column, window, labels[entailment.lower()]
        self.__name__ = "factuality"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        passages = references_of(columns, self.column, len(completions), "Factuality")
        claims = [sentences_of(text) for text in texts_of(completions)]
        pairs = [
            (row, claim, premise)
            for row, passage in enumerate(passages)
            for claim in claims[row]
            for premise in self._premises(passage or [])
        ]
        best: dict[tuple[int, str], float] = {}
        if pairs:
            scores = self.encoder.read([(premise, claim) for _, claim, premise in pairs], probabilities)
            for (row, claim, _), score in zip(pairs, scores[:, self.entailment].tolist(), strict=True):
                best[row, claim] = max(score, best.get((row, claim), 0.0))
        log_mean(columns, f"{self.__name__}/least_supported", self._worst(best, claims))
        return [
            None if passage is None else sum(best[row, claim] for claim in claims[row]) / max(len(claims[row]), 1)
            for row, passage in enumerate(passages)
        ]

    def _premises(self, passages: list[str]) -> list[str]:
        premises = []
        for sentences in map(sentences_of, passages):
            starts = range(max(1, len(sentences) - self.window + 1))
            premises += [" ".join(sentences[start : start + self.window]) for start in starts]
        return premises

    @staticmethod
    def _worst(best: dict[tuple[int, str], float], claims: list[list[str]]) -> list[float | None]:
        known = [[best[row, claim] for claim in of_row if (row, claim) in best] for row, of_row in enumerate(claims)]
        return [min(scores, default=None) for scores in known]


def sentences_of(text: str) -> list[str]:
    """A text's sentences, split at end marks followed by white space and at new lines: quick, and wrong after "Dr."."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]
