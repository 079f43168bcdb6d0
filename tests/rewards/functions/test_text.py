import re

import pytest
from transformers import AutoTokenizer

from rlhf_ext.rewards.functions import DistinctNgrams, Length, Regex, repeated_ngrams


def score(reward, *texts, **columns):
    return reward(prompts=["?"] * len(texts), completions=list(texts), **columns)


def words(n):
    return " ".join(["word"] * n)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 0.0), (5, 0.5), (10, 1.0), (15, 1.0), (20, 1.0), (22, 0.75), (24, 0.5), (28, 0.0), (40, 0.0)],
)
def test_length_falls_off_outside_its_band(length, expected):
    assert score(Length(10, 20, falloff=8), words(length)) == [expected]
    assert score(Length(10, 20, unit="characters", falloff=8), "x" * length) == [expected]


def test_brevity_and_a_lower_end_alone():
    assert score(Length(highest=10), "", words(10), words(15), words(20), words(30)) == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert score(Length(lowest=4), "", words(1), words(4), words(400)) == [0.0, 0.25, 1.0, 1.0]


def test_words_are_what_white_space_separates():
    assert score(Length(3, 3, falloff=3), " one\n two\tthree ", "one-two three") == [1.0, 2 / 3]


def test_tokens_are_the_trainers_or_the_tokenizers(tiny):
    assert score(Length(2, 2, unit="tokens", falloff=2), "a", "b", completion_ids=[[1, 2], [1, 2, 3]]) == [1.0, 0.5]
    assert score(Length(2, 2, unit="tokens"), "a", completion_ids=[[]]) == [0.0]
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    n = len(tokenizer("a few words of text", add_special_tokens=False)["input_ids"])
    assert score(Length(n, n, unit="tokens", tokenizer=tokenizer), "a few words of text", "") == [1.0, 0.0]
    assert score(Length(2, 3, unit="tokens", tokenizer=tokenizer)) == []


def test_tokens_need_something_that_counts_them():
    with pytest.raises(ValueError, match="got no `completion_ids`.*tokenizer="):
        score(Length(2, 3, unit="tokens"), "a")


def test_messages_count_as_their_text():
    assert Length(2, 2)(prompts=[[]], completions=[[{"role": "assistant", "content": "one two"}]]) == [1.0]


def test_the_length_is_logged(metrics):
    score(Length(2, 3), words(2), words(5), log_metric=metrics.log_metric)
    assert metrics == {"length/words": [3.5]}


@pytest.mark.parametrize(
    "wrong", [{}, {"lowest": -1, "highest": 2}, {"lowest": 3, "highest": 2}, {"highest": 0}, {"lowest": 0}]
)
def test_a_band_is_checked(wrong):
    with pytest.raises(ValueError, match="should be a band of lengths"):
        Length(**wrong)


def test_the_unit_and_the_falloff_are_checked():
    with pytest.raises(ValueError, match="`unit` should be .*got 'lines'"):
        Length(1, 2, unit="lines")
    for wrong in ({"highest": 3, "falloff": 0}, {"lowest": 3, "falloff": 2}):
        with pytest.raises(ValueError, match="`falloff`"):
            Length(**wrong)


def test_repeated_ngrams_are_those_seen_before():
    assert repeated_ngrams("a b c d", n=2) == 0.0
    assert repeated_ngrams("a b a b a b", n=2) == pytest.approx(3 / 5)  # ab ba ab ba ab: two kinds of five
    assert repeated_ngrams("Go go GO", n=1) == pytest.approx(2 / 3)
    assert repeated_ngrams("You can. You can, (you can)", n=3) == 0.5
    assert repeated_ngrams("!!! !!! ?", n=1) == pytest.approx(1 / 3)
    assert repeated_ngrams("one two", n=3) == repeated_ngrams("", n=1) == 0.0
    assert repeated_ngrams("ababab", n=2, unit="characters") == pytest.approx(3 / 5)


def test_distinct_ngrams_are_the_rest():
    assert score(DistinctNgrams(n=2), "a b a b a b", "a b c", "") == pytest.approx([2 / 5, 1.0, 1.0])
    assert score(DistinctNgrams(n=1, unit="characters"), "aab") == pytest.approx([2 / 3])
    assert DistinctNgrams(3).__name__ == "distinct_3grams"


def test_a_loop_scores_below_prose():
    prose = "The tower was opened in 1889 and is still one of the sights that most visitors of the city want to see."
    loop = "I am happy to help. " * 20
    repeated, fine = score(DistinctNgrams(), loop, prose)
    assert repeated < 0.1 and fine == 1.0


def test_ngrams_are_checked():
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0"):
        DistinctNgrams(0)
    with pytest.raises(ValueError, match="`unit`"):
        DistinctNgrams(unit="tokens")


def test_a_pattern_is_searched_or_must_be_all():
    assert score(Regex(r"\d+"), "a 12", "none") == [1.0, 0.0]
    assert score(Regex(r"\d+", mode="full"), "a 12", "12") == [0.0, 1.0]
    assert score(Regex("yes", flags=re.IGNORECASE), "YES") == [1.0]
    assert score(Regex("as an AI", wanted=False), "as an AI, I", "Sure") == [0.0, 1.0]


def test_a_pattern_is_checked():
    with pytest.raises(ValueError, match=r"`pattern` is no regular expression: '\('"):
        Regex("(")
    with pytest.raises(ValueError, match="`mode` should be 'search' or 'full', got 'match'"):
        Regex("a", mode="match")
