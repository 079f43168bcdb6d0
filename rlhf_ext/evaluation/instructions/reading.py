"""What a text is made of: words, paragraphs, list items, headings. One place, so that all checks count alike."""

from __future__ import annotations

import re

from ...rewards.functions.factuality import sentences_of

__all__ = [
    "bullets_of",
    "headings_of",
    "lines_of",
    "numbers_of",
    "occurrences",
    "paragraphs_of",
    "sentences_of",
    "unfenced",
    "within",
    "words_of",
]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_BULLET = re.compile(r"^\s*[-*•]\s+(\S.*)$", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*(\d+)[.)]\s+\S", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(\S.*)$", re.MULTILINE)
_FENCED = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?\s*\1\s*", re.DOTALL)


def words_of(text: str) -> list[str]:
    """Words: letters and digits, with apostrophes and hyphens inside."""
    return _WORD.findall(text)


def lines_of(text: str) -> list[str]:
    """Lines that are not blank, without the white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def paragraphs_of(text: str) -> list[str]:
    """What blank lines separate."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def bullets_of(text: str) -> list[str]:
    """Items of Markdown lists with "-", "*" or "•"."""
    return _BULLET.findall(text)


def numbers_of(text: str) -> list[int]:
    """Numbers of the items of numbered lists: "1." or "1)"."""
    return [int(number) for number in _NUMBERED.findall(text)]


def headings_of(text: str) -> list[str]:
    """Markdown headings."""
    return _HEADING.findall(text)


def occurrences(text: str, phrase: str) -> list[int]:
    """Where a word or phrase stands in a text, in any case, not as part of a longer word."""
    pattern = rf"(?<!\w){re.escape(phrase)}(?!\w)"
    return [match.start() for match in re.finditer(pattern, text, re.IGNORECASE)]


def unfenced(text: str) -> str:
    """The content of a text that is one fenced block; any other text as it is."""
    fenced = _FENCED.fullmatch(text)
    return fenced[2] if fenced else text


def within(count: int, least: int | None, most: int | None) -> bool:
    """Whether a count is in a range with one or two ends, both of them in it."""
    return (least is None or count >= least) and (most is None or count <= most)
