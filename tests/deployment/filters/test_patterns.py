"""Where a match might still begin: against all continuations that there are."""

import doctest
import importlib
import itertools
import random
import re

import pytest

from rlhf_ext.deployment.filters.folding import Folded, fold
from rlhf_ext.deployment.filters.patterns import BoundedPattern, any_of


@pytest.mark.parametrize("module", ["folding", "patterns"])
def test_the_examples_run(module):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.deployment.filters.{module}")).failed == 0


def random_pattern(rng, depth=0):
    kind = rng.random()
    if depth > 3 or kind < 0.4:
        return rng.choice(["a", "b", "[ab]", "[^a]", ".", r"\w", r"\s"])
    if kind < 0.6:
        return random_pattern(rng, depth + 1) + random_pattern(rng, depth + 1)
    if kind < 0.7:
        return f"(?:{random_pattern(rng, depth + 1)}|{random_pattern(rng, depth + 1)})"
    if kind < 0.85:
        least = rng.randint(0, 2)
        turns = f"{{{least},{least + rng.randint(0, 2)}}}"
        return f"(?:{random_pattern(rng, depth + 1)}){turns}{rng.choice(['', '?'])}"
    look = rng.choice([r"\b", r"\B", "(?!b)", "(?=a)", "(?<=a)", "(?<!b)"])
    return random_pattern(rng, depth + 1) + look + random_pattern(rng, depth + 1)


def test_what_is_decided_on_a_beginning_of_a_text_is_what_the_whole_text_says():
    rng, checked = random.Random(0), 0
    while checked < 20_000:
        try:
            pattern = BoundedPattern(random_pattern(rng))
        except ValueError:  # one that matches the empty text
            continue
        for _ in range(5):
            text = "".join(rng.choice("ab ") for _ in range(rng.randint(1, 9)))
            whole = [match.span() for match in re.finditer(pattern.pattern, text)]
            for cut in range(len(text) + 1):
                found, start = [], 0
                while match := pattern.search(text[:cut], start, pattern.may_begin(text[:cut], start)):
                    found.append(match)
                    start = match[1]
                open_from = pattern.may_begin(text[:cut], start)
                assert found == [span for span in whole if span[0] < open_from], (pattern.pattern, text, cut)
                checked += 1


def test_nothing_is_held_back_that_no_continuation_makes_a_match():
    """For patterns without lookaround: from where a match may begin, there is a continuation with one."""
    rng, held = random.Random(1), 0
    continuations = ["".join(some) for n in range(5) for some in itertools.product("ab ", repeat=n)]
    while held < 300:
        try:
            pattern = BoundedPattern(random_pattern(rng))
        except ValueError:
            continue
        if "\\" in pattern.pattern or "(?=" in pattern.pattern or "(?!" in pattern.pattern or "(?<" in pattern.pattern:
            continue
        if pattern.longest > 5:
            continue
        text = "".join(rng.choice("ab ") for _ in range(5))
        start = pattern.may_begin(text, 0)
        if start < len(text):
            held += 1
            rest = text[start:]
            assert any(
                re.fullmatch(pattern.pattern, (rest + more)[:end])
                for more in continuations
                for end in range(len(rest), len(rest + more) + 1)
            ), (pattern.pattern, text)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a+", r"without bound.*\{1,64\} in place of"),
        ("(?:ab)*c", "without bound"),
        ("a{2,}", "without bound"),
        ("^a", "anchor"),
        ("a$", "anchor"),
        (r"(a)\1", "back reference"),
        ("(?=ab)a", "more than one character"),
        ("(?s)a", "sets flags"),
        ("(?i:a)b", "flags for a part"),
        ("a{0,3}", "empty text"),
        ("a{30000}", "30,000 characters"),
        ("a(", "no regular expression"),
        ("straße", "'ss'"),
        ("a{1,3}+", "possessive"),
    ],
)
def test_patterns_that_a_stream_cannot_decide_are_refused(pattern, said):
    with pytest.raises(ValueError, match=said):
        BoundedPattern(pattern)


def test_words_become_a_tree_that_matches_the_longest():
    pattern = BoundedPattern(any_of(["secret", "secretary", "blue  Heron", "a.b"]))
    assert pattern.search("the secretary", 0, 13) == (4, 13)
    assert pattern.search("blue \n heron", 0, 12) == (0, 12)
    assert pattern.search("axb", 0, 3) is None
    assert pattern.may_begin("a secre", 0) == 2 and pattern.may_begin("a secru", 0) == 7


def test_thousands_of_words_are_quick():
    rng = random.Random(0)
    many = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(4, 12))) for _ in range(5_000)]
    pattern = BoundedPattern(any_of(many))
    text = " ".join(rng.choice("klmnop") * 5 for _ in range(200))
    assert pattern.search(f"{text} {many[7]}", 0, 2_000) is not None
    assert pattern.may_begin(text, 0) == len(text)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ＳＥＣＲＥＴ", "secret"),
        ("se\u200bc\u00adr\u2060et\ufeff", "secret"),
        ("s\u0336e\u0336c\u0336ret", "secret"),
        ("cafe\u0301", "café"),
        ("CAFÉ", "café"),
        ("Straße", "strasse"),
        ("①②", "12"),
        ("ﬁne", "fine"),
        ("\u1112\u1161\u11ab", "한"),
        ("año", "año"),  # another word than "ano"
        ("हिन्दी", "हिन्दी"),
        ("se\x00c\x1bret", "secret"),
        ("a\tb\r\nc", "a\tb\r\nc"),
        ("1\ufe0f\u20e3", "1"),
        ("", ""),
    ],
)
def test_texts_fold_to_what_is_read(written, read):
    assert fold(written) == read


def test_folded_text_does_not_hang_on_the_chunks_and_knows_where_it_came_from():
    raw = "Ｓe\u200bcret\u0301 ﬁn 한\u1112\u1161\u11ab \u0301x"
    whole = Folded()
    whole.add(raw)
    whole.close()
    for seed in range(50):
        rng, folded, rest = random.Random(seed), Folded(), raw
        while rest:
            size = rng.randint(1, 4)
            folded.add(rest[:size])
            rest = rest[size:]
        folded.close()
        assert folded.text == whole.text
        assert [folded.raw_start(i) for i in range(len(folded.text) + 1)] == [
            whole.raw_start(i) for i in range(len(whole.text) + 1)
        ]
    start = whole.text.index("fin")
    assert raw[whole.raw_start(start) : whole.raw_end(start + 3)] == "ﬁn"
    assert whole.raw_end(len("secret")) == raw.index(" ")
