"""Markdown for the eye: a safe subset, in which nothing can be clicked, loaded or run.

markdown-it-py reads CommonMark and tables with raw HTML off, so that tags are shown as text. A link shows its text and its
target, for the annotator to see; an image shows its description and its address, and is not loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from .segments import shown

# Above this, reading it takes longer than looking at it is worth (and hostile texts take longest).
MAX_CHARACTERS = 20_000
_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of pairs, which UTF-8 cannot write
_BLOCKS = ("paragraph_open", "heading_open", "list_item_open", "blockquote_open", "th_open", "td_open")


def render_markdown(text: str) -> Markup | None:
    """A text rendered as Markdown, safe to put into a page; None where it is too long to render.

    Args:
        text (`str`): Any text.

    Returns:
        `Markup` or `None`: HTML without links, images, scripts, styles, identifiers or event handlers.

    Example:
    ```python
    >>> from rlhf_ext.deployment.feedback_ui.markdown import render_markdown

    >>> print(render_markdown("**Bold** <script>"))
    <p dir="auto"><strong>Bold</strong> &lt;script&gt;</p>
    <BLANKLINE>

    ```
    """
    if len(text) > MAX_CHARACTERS:
        return None
    return Markup(_reader().render(_SURROGATES.sub("\ufffd", text)))


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).enable(
        ["table", "strikethrough"]
    )
    for name, rule in _RULES.items():
        reader.add_render_rule(name, rule)
    return reader


def _block(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    # Columns' alignment comes as a style, which the page's policy forbids; each block has a direction of its own.
    tokens[index].attrs = {"dir": "auto"}
    return self.renderToken(tokens, index, options, env)


def _text(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    return shown(tokens[index].content)


def _table_open(self: RendererHTML, *_: Any) -> str:
    return '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>\n'


def _table_close(self: RendererHTML, *_: Any) -> str:
    return "</table></div>\n"


def _link_open(self: RendererHTML, *_: Any) -> str:
    return '<span class="link">'


def _link_close(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    depth, start = 0, index
    while start > 0:  # the opening that this closes holds the target
        depth += {"link_close": 1, "link_open": -1}.get(tokens[start].type, 0)
        if depth == 0:
            break
        start -= 1
    return f'</span> <span class="target">({escape(tokens[start].attrGet("href") or "")})</span>'


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    words = self.renderInlineAsText(token.children, options, env) if token.children else ""
    return f'<span class="link">[image: {escape(words)}]</span> <span class="target">({escape(token.attrGet("src"))})</span>'


def _code(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    token = tokens[index]
    language = token.info.split()[0] if token.info.split() else ""
    label = f'<span class="language">{escape(language)}</span>' if language else ""
    return (
        f'<div class="code" tabindex="0" role="region" aria-label="Code">{label}'
        # The first line feed in <pre> is not shown, so that one of the code's own would be lost.
        f"<pre>\n<code>{shown(token.content)}</code></pre></div>\n"
    )


_RULES = {
    **dict.fromkeys(_BLOCKS, _block),
    "text": _text,
    "table_open": _table_open,
    "table_close": _table_close,
    "link_open": _link_open,
    "link_close": _link_close,
    "image": _image,
    "fence": _code,
    "code_block": _code,
}
