"""Overlap with a reference: chrF, exact match, token F1; BLEU and chrF of a whole corpus."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from string import punctuation
from typing import Any

from ...rewards.functions.rows import need, references_of, texts_of
from ...types import Completion
from .metrics import CorpusMetric

_ARTICLES = re.compile(r"\b(a|an|the)\b")


class ChrF:
    """chrF of a completion against a reference column, in [0, 1], by sacrebleu: the F-score of character n-grams.

    Popović, "chrF: character n-gram F-score for automatic MT evaluation" (2015); divided by 100. It needs no words, so it
    is the one for languages of rich morphology or without spaces. An empty completion scores 0.

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the best counts. Rows without one give None.
        word_order (`int`, *optional*, defaults to `0`):
            2 for chrF++, which counts words and pairs of them as well.

    Raises:
        ImportError: If sacrebleu is not installed.
        ValueError: From a call, if the column is missing.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import ChrF
    >>> scores = ChrF()(prompts=["..."] * 2, completions=["the cats", ""], reference=["the cat", "the cat"])
    >>> [round(score, 2) for score in scores]
    [0.93, 0.0]

    ```
    """

    def __init__(self, column: str = "reference", word_order: int = 0):
        try:
            from sacrebleu.metrics import CHRF
        except ImportError as error:
            raise need("sacrebleu", "eval", "ChrF") from error
        self.column, self.word_order = column, word_order
        self.chrf = CHRF(word_order=word_order)
        self.__name__ = "chrf" + "++" * (word_order == 2)

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        references = references_of(columns, self.column, len(completions), "ChrF")
        return [
            None if targets is None else min(1.0, self.chrf.sentence_score(text, targets).score / 100)
            for text, targets in zip(texts_of(completions), references, strict=True)
        ]


class ExactMatch:
    """1.0 where a completion is a reference, word for word, else 0.0: SQuAD's exact match.

    Compared without case, punctuation, English articles and white space at will (Rajpurkar et al.,
    [1606.05250](https://huggingface.co/papers/1606.05250)), so an answer in a sentence does not match: ask for the bare
    answer, or see [`TokenF1`]. Where nothing would be left of a text ("A", "<"), it is compared as it is but for case.

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the best counts. Rows without one give None.
        normalize (`bool`, *optional*, defaults to `True`):
            With `False`, texts must be equal but for white space around them.

    Raises:
        ValueError: From a call, if the column is missing.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import ExactMatch
    >>> ExactMatch()(prompts=["?"] * 2, completions=["The Eiffel Tower.", "A tower"], reference=["Eiffel tower"] * 2)
    [1.0, 0.0]

    ```
    """

    def __init__(self, column: str = "reference", normalize: bool = True):
        self.column, self.normalize = column, normalize
        self.__name__ = "exact_match"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        form = normalized if self.normalize else str.strip
        references = references_of(columns, self.column, len(completions), "ExactMatch")
        return [
            None if targets is None else float(form(text) in map(form, targets))
            for text, targets in zip(texts_of(completions), references, strict=True)
        ]


class TokenF1:
    """F1 over the words that a completion shares with a reference, in [0, 1]: SQuAD's F1.

    Words as in [`ExactMatch`], counted as often as they occur. Where one of the two has no word left, 1.0 if neither
    has, else 0.0 (as in SQuAD 2.0, [1806.03822](https://huggingface.co/papers/1806.03822)).

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references, of which the best counts. Rows without one give None.

    Raises:
        ValueError: From a call, if the column is missing.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import TokenF1
    >>> TokenF1()(prompts=["?"] * 2, completions=["It is the Eiffel Tower.", ""], reference=["Eiffel tower"] * 2)
    [0.6666666666666666, 0.0]

    ```
    """

    def __init__(self, column: str = "reference"):
        self.column = column
        self.__name__ = "token_f1"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        references = references_of(columns, self.column, len(completions), "TokenF1")
        return [
            None if targets is None else max(_f1(normalized(text).split(), normalized(t).split()) for t in targets)
            for text, targets in zip(texts_of(completions), references, strict=True)
        ]


def normalized(text: str) -> str:
    """A text as SQuAD compares it: lower case, without punctuation, English articles and superfluous white space.

    Unless nothing is left: then articles stay, and if need be punctuation, so that the choice "A" is not an empty answer, nor "<"
    the same as ">".
    """
    bare = "".join(letter for letter in text.lower() if letter not in punctuation)
    forms = (_ARTICLES.sub(" ", bare), bare, text.lower())
    return next((" ".join(form.split()) for form in forms if form.strip()), "")


def corpus_bleu(column: str = "reference", tokenize: str = "13a") -> CorpusMetric:
    """BLEU of all answers together, in [0, 1], by sacrebleu: counts are summed over the corpus, as papers report it.

    Args:
        column (`str`, *optional*, defaults to `"reference"`):
            Column with the reference, or a list of references. Rows without one do not count.
        tokenize (`str`, *optional*, defaults to `"13a"`):
            sacrebleu's tokenizer.

    Returns:
        [`CorpusMetric`]: `corpus_bleu`.

    Raises:
        ImportError: If sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise need("sacrebleu", "eval", "corpus_bleu") from error
    bleu = BLEU(tokenize=tokenize, effective_order=True)

    def counts(completions: Sequence[Completion], **columns: Any) -> list[list[int] | None]:
        found: list[list[int] | None] = []
        references = references_of(columns, column, len(completions), "corpus_bleu")
        for text, targets in zip(texts_of(completions), references, strict=True):
            score = None if targets is None else bleu.sentence_score(text, targets)
            found.append(None if score is None else [*score.counts, *score.totals, score.sys_len, score.ref_len])
        return found

    def statistic(rows: list[list[int]]) -> float:
        sums = [sum(numbers) for numbers in zip(*rows, strict=True)]
        score = BLEU.compute_bleu(sums[:4], sums[4:8], sums[8], sums[9], smooth_method="exp").score
        return min(1.0, float(score) / 100)

    metric = CorpusMetric(counts, statistic, "corpus_bleu", "BLEU of the corpus", "rate", reads=[column])
    metric.settings = ["corpus_bleu", column, tokenize]
    return metric


def corpus_chrf(column: str = "reference", word_order: int = 0) -> CorpusMetric:
    """chrF of all answers together, in [0, 1], by sacrebleu.

    Args:
        column (`str`, *optional*, defaults to `"reference"`), word_order (`int`, *optional*, defaults to `0`):
            As for [`ChrF`].

    Returns:
        [`CorpusMetric`]: `corpus_chrf`.

    Raises:
        ImportError: If sacrebleu is not installed.
    """
    chrf = ChrF(column, word_order).chrf

    def pairs(completions: Sequence[Completion], **columns: Any) -> list[tuple[str, list[str]] | None]:
        references = references_of(columns, column, len(completions), "corpus_chrf")
        return [
            None if targets is None else (text, targets)
            for text, targets in zip(texts_of(completions), references, strict=True)
        ]

    def statistic(rows: list[tuple[str, list[str]]]) -> float:
        most = max(len(targets) for _, targets in rows)
        streams: Any = [[targets[i] if i < len(targets) else None for _, targets in rows] for i in range(most)]
        return min(1.0, float(chrf.corpus_score([text for text, _ in rows], streams).score) / 100)

    metric = CorpusMetric(pairs, statistic, "corpus_chrf", "chrF of the corpus", "rate", reads=[column])
    metric.settings = ["corpus_chrf", column, word_order]
    return metric


def _f1(words: list[str], target: list[str]) -> float:
    if not words or not target:
        return float(words == target)
    shared = sum((Counter(words) & Counter(target)).values())
    return 2 * shared / (len(words) + len(target))
