"""Fenced blocks of a Markdown text."""

from __future__ import annotations

import re
from collections.abc import Container

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`]*)[^\n`]*$", re.MULTILINE)


def last_block(text: str, languages: Container[str]) -> str | None:
    """The content of the last fenced block in one of some languages.

    Fences are read as CommonMark does: a block ends at a fence of the same kind that is at least as long and at most three
    blanks further in, so that fences in the docstrings of code do not end it. A block that is never closed, as in an answer
    that was cut off, is none.

    Args:
        text (`str`):
            Markdown.
        languages (`Container[str]`):
            First words after the opening fence, in lower case; `""` is a block that names none.

    Returns:
        `str` or `None`: the content, without the fences.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions.blocks import last_block
    >>> last_block("Run it:\\n~~~python\\nprint(1)\\n~~~\\nDone.", {"python", ""})
    'print(1)\\n'

    ```
    """
    found = blocks(text, languages)
    return found[-1] if found else None


def blocks(text: str, languages: Container[str], unclosed: bool = False) -> list[str]:
    """The contents of all fenced blocks in some languages.

    Args:
        text (`str`), languages (`Container[str]`):
            As for [`last_block`].
        unclosed (`bool`, *optional*, defaults to `False`):
            Whether a last block that is never closed counts, up to the end of the text.

    Returns:
        `list[str]`: the contents, without the fences.
    """
    found = []
    position = 0
    while opening := _FENCE.search(text, position):
        start = opening.end() + 1
        fence = opening["fence"]
        indent = len(opening["indent"])
        closing = re.compile(
            rf"^[ \t]{{0,{indent + 3}}}{re.escape(fence[0])}{{{len(fence)},}}[ \t\r]*$", re.MULTILINE
        ).search(text, start)
        if closing is None and not unclosed:
            break
        position = len(text) if closing is None else closing.end()
        if opening["language"].lower() in languages:
            found.append(_unindented(text[start : len(text) if closing is None else closing.start()], indent))
    return found


def _unindented(block: str, width: int) -> str:
    return re.sub(rf"^[ \t]{{1,{width}}}", "", block, flags=re.MULTILINE) if width else block
