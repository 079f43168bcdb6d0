import pytest

from rlhf_ext.evaluation.automatic import Readability, Repetition, WordCount
from rlhf_ext.rewards.functions import DistinctNgrams


def scores(function, *texts):
    return function(prompts=["?"] * len(texts), completions=list(texts))


def test_words_are_counted():
    assert scores(WordCount(), "one two  three\nfour", "", " ") == [4.0, 0.0, 0.0]
    assert scores(WordCount(), [{"role": "assistant", "content": "a b"}]) == [2.0]


def test_repetition_is_the_other_side_of_distinct_ngrams():
    texts = ["to be or not to be or not", "", "a b"]
    other = [1 - score for score in scores(DistinctNgrams(4), *texts)]
    assert scores(Repetition(), *texts) == other == [pytest.approx(0.2), 0.0, 0.0]
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        Repetition(0)


def test_the_grade_follows_the_formula_and_has_no_value_without_words():
    long = "Notwithstanding institutional considerations, the amendment was ratified."
    assert len(long.split()) == 7
    (one,) = scores(Readability(), long)
    letters = sum(letter.isalpha() for letter in long)
    assert one == pytest.approx(4.71 * letters / 7 + 0.5 * 7 - 21.43) and one > 15
    (two,) = scores(Readability(), long + " " + long)
    assert two == pytest.approx(one)  # per sentence
    (joined,) = scores(Readability(), long.replace(".", "") + " " + long)
    assert joined == pytest.approx(one + 3.5)
    assert scores(Readability(), "", "!!!", "12 + 3", "The cat sat.") == [None, None, 0.0, 0.0]
