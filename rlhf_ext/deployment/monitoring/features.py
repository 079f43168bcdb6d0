"""What is compared of texts: each feature is one number a text, learnt from a reference."""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

Feature = Callable[[str], float]
"""A number for a text, finite."""

READ = 2000
"""Characters of a text that are read."""

_WORD = re.compile(r"\w+|[^\w\s]")
_BUCKETS = 4096


def length(reference: Sequence[str]) -> Feature:
    """Logarithm of the length in characters."""
    return lambda text: math.log1p(len(text))


def characters(reference: Sequence[str]) -> Feature:
    """How unusual the characters are: mean surprise, in nats, under the reference's shares of kinds of characters.

    Kinds are Unicode's categories (letters, digits, marks, spaces, ...), of letters with the script: other alphabets, code, tables
    and broken encodings stand out.
    """
    return _surprise(reference, _kinds, 256)


def words(reference: Sequence[str]) -> Feature:
    """How unusual the words are: mean surprise, in nats, under the reference's histogram of words, hashed into 4,096 buckets.

    Other topics and other languages stand out, and boilerplate, which is less surprising than anything.
    """
    return _surprise(reference, _hashed, _BUCKETS)


def language(reference: Sequence[str]) -> Feature:
    """How rare the text's language is in the reference: minus the logarithm of its share; texts without letters are one of their own.

    Raises:
        ImportError: If py3langid is not installed.
    """
    from ...rewards.functions.language import _identifier

    identifier = _identifier(None)

    def language_of(text: str) -> str:
        return str(identifier.rank(text[:500])[0][0]) if any(c.isalpha() for c in text[:500]) else ""

    counts = Counter(map(language_of, reference))
    return lambda text: -math.log((counts[language_of(text)] + 0.5) / (len(reference) + 0.5))


def embedding(reference: Sequence[str], encoder: Any) -> Feature:
    """How far the text is from the nearest one of the reference: cosine distance of embeddings, in [0, 2].

    Args:
        reference (`Sequence[str]`): Texts; the first 256 are kept.
        encoder ([`~rlhf_ext.rewards.functions.encoders.Encoder`]): Reads them.
    """
    from ...rewards.functions.encoders import mean_embedding

    def embed(texts: Sequence[str]) -> Any:
        return encoder.read([text[:READ] or " " for text in texts], mean_embedding).numpy()

    kept = embed(reference[:256])
    return lambda text: float(1 - (kept @ embed([text])[0]).max())


FEATURES: Mapping[str, Callable[..., Feature]] = MappingProxyType(
    {"length": length, "characters": characters, "words": words, "language": language, "embedding": embedding}
)
"""By name; each is made with the reference's texts, `embedding` with an encoder as well."""


def edges_of(values: Sequence[float], bins: int = 20) -> np.ndarray:
    """What sorts values into about equally full bins, `bins` at most, and ones for what lies beyond all of them.

    Returns:
        `np.ndarray`: rising edges for `np.searchsorted`, which gives a bin in [0, `len(edges)`].
    """
    inner = np.quantile(values, np.linspace(0, 1, bins + 1))
    return np.unique(np.concatenate([inner, np.nextafter(inner, np.inf)]))


def _surprise(reference: Sequence[str], parts_of: Callable[[str], Counter[int]], size: int) -> Feature:
    counts = np.full(size, 0.5)
    for text in reference:
        for part, number in parts_of(text).items():
            counts[part] += number
    surprise = -np.log(counts / counts.sum())

    def mean(text: str) -> float:
        found = parts_of(text)
        # Nothing to read is as surprising as can be expected: the mean over the reference's own parts.
        if not found:
            return float((surprise * counts).sum() / counts.sum())
        return float(sum(surprise[part] * number for part, number in found.items()) / found.total())

    return mean


def _hashed(text: str) -> Counter[int]:
    found = _WORD.findall(text[:READ].lower())
    return Counter(zlib.crc32(word.encode("utf-8", "replace")) % _BUCKETS for word in found)


def _kinds(text: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for character, number in Counter(text[:READ]).items():
        kind = unicodedata.category(character)
        if kind.startswith("L") and not character.isascii():
            kind = unicodedata.name(character, "?").split()[0]  # LATIN, CYRILLIC, CJK, ARABIC, ...
        found[zlib.crc32(kind.encode()) % 256] += number
    return found
