"""How far the responses to a prompt are from one another: by their words, or by their embeddings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import Completion, text_of
from .arrays import Floats, blocks

_WORD = re.compile(r"\w+")


def text_distances(responses: Sequence[Sequence[Completion]], ngram: int = 1) -> Floats:
    """Jaccard distances of responses by their words: 1 less the share of n-grams that two have in common.

    It needs no model, and sees other words, not another meaning: [`embedding_distances`] see paraphrase.

    Args:
        responses (`Sequence[Sequence]` of `P` rows):
            The responses to each prompt, text or messages. Rows may differ in length.
        ngram (`int`, *optional*, defaults to `1`):
            Words at a time. Case and punctuation do not count.

    Returns:
        Array of shape `(P, n, n)`, in [0, 1], where n is the length of the longest row; 0 where there is no such response.

    Raises:
        ValueError: If there are no rows, or `ngram` is below 1.

    Example:

    ```python
    >>> from rlhf_ext.active import text_distances
    >>> text_distances([["the cat sat", "The cat slept."]])[0].tolist()
    [[0.0, 0.5], [0.5, 0.0]]

    ```
    """
    if ngram < 1:
        raise ValueError(f"`ngram` should be at least 1, got {ngram}.")
    if not len(responses):
        raise ValueError("There are no responses.")
    width = max(len(row) for row in responses)
    distances = np.zeros((len(responses), width, width))
    for index, row in enumerate(responses):
        parts = [_ngrams(text_of(response), ngram) for response in row]
        for first, one in enumerate(parts):
            for second in range(first + 1, len(parts)):
                union = len(one | parts[second])
                if union:
                    distances[index, first, second] = 1 - len(one & parts[second]) / union
    return distances + distances.transpose(0, 2, 1)


def embedding_distances(embeddings: Any) -> Floats:
    """Cosine distances of responses: 1 less the cosine of their embeddings.

    Args:
        embeddings (array of shape `(P, n, d)`):
            One a response, of any length but 0.

    Returns:
        Array of shape `(P, n, n)`, in [0, 2].

    Raises:
        ValueError: If the shape is wrong.
    """
    values = np.asarray(embeddings)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"`embeddings` should have the shape (prompts, responses, dimensions), got {values.shape}.")
    distances = np.empty((*values.shape[:2], values.shape[1]))
    for rows in blocks(len(values)):
        block = values[rows].astype(np.float64)
        unit = block / np.maximum(np.linalg.norm(block, axis=2, keepdims=True), 1e-12)
        distances[rows] = np.clip(1 - unit @ unit.transpose(0, 2, 1), 0.0, 2.0)
    return distances


def _ngrams(text: str, size: int) -> set[Any]:
    words = _WORD.findall(text.casefold())
    return set(words) if size == 1 else {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
