"""Constraints on words and marks: what must be there, what must not, how often, in which order, where."""

from __future__ import annotations

from collections.abc import Sequence

from .reading import lines_of, occurrences, within, words_of


def include_words(text: str, *, words: Sequence[str]) -> bool:
    """All of these words or phrases, in any case."""
    return all(occurrences(text, word) for word in words)


def avoid_words(text: str, *, words: Sequence[str]) -> bool:
    """None of these words or phrases, in any case, in an answer that has words."""
    return bool(words_of(text)) and not any(occurrences(text, word) for word in words)


def word_times(text: str, *, word: str, least: int | None = None, most: int | None = None) -> bool:
    """A word or phrase so many times, in any case."""
    return within(len(occurrences(text, word)), least, most)


def word_order(text: str, *, words: Sequence[str]) -> bool:
    """All of these words, their first occurrences in this order."""
    places = [occurrences(text, word) for word in words]
    firsts = [found[0] for found in places if found]
    return len(firsts) == len(words) and firsts == sorted(firsts)


def avoid_marks(text: str, *, marks: str) -> bool:
    """None of these characters, such as commas, in an answer that has words."""
    return bool(words_of(text)) and not any(mark in text for mark in marks)


def avoid_letter(text: str, *, letter: str) -> bool:
    """No word with this letter, large or small, in an answer that has words."""
    return bool(words_of(text)) and letter.lower() not in text.lower()


def starts_with(text: str, *, phrase: str) -> bool:
    """This phrase first, in these letters, and something after it."""
    whole = text.strip()
    return whole.startswith(phrase) and len(whole) > len(phrase)


def ends_with(text: str, *, phrase: str) -> bool:
    """This phrase last, in these letters and with these marks, and something before it."""
    whole = text.strip()
    return whole.endswith(phrase) and len(whole) > len(phrase)


def repeats_request(text: str, *, request: str) -> bool:
    """The request first, word for word, and an answer after it."""
    whole, first = " ".join(text.split()), " ".join(request.split())
    return whole.startswith(first) and bool(words_of(whole[len(first) :]))


def first_and_last_word(text: str) -> bool:
    """The same word first and last, in any case, with others between."""
    words = [word.lower() for word in words_of(text)]
    return len(words) > 2 and words[0] == words[-1]


def acrostic(text: str, *, word: str) -> bool:
    """Lines whose first letters spell this word."""
    return "".join(line[0].lower() for line in lines_of(text)) == word.lower()
