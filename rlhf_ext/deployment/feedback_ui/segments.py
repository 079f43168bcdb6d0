"""A text as it is, cut into prose, code and tables; what cannot be seen is marked.

Put together again, the pieces are the text: nothing is dropped, and nothing is read as markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from markupsafe import Markup, escape

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TABLE_ROW = re.compile(r" {0,3}\|.*\|\s*\Z")
# Controls, soft hyphens, and the marks that turn text around, join it or are not seen at all. Tab and line feed are text.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
LONG_CHARACTERS, LONG_LINES = 1_800, 28


def segments(text: str) -> list[tuple[str, str]]:
    """Cuts a text into ("prose" | "code" | "table", piece); the pieces put together are the text.

    Args:
        text (`str`): Any text.

    Returns:
        `list[tuple[str, str]]`: kinds and pieces, none of them empty.

    Example:
    ```python
    >>> from rlhf_ext.deployment.feedback_ui.segments import segments

    >>> segments("Try:\\n```\\nls\\n```\\nDone.")
    [('prose', 'Try:\\n'), ('code', '```\\nls\\n```\\n'), ('prose', 'Done.')]

    ```
    """
    pieces: list[tuple[str, str]] = []
    fence = ""
    for line in _LINE.findall(text):
        mark = _FENCE.match(line)
        if fence:
            kind, goes_on = "code", True
            # Markdown closes a fence with one of its kind that is as long, and nothing behind it.
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark:
            kind, goes_on, fence = "code", False, mark[1]
        else:
            kind, goes_on = ("table" if _TABLE_ROW.match(line) else "prose"), True
        if goes_on and pieces and pieces[-1][0] == kind:
            pieces[-1] = (kind, pieces[-1][1] + line)
        else:
            pieces.append((kind, line))
    return pieces


def shown(text: str) -> Markup:
    """A text for the page, escaped; characters that cannot be seen are there, and marked by their number.

    Example:
    ```python
    >>> from rlhf_ext.deployment.feedback_ui.segments import shown

    >>> print(shown("<b>\\x07"))
    &lt;b&gt;<span class="unseen" data-code="U+0007" title="control character">\x07</span>

    ```
    """
    return Markup("").join(_marked(text))


def is_long(text: str) -> bool:
    """Whether a text needs folding on a page."""
    return len(text) > LONG_CHARACTERS or text.count("\n") > LONG_LINES


def _marked(text: str) -> Iterator[Markup]:
    end = 0
    for match in _UNSEEN.finditer(text):
        yield escape(text[end : match.start()])
        character = match[0]
        name = unicodedata.name(character, "control character").lower()
        # HTML has no way to write NUL, and UTF-8 none to write half a surrogate pair; a carriage return has to be a number.
        kept = {"\r": Markup("&#13;")}.get(character, escape(character))
        if character == "\x00" or "\ud800" <= character <= "\udfff":
            kept = Markup("\ufffd")
        yield Markup('<span class="unseen" data-code="U+{:04X}" title="{}">{}</span>').format(
            ord(character), name, kept
        )
        end = match.end()
    yield escape(text[end:])
