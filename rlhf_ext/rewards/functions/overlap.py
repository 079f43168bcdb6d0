"""Rewards for overlap with a reference text: ROUGE and BLEU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from ...types import Completion
from .rows import need, references_of, texts_of


class Rouge:
    """ROUGE of a completion against a reference column, in [0, 1], by Google's `rouge_score`: F1, recall or precision.

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004). Overlap of words: it knows neither paraphrase nor
    negation, see [`Similarity`] and [`Factuality`]. For text in Latin script: other letters are dropped by its tokenizer,
    and such rows are refused. Needs `pip install rlhf_ext[eval]`.

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the best counts. Rows without one give None.
        variant (`str`, *optional*, defaults to `"rougeL"`):
            `"rouge1"` to `"rouge9"` (n-grams), `"rougeL"` (longest common subsequence), or `"rougeLsum"` (the same by
            lines).
        stemmer (`bool`, *optional*, defaults to `False`):
            Whether to strip English suffixes first (Porter).
        measure (`str`, *optional*, defaults to `"fmeasure"`):
            `"fmeasure"`; `"recall"`, how much of the reference is said, which longer texts raise for nothing; or
            `"precision"`, how much of what is said is in the reference. Precision against a source text is what summaries take
            from it word by word (extractive coverage, Grusky et al., [1804.11283](https://huggingface.co/papers/1804.11283)).

    Raises:
        ImportError: If rouge_score is not installed.
        ValueError: If the variant or measure is unknown; from a call, if the column is missing or a reference has no Latin word.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Rouge
    >>> rouge = Rouge(variant="rouge1")
    >>> rouge(prompts=["..."] * 2, completions=["the cat sat", "a dog"], reference=["the cat sat down", None])
    [0.8571428571428571, None]
    >>> Rouge("text", "rouge1", measure="precision")(prompts=["..."], completions=["the dog sat"], text=["the cat sat down"])
    [0.6666666666666666]

    ```
    """

    def __init__(
        self,
        column: str = "reference",
        variant: str = "rougeL",
        stemmer: bool = False,
        measure: Literal["fmeasure", "recall", "precision"] = "fmeasure",
    ):
        if variant not in {"rougeL", "rougeLsum", *(f"rouge{n}" for n in range(1, 10))}:
            raise ValueError(f"`variant` should be 'rouge1' to 'rouge9', 'rougeL' or 'rougeLsum', got {variant!r}.")
        if measure not in ("fmeasure", "recall", "precision"):
            raise ValueError(f"`measure` should be 'fmeasure', 'recall' or 'precision', got {measure!r}.")
        self.column, self.variant, self.stemmer, self.measure = column, variant, stemmer, measure
        self.__name__ = variant if measure == "fmeasure" else f"{variant}_{measure}"
        self._scorer()

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        scorer = self._scorer()
        scores: list[float | None] = []
        references = references_of(columns, self.column, len(completions), "Rouge")
        for row, (text, targets) in enumerate(zip(texts_of(completions), references, strict=True)):
            if targets is None:
                scores.append(None)
                continue
            if not all(re.search("[a-zA-Z0-9]", target) for target in targets):
                raise ValueError(
                    f"Rouge reads letters a to z and digits only, and row {row} of {self.column!r} has a reference without "
                    f"any: {targets!r}. Use Bleu or Similarity for this language."
                )
            found = (scorer.score(target, text)[self.variant] for target in targets)
            scores.append(max(getattr(one, self.measure) for one in found))
        return scores

    def _scorer(self) -> Any:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise need("rouge-score", "eval", "Rouge") from error
        return RougeScorer([self.variant], use_stemmer=self.stemmer)


class Bleu:
    """Sentence BLEU of a completion against a reference column, in [0, 1], by sacrebleu.

    Papineni et al. (2002), exponentially smoothed and with effective n-gram order, as sacrebleu does for single sentences;
    divided by 100. BLEU was made for corpora; on one sentence it is noisy (Chen and Cherry, 2014). Needs
    `pip install rlhf_ext[eval]`.

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, which are used together. Rows without one give None.
        tokenize (`str`, *optional*, defaults to `"13a"`):
            sacrebleu's tokenizer: `"13a"`, `"intl"`, `"zh"`, `"char"`, ...

    Raises:
        ImportError: If sacrebleu is not installed.
        ValueError: If the tokenizer is unknown; from a call, if the column is missing.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import Bleu
    >>> scores = Bleu()(prompts=["..."] * 2, completions=["the cat sat down"] * 2, reference=["the cat sat down", "No."])
    >>> [round(score, 2) for score in scores]
    [1.0, 0.0]

    ```
    """

    def __init__(self, column: str = "reference", tokenize: str = "13a"):
        try:
            from sacrebleu.metrics import BLEU
        except ImportError as error:
            raise need("sacrebleu", "eval", "Bleu") from error
        if tokenize not in BLEU.TOKENIZERS:
            raise ValueError(f"`tokenize` should be one of {', '.join(sorted(BLEU.TOKENIZERS))}, got {tokenize!r}.")
        self.column, self.tokenize = column, tokenize
        self.bleu = BLEU(effective_order=True, tokenize=tokenize)
        self.__name__ = "bleu"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        references = references_of(columns, self.column, len(completions), "Bleu")
        return [
            None if targets is None else min(1.0, self.bleu.sentence_score(text, targets).score / 100)
            for text, targets in zip(texts_of(completions), references, strict=True)
        ]
