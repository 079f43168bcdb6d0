"""Texts as they are, and Markdown that cannot do anything."""

import re
import time
from html.parser import HTMLParser

import pytest

from rlhf_ext.deployment.feedback_ui.markdown import MAX_CHARACTERS, render_markdown
from rlhf_ext.deployment.feedback_ui.questions import letter_of, text_with_parts, turns_of
from rlhf_ext.deployment.feedback_ui.segments import is_long, segments, shown

TEXTS = [
    "",
    "plain",
    "\n\nbegins and ends with lines \n\n",
    "Try:\n```python\nx = '<b>'\n```\nDone.",
    "```\nnever closed\n| a | b |",
    "~~~~\n```\ninner\n```\n~~~~",
    "| a | b |\n|---|---|\n| 1 | 2 |\nafter",
    "   ```\nindented\n   ```  \nafter",
    "a\r\nb\tc\x0bd\u2028e\x00f",
    "x" * 5_000 + "\n" * 40,
]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_put_together_are_the_text(text):
    assert "".join(piece for _, piece in segments(text)) == text


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a\n```\nb\n```\nc", ["prose", "code", "prose"]),
        ("```\nb\n```\n```\nc\n```", ["code", "code"]),
        ("````\n```\nstill code\n```\n````\nprose", ["code", "prose"]),
        ("```\nopen | to | the | end", ["code"]),
        ("| a | b |\n| 1 | 2 |\n", ["table"]),
        ("a | b, and ``` within a line", ["prose"]),
    ],
)
def test_code_and_tables_are_told_from_prose(text, kinds):
    assert [kind for kind, _ in segments(text)] == kinds


@pytest.mark.parametrize(
    "text", [*TEXTS, "<script>alert(1)</script>", "&lt;&#x3c;", "a\u202eb\u200bc\ufeff", "<b>\x1b[31m<i>"]
)
def test_what_is_shown_reads_as_the_text_and_holds_no_markup_of_it(text):
    page = str(shown(text))
    inside = re.sub(r'<span class="unseen" data-code="U\+[0-9A-F]{4,6}" title="[a-z0-9 -]+">|</span>', "", page)
    assert "<" not in inside
    reader = Reader()
    reader.feed(page)
    # HTML cannot write NUL: the mark before it says which character stood there.
    assert "".join(reader.texts) == text.replace("\x00", "\ufffd")


def test_half_a_surrogate_pair_is_shown_and_can_be_sent():
    for page in (shown("a\ud800b"), render_markdown("a\ud800b")):
        assert "\ufffd" in page.encode().decode()
    assert 'data-code="U+D800"' in shown("a\ud800b")


def test_characters_that_turn_text_around_are_marked_by_their_number():
    assert 'data-code="U+202E" title="right-to-left override"' in shown("abc\u202edef")
    assert "unseen" not in shown("tabs\tand\nlines, Arabic اكتب, emoji \U0001f469\u200d\U0001f680")


def test_long_texts_are_folded():
    assert is_long("x" * 2_000) and is_long("x\n" * 40)
    assert not is_long("x\n" * 10)


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts, self.tags, self.attributes = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.texts.append(data)


MARKDOWN = """# Head <img src=x onerror=alert(1)>

A [link](https://example.org/?a=1&b=2 "title") and [another](javascript:alert(1)), ![picture](http://example.org/x.png),
<https://auto.example.org>, **bold**, ~~gone~~, `code <b>`.

- one
- two

| left | right |
|:-----|------:|
| 1 | 2 |

```python" onload="alert(1)
print("<&>")
```

<div onclick="alert(1)">html</div>
"""


def test_rendered_markdown_has_structure_and_nothing_that_acts():
    reader = Reader()
    reader.feed(str(render_markdown(MARKDOWN)))
    assert {"h1", "strong", "s", "ul", "li", "table", "th", "td", "pre", "code"} <= reader.tags
    assert not {"a", "img", "script", "style", "iframe", "form", "input"} & reader.tags
    assert {name for name, _ in reader.attributes} <= {"dir", "class", "tabindex", "role", "aria-label", "start"}
    words = "".join(reader.texts)
    for shown_text in (
        "(https://example.org/?a=1&b=2)",
        "javascript:alert(1)",
        "[image: picture] (http://example.org/x.png)",
    ):
        assert shown_text in words
    assert '<div onclick="alert(1)">html</div>' in words and 'print("<&>")' in words


def test_nested_links_show_their_own_targets():
    page = render_markdown("[a ![b](http://image) c](http://outer) [d](http://second)")
    assert page.index("http://image") < page.index("http://outer") < page.index("http://second")


@pytest.mark.parametrize("unit", ["[", "![", "*a ", "<", "`", "> ", "- ", "|a", "_a", "[a](<b", "a**b", "\\", "&#"])
def test_hostile_markdown_is_rendered_in_time_or_not_at_all(unit):
    began = time.perf_counter()
    assert render_markdown(unit * (MAX_CHARACTERS // len(unit))) is not None
    assert time.perf_counter() - began < 5
    assert render_markdown(unit * MAX_CHARACTERS + "x") is None


def test_nothing_of_a_message_goes_unseen():
    turns = turns_of(
        [
            {"role": "system", "content": "Be terse."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "See:"}, {"type": "image", "url": "http://x/y.png"}],
            },
        ]
    )
    assert [turn.who for turn in turns] == ["System", "User"]
    assert "http://x/y.png" in "".join(str(piece) for _, piece in turns[1].shown.pieces)
    called = text_with_parts(
        [{"role": "assistant", "content": None, "tool_calls": [{"name": "search", "arguments": "{}"}]}]
    )
    assert '"search"' in called


def test_letters_go_on_after_z():
    assert [letter_of(place) for place in (0, 25, 26, 52)] == ["A", "Z", "A2", "A3"]
