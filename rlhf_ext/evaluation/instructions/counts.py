"""Constraints on how much there is: each a check of a text, with its numbers as keywords. Ranges include their ends."""

from __future__ import annotations

from .reading import (
    bullets_of,
    headings_of,
    lines_of,
    numbers_of,
    paragraphs_of,
    sentences_of,
    within,
    words_of,
)


def word_count(text: str, *, least: int | None = None, most: int | None = None) -> bool:
    """A number of words in a range."""
    return within(len(words_of(text)), least, most)


def sentence_count(text: str, *, least: int | None = None, most: int | None = None) -> bool:
    """A number of sentences in a range."""
    return within(len(sentences_of(text)), least, most)


def paragraph_count(text: str, *, count: int) -> bool:
    """Exactly so many paragraphs, with blank lines between them."""
    return len(paragraphs_of(text)) == count


def line_count(text: str, *, count: int) -> bool:
    """Exactly so many lines that are not blank."""
    return len(lines_of(text)) == count


def character_count(text: str, *, most: int) -> bool:
    """At most so many characters, spaces counted, and at least one."""
    return 0 < len(text.strip()) <= most


def bullet_count(text: str, *, count: int) -> bool:
    """Exactly so many bullet points."""
    return len(bullets_of(text)) == count


def numbered_list(text: str, *, count: int) -> bool:
    """A numbered list from 1 to exactly so many."""
    return numbers_of(text) == list(range(1, count + 1))


def heading_count(text: str, *, count: int) -> bool:
    """Exactly so many Markdown headings."""
    return len(headings_of(text)) == count


def question_count(text: str, *, count: int) -> bool:
    """Exactly so many question marks."""
    return text.count("?") + text.count("？") == count
