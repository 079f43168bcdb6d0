"""Text as a reader sees it, whatever characters it is written with: what rules are matched against.

`Ｓｅｃｒｅｔ`, `se<zero width space>cret` and `s̶e̶c̶r̶e̶t̶` all read "secret"; so do an `é` of one character and one of two. Folding
makes them one, cluster by cluster (a letter with all that stands on it), and remembers where each character came from.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache

_LONGEST = 32
_UNSEEN = "\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0"
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# Marks of no script of their own: what is left of them when a letter is composed is decoration.
_DECORATIONS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")


def fold(text: str) -> str:
    """The text folded: compatibility forms (NFKC), case, invisible characters and decorating marks taken away.

    Example:
    ```python
    >>> from rlhf_ext.deployment.filters.folding import fold

    >>> fold("Ｓｅ\\u200bＣＲＥＴ Cafe\\u0301")
    'secret café'

    ```
    """
    folded = Folded()
    folded.add(text)
    folded.close()
    return folded.text


class Folded:
    """A growing text and its folded form. The last cluster is open, since a mark may follow, and not yet in `text`."""

    def __init__(self) -> None:
        self.text = ""
        """The folded clusters that are closed."""
        self._starts: list[int] = []  # of each folded character, where its cluster begins in the raw text
        self._end = 0  # where the closed clusters end in the raw text
        self._open = ""

    def add(self, raw: str) -> None:
        """Takes more of the raw text."""
        if not raw:
            return
        if raw.isascii() and not _CONTROLS.search(raw):
            self.close()  # nothing in it belongs to the cluster before; each character is one
            self._take(raw[:-1])
            self._open = raw[-1]
        else:
            *closed, self._open = _clusters(self._open, raw)
            self._take(closed)

    def close(self) -> None:
        """Closes the last cluster: the text is at its end."""
        self._take([self._open] if self._open else [])
        self._open = ""

    def raw_start(self, index: int) -> int:
        """Where the cluster of the folded character at `index` begins in the raw text; the end of the closed ones for the end."""
        return self._starts[index] if index < len(self._starts) else self._end

    def raw_end(self, index: int) -> int:
        """Where the cluster of the folded character before `index` ends in the raw text."""
        start = self._starts[index - 1]
        after = bisect_right(self._starts, start)  # one cluster may give several characters
        return self.raw_start(after)

    def drop(self, count: int) -> None:
        """Forgets the first `count` folded characters; places in the raw text stay what they are."""
        self.text, self._starts = self.text[count:], self._starts[count:]

    def _take(self, clusters: list[str] | str) -> None:
        if isinstance(clusters, str):
            self.text += clusters.lower()
            self._starts += range(self._end, self._end + len(clusters))
            self._end += len(clusters)
            return
        parts = []
        for cluster in clusters:
            folded = _fold_cluster(cluster if len(cluster) <= _LONGEST else _first_seen(cluster))
            parts.append(folded)
            self._starts += [self._end] * len(folded)
            self._end += len(cluster)
        self.text += "".join(parts)


def _clusters(begun: str, raw: str) -> list[str]:
    """The clusters of a text whose first may go on with one that has begun."""
    found = [begun] if begun else []
    for character in raw:
        if found and _extends(character):
            found[-1] += character
        else:
            found.append(character)
    return found


@lru_cache(maxsize=4096)
def _extends(character: str) -> bool:
    """Whether a character belongs to the cluster before it: marks, invisible ones, the later parts of a Hangul syllable."""
    if character.isascii():
        return _unseen(character)
    if _unseen(character) or "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff":
        return True
    return unicodedata.category(unicodedata.normalize("NFKD", character)[0]).startswith("M")


def _first_seen(cluster: str) -> str:
    return "".join([character for character in cluster if not _unseen(character)][:_LONGEST])


@lru_cache(maxsize=4096)
def _unseen(character: str) -> bool:
    kind = unicodedata.category(character)
    if kind == "Cc":
        return not character.isspace()
    # Variation selectors are marks that choose a glyph.
    selects = (
        "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
        or "\u180b" <= character <= "\u180f"
    )
    return kind == "Cf" or selects or character in _UNSEEN


@lru_cache(maxsize=8192)
def _fold_cluster(cluster: str) -> str:
    """One cluster folded, by its first characters: more marks than these nobody can read (UAX 15, stream-safe text)."""
    seen = "".join(character for character in cluster if not _unseen(character))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    plain = "".join(character for character in folded if not _unseen(character))  # NFKC can bring some back
    return _DECORATIONS.sub("", plain)
