"""What can be read off a text alone: its length, how hard it is to read, how much it repeats itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...rewards.functions.factuality import sentences_of
from ...rewards.functions.rows import texts_of
from ...rewards.functions.text import repeated_ngrams
from ...types import Completion

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class WordCount:
    """The number of words in a completion (what white space separates): its length. An empty completion has 0.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import WordCount
    >>> WordCount()(prompts=["..."] * 2, completions=["Two words.", ""])
    [2.0, 0.0]

    ```
    """

    __name__ = "length"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [float(len(text.split())) for text in texts_of(completions)]


class Repetition:
    """The share of a completion's n-grams of words that it has said before, in [0, 1): higher is worse.

    The other side of [`~rlhf_ext.rewards.functions.DistinctNgrams`]. Texts of fewer than `n` words, and empty ones, have 0.

    Args:
        n (`int`, *optional*, defaults to `4`):
            Words of an n-gram.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import Repetition
    >>> Repetition(n=2)(prompts=["..."], completions=["no no no no no"])
    [0.75]

    ```
    """

    def __init__(self, n: int = 4):
        if n < 1:
            raise ValueError(f"`n` must be at least 1, got {n}.")
        self.n = n
        self.__name__ = "repetition"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [repeated_ngrams(text, self.n) for text in texts_of(completions)]


class Readability:
    """The school grade (of the United States) from which on an English completion can be read: Automated Readability Index.

    `4.71 letters / words + 0.5 words / sentences - 21.43` (Senter and Smith, "Automated Readability Index", 1967), at least 0.
    It counts letters rather than syllables, so it needs no dictionary, as Flesch's does. Texts without a word give None.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import Readability
    >>> texts = ["The cat sat on the mat.", "Institutional considerations notwithstanding, ratification proceeded."]
    >>> [round(grade, 1) for grade in Readability()(prompts=["..."] * 2, completions=texts)]
    [0.0, 40.4]

    ```
    """

    __name__ = "readability"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [_grade(text) for text in texts_of(completions)]


def _grade(text: str) -> float | None:
    words = _WORD.findall(text)
    if not words:
        return None
    letters = sum(letter.isalnum() for word in words for letter in word)
    return max(0.0, 4.71 * letters / len(words) + 0.5 * len(words) / len(sentences_of(text)) - 21.43)
