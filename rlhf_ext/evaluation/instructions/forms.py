"""Constraints on the form of the whole answer: JSON, CSV, tables, titles, letters large and small."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from typing import Any

from .reading import lines_of, unfenced, within, words_of

_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?")
_BOLD = re.compile(r"\*\*(?=\S)(?:(?!\*\*).)+?(?<=\S)\*\*")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*\w[^\[\]\n]*\]")


def json_object(text: str, *, keys: Sequence[str]) -> bool:
    """One JSON object with exactly these keys, alone or in a fenced block."""
    value = _json(text)
    return isinstance(value, dict) and sorted(value) == sorted(keys)


def json_array(text: str, *, count: int) -> bool:
    """One JSON array of so many elements, alone or in a fenced block."""
    value = _json(text)
    return isinstance(value, list) and len(value) == count


def csv_rows(text: str, *, header: Sequence[str], rows: int) -> bool:
    """CSV with this header and so many rows, all as wide as it, alone or in a fenced block."""
    try:
        found = [row for row in csv.reader(unfenced(text).strip().splitlines(), strict=True) if row]
    except csv.Error:
        return False
    named = [name.strip().lower() for name in found[0]] if found else []
    return (
        named == [name.lower() for name in header]
        and len(found) == rows + 1
        and all(len(row) == len(header) and all(cell.strip() for cell in row) for row in found)
    )


def table(text: str, *, columns: int, rows: int) -> bool:
    """A Markdown table of so many columns and rows, the header not counted, with nothing around it."""
    lines = lines_of(text)
    if len(lines) != rows + 2 or not _RULE.fullmatch(lines[1]):
        return False
    return all("|" in line and len(line.strip("|").split("|")) == columns for line in lines)


def title(text: str) -> bool:
    """A first line in double square brackets, and something after it."""
    lines = lines_of(text)
    return len(lines) > 1 and re.fullmatch(r"\[\[[^\[\]]*\w[^\[\]]*\]\]", lines[0]) is not None


def quoted(text: str) -> bool:
    """The whole answer between double quotation marks, straight or curly."""
    whole = text.strip()
    return len(whole) > 2 and (whole[0], whole[-1]) in (('"', '"'), ("“", "”"))


def bold_parts(text: str, *, least: int) -> bool:
    """At least so many parts in bold, with two asterisks on either side."""
    return len(_BOLD.findall(text)) >= least


def labelled_parts(text: str, *, labels: Sequence[str]) -> bool:
    """Parts that begin with these labels, each followed by a colon at the start of a line, once and in this order."""
    pattern = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    found = re.findall(rf"^\s*\**({pattern})\**:", text, re.MULTILINE)
    return found == list(labels)


def code_block(text: str) -> bool:
    """One fenced block and nothing else."""
    return unfenced(text) != text and bool(unfenced(text).strip()) and "```" not in unfenced(text)


def separated_parts(text: str, *, mark: str, count: int) -> bool:
    """So many parts, none empty, with a line that is this mark between them."""
    parts: list[list[str]] = [[]]
    for line in lines_of(text):
        if line == mark:
            parts.append([])
        else:
            parts[-1].append(line)
    return len(parts) == count and all(parts)


def lower_case(text: str) -> bool:
    """No capital letter."""
    return any(letter.isalpha() for letter in text) and text == text.lower()


def upper_case(text: str) -> bool:
    """Capital letters only."""
    return any(letter.isalpha() for letter in text) and text == text.upper()


def capital_words(text: str, *, least: int | None = None, most: int | None = None) -> bool:
    """A number, in a range, of words of at least two letters that are all in capitals."""
    return within(sum(len(word) > 1 and word.isupper() for word in words_of(text)), least, most)


def placeholders(text: str, *, least: int) -> bool:
    """At least so many different placeholders in square brackets."""
    return len(set(_PLACEHOLDER.findall(text))) >= least


def one_of(text: str, *, options: Sequence[str]) -> bool:
    """Exactly one of these answers and nothing else."""
    return text.strip() in options


def postscript(text: str, *, mark: str) -> bool:
    """A last part that begins with this mark, at the start of a line, and says something."""
    starts = list(re.finditer(rf"^\s*{re.escape(mark)}", text, re.MULTILINE))
    return len(starts) == 1 and starts[0].start() > 0 and bool(words_of(text[starts[0].end() :]))


def language(text: str, *, code: str, among: Sequence[str]) -> bool:
    """Written in this language rather than in the others that are asked about, by py3langid."""
    from ...rewards.functions import Language

    if len(words_of(text)) < 3:
        return False
    (likely,) = Language(code, among=tuple(among))(prompts=[""], completions=[text])
    return likely is not None and likely > 0.5


def _json(text: str) -> Any:
    try:
        return json.loads(unfenced(text), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
