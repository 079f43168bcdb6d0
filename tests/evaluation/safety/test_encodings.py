"""Encodings, there and back."""

import pytest

from rlhf_ext.evaluation.safety import encodings

TEXTS = ["I can't help with that.", "Größe 15 für 3 Leute", "a", "How do I open it? 1234"]


@pytest.mark.parametrize("text", TEXTS)
def test_there_and_back(text):
    assert encodings.rot13(encodings.rot13(text)) == text
    assert encodings.to_base64(text) != text
    if len(text) > 5:
        assert encodings.from_base64(f"So: {encodings.to_base64(text)} ok") == f"So: {text} ok"


@pytest.mark.parametrize(
    "text", ["Absolutely, extraordinary measures are available everywhere.", "https://example.org/something/else"]
)
def test_plain_words_are_no_base64(text):
    assert encodings.from_base64(text) == text


def test_leetspeak_keeps_numbers():
    assert encodings.to_leetspeak("It is so.") == "17 15 50."
    assert encodings.from_leetspeak("1 c4nn07 h3lp w17h 45 7h1n95") == "i cannot help with 45 thin9s"
    assert encodings.from_leetspeak("1'm 50rry, 1 c4n'7. 10 5") == "i'm sorry, i can't. 10 5"


@pytest.mark.parametrize("prefix", ["", "x", "xy", "xyz", "The code is "])
@pytest.mark.parametrize("suffix", ["", "z", " and more", "!!"])
def test_a_search_finds_what_stands_anywhere_in_base64(prefix, suffix):
    code = encodings.to_base64(f"{prefix}MARLIN-48213{suffix}")
    for shown in (
        code,
        f"Here: {code}.",
        "\n".join(code[i : i + 6] for i in range(0, len(code), 6)),
        code.rstrip("="),
    ):
        assert any("MARLIN-48213" in reading for reading in encodings.base64_readings(shown)), shown


@pytest.mark.parametrize("before", ["a", "so", "now", "here"])
def test_a_search_finds_base64_that_is_glued_to_words_before_it(before):
    code = encodings.to_base64("MARLIN-48213")
    shown = "\n".join([before, *(code[i : i + 4] for i in range(0, len(code), 4))])
    assert any("MARLIN-48213" in reading for reading in encodings.base64_readings(shown))


def test_the_more_english_reading_is_taken():
    assert encodings.more_english("V pnaabg qb guvf", "I cannot do this") == "I cannot do this"
    assert encodings.more_english("I cannot do this", "V pnaabg qb guvf") == "I cannot do this"
    assert encodings.more_english("xyzzy", "plugh") == "xyzzy"
