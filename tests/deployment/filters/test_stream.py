"""Streams: nothing forbidden leaves, nothing harmless is lost, and what leaves does not hang on the chunks."""

import random
import re
import time
import unicodedata

import pytest

from rlhf_ext.deployment.filters import Filter, FilterSet, SpanFilter, StreamFilter, personal_data, words

HARMLESS = (
    "The heron stood in the blue water. It was 12:30, and 4 of 15 boats had left. "
    "¿Qué tal? नमस्ते दुनिया. 한국어 문장입니다. 👩\u200d👩\u200d👧 agrees; naïve cafés & co.! Is 3.14 > e? \n\n"
    "```python\nx = {'a': [1, 2, 3]}  # secretive\n```\n"
)
FORBIDDEN = ["blue heron", "secret plan", "Projekt Größe", "爆弾", "café noir"]


def disguised(rng, text):
    """The same to a reader: other cases, widths, forms, and characters that are not seen."""
    found = ""
    for letter in text:
        kind = rng.random()
        if kind < 0.15 and "!" <= letter <= "~":
            letter = chr(ord(letter) + 0xFEE0)  # full width
        elif kind < 0.3:
            letter = letter.upper()
        elif kind < 0.4:
            letter = unicodedata.normalize("NFD", letter)
        found += letter
        if rng.random() < 0.15:
            found += rng.choice(["\u200b", "\u200d", "\u00ad", "\ufeff", "\u0336", "\ufe0f", "\u2060"])
    return found


def read(text):
    """What a reader sees, by another way than the filters' own: all marks and everything invisible taken away."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return re.sub(r"\s+", " ", plain)


def cut(rng, text, most=12):
    """The text in chunks at random places."""
    places = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, most)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def run(filters, chunks):
    stream = StreamFilter(filters)
    parts = [stream.push(chunk) for chunk in chunks]
    return "".join([*parts, stream.finish()]), stream


def personal(rng):
    return rng.choice(
        ["ada.b@example.org", "+49 30 1234567", "4111 1111 1111 1111", "DE89370400440532013000", "10.20.30.40"]
    )


FILTERS = FilterSet([SpanFilter("personal", personal_data()), SpanFilter("names", words(FORBIDDEN, "name"))])


def test_of_500_streams_with_planted_spans_none_leaks_and_the_rest_is_whole():
    for seed in range(500):
        rng = random.Random(seed)
        start, end = sorted(rng.sample(range(len(HARMLESS)), 2))
        # Between punctuation, so that what is planted stands alone and its neighbours stay what they are.
        before, after = HARMLESS[:start] + ": ", "; " + HARMLESS[end:]
        planted = rng.choice(FORBIDDEN) if rng.random() < 0.7 else personal(rng)
        label = "[name]" if planted in FORBIDDEN else None
        text = before + disguised(rng, planted) + after
        left, stream = run(FILTERS, cut(rng, text))
        assert read(planted) not in read(left), (seed, text)
        assert left.startswith(before) and left.endswith(after), (seed, text, left)
        assert re.fullmatch(r"\[\w+\]", left[len(before) : len(left) - len(after)]), (seed, left)
        assert label is None or label in left
        assert stream.held == 0 and [hit.action for hit in stream.hits] == ["redact"]


def test_of_500_harmless_streams_none_is_altered_or_held():
    for seed in range(500):
        rng = random.Random(seed)
        start, end = sorted(rng.sample(range(len(HARMLESS) + 1), 2))
        text = HARMLESS[start:end]
        left, stream = run(FILTERS, cut(rng, text))
        assert left == text and not stream.hits and stream.held == 0


FRAGMENTS = [
    *(
        "hello ",
        "the cat. ",
        "a",
        "x",
        " ",
        "\n",
        "🎉",
        "ada@example.org",
        "secret plan",
        "sec",
        "blue  heron",
        "blue ",
        "heron",
    ),
    *(
        "se\u200bcret plan",
        "S\u0335ecret ",
        "cafe\u0301",
        "cafe noir",
        "4111 1111 1111 1111",
        "+49 30 1234567",
        "12 34 ",
        "::1",
    ),
    *(
        "evil plan ",
        "爆弾",
        "爆",
        "ｓｅｃｒｅｔ",
        "10.0.0.1",
        "a.b@c",
        "Is it? Yes! ",
        "नमस्ते ",
        "한국어",
        "\ud83d",
        "\u1112",
        "\u1161",
    ),
]


def evil(prompts, completions, **columns):
    return [float("evil plan" in text) for text in completions]


SETS = {
    "redact": FILTERS,
    "block": FilterSet(
        [SpanFilter("mail", personal_data(["email"])), SpanFilter("names", words(FORBIDDEN), action="block")]
    ),
    "passages": FilterSet(
        [
            SpanFilter("personal", personal_data(["email", "card"])),
            Filter("evil", evil, at_most=0.5, window=60, action="replace"),
            SpanFilter("flagged", words(["heron"]), action="flag"),
        ]
    ),
    "whole": FilterSet([Filter("evil", evil, at_most=0.5, window=None)]),
}


@pytest.mark.parametrize("name", SETS)
def test_what_leaves_does_not_hang_on_the_chunks(name):
    for seed in range(150):
        rng = random.Random(seed)
        text = "".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 20)))
        whole, stream = run(SETS[name], [text])
        for chunks in (cut(rng, text), list(text)):
            left, other = run(SETS[name], chunks)
            assert left == whole, (text, chunks)
            assert other.blocked == stream.blocked and other.held == stream.held == 0
        if stream.blocked is None:
            # Lone halves of characters leave as U+FFFD.
            clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            assert SETS[name].check(clean, "output").text == whole


def test_bytes_and_halves_of_characters_may_be_cut_anywhere():
    text = "né 👍 ｓecret plan é"
    for chunks in (
        [bytes([b]) for b in text.encode()],
        list(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")),
        [chr(int.from_bytes(text.encode("utf-16-le")[i : i + 2], "little")) for i in range(0, 2 * len(text) + 2, 2)],
    ):
        assert run(FILTERS, chunks)[0] == "né 👍 [name] é"
    assert run(FILTERS, [b"ok \xf0\x9f", b""])[0] == "ok \ufffd"
    assert run(FILTERS, ["ok \ud83d"])[0] == "ok \ufffd"


def test_a_mark_that_comes_later_still_counts():
    filters = FilterSet([SpanFilter("words", words(["é1"], "word"))])
    stream = StreamFilter(filters)
    assert [stream.push(chunk) for chunk in ("e", "\u0301", "1", ".", "")] == ["", "", "", "", ""]
    assert stream.push(" ") == "[word]." and stream.finish() == " "


def test_text_leaves_as_soon_as_no_forbidden_span_can_begin_in_it():
    stream = StreamFilter(FilterSet([SpanFilter("names", words(["secret plan"], "name"))]))
    # One character waits for a mark that might stand on it, and what may be a name for its end.
    assert [stream.push(chunk) for chunk in ("Good m", "orning", ", s", "ec", "ond ")] == [
        "Good ",
        "mornin",
        "g, ",
        "",
        "second",
    ]
    assert stream.held == 1 and stream.finish() == " "


def test_blocking_lets_what_came_before_leave_and_nothing_after():
    filters = FilterSet([SpanFilter("names", words(["secret"]), action="block")])
    left, stream = run(filters, ["All is well. The sec", "ret is ", "out."])
    assert left == "All is well. The " and stream.blocked.label == "removed" and stream.blocked.start == 17
    assert stream.held == 0


def test_replacing_ends_the_answer_with_other_words():
    filters = FilterSet([SpanFilter("names", words(["secret"]), action="replace", replacement="I stop here.")])
    left, stream = run(filters, ["The ", "secret", " is out."])
    assert left == "The I stop here." and stream.blocked.action == "replace"


def test_a_passage_is_scored_before_it_leaves_with_what_came_before_it():
    asked = []

    def reward(prompts, completions, **columns):
        asked.extend(zip(prompts, completions, strict=True))
        return [float("evil" in text) for text in completions]

    stream = StreamFilter(FilterSet([Filter("evil", reward, at_most=0.5, window=60)]), prompt="Well?")
    first = "This is a first sentence of more than forty letters. "
    assert stream.push(first[:-1]) == "" and asked == []
    assert stream.push(" And") == first
    assert stream.push(" an evil one. ") == "" and stream.finish() == ""
    assert asked == [("Well?", first), ("Well?", first + "And an evil one. ")]
    assert stream.blocked.score == 1.0 and stream.blocked.start == len(first)


def test_a_filter_that_fails_closes_the_stream(caplog):
    def broken(prompts, completions, **columns):
        raise RuntimeError(f"cannot score {completions[0]}")

    left, stream = run(FilterSet([Filter("broken", broken, at_most=1)]), ["my password is hunter2 ", "ok"])
    assert left == "" and stream.blocked.label == "raised RuntimeError"
    assert "broken" in caplog.text and "hunter2" not in caplog.text
    left, stream = run(FilterSet([Filter("none", lambda prompts, completions, **_: [None], at_most=1)]), ["hello"])
    assert left == "" and stream.blocked.label == "gave no score"


def test_the_gateway_can_shut_a_stream_whose_filters_take_too_long():
    stream = StreamFilter(FILTERS)
    stream.push("hello ada@exam")
    stream.shut("timed out")
    assert stream.push("ple.org") == stream.finish() == "" and stream.blocked.label == "timed out"
    with pytest.raises(ValueError, match="finished"):
        stream.push("more")


def test_long_streams_keep_no_text_that_has_left():
    stream = StreamFilter(FilterSet([*FILTERS.filters, Filter("evil", evil, at_most=0.5, window=80)]))
    for _ in range(400):
        stream.push("The heron stood in the water, and did not move a feather. ")
    assert len(stream._text) < 6_000 and len(stream._scanner._folded.text) < 200


@pytest.mark.parametrize(
    "text",
    ["-eyj" * 1_500, "a\u0301\u0323" * 3_000, "-----begin private key-----" * 250, "a@" * 3_000, "1 2 3 4 " * 800],
)
def test_texts_made_to_be_slow_are_not(text):
    begun = time.thread_time()
    run(FILTERS, [text[place : place + 4] for place in range(0, len(text), 4)])
    assert time.thread_time() - begun < 5  # about 0.2; what is not linear takes minutes
