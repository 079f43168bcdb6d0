"""chrF, exact match and F1 of words against their definitions; BLEU and chrF of a corpus against sacrebleu."""

import pytest
from sacrebleu.metrics import BLEU, CHRF

from rlhf_ext.evaluation.automatic import ChrF, ExactMatch, TokenF1, corpus_bleu, corpus_chrf
from rlhf_ext.evaluation.automatic.metrics import Answers
from rlhf_ext.evaluation.suite import Case

REFERENCES = ["The cat sat on the mat.", "It rains in the north today.", ["Good morning!", "Morning, all of you."]]
ANSWERS = ["The cat sat on a mat.", "Today it rains in the north.", "Good morning, all!"]


def scores(function, answers, references):
    return function(prompts=["?"] * len(answers), completions=answers, reference=references)


def answers(texts, references):
    cases = [Case(str(n), f"{n}?", columns={"reference": reference}) for n, reference in enumerate(references)]
    return Answers(cases, texts)


@pytest.mark.parametrize("order", [0, 2])
def test_chrf_is_sacrebleus(order):
    found = scores(ChrF(word_order=order), ANSWERS[:2], REFERENCES[:2])
    expected = [
        CHRF(word_order=order).sentence_score(a, [r]).score / 100
        for a, r in zip(ANSWERS[:2], REFERENCES[:2], strict=True)
    ]
    assert found == pytest.approx(expected) and 0.3 < found[0] < 1


def test_empty_answers_score_0_and_rows_without_a_reference_none():
    for metric in (ChrF(), ExactMatch(), TokenF1()):
        assert scores(metric, ["", "x", "  "], ["cat", None, ["cat", "dog"]]) == [0.0, None, 0.0]


def test_exact_match_forgives_case_punctuation_and_articles_alone():
    found = scores(ExactMatch(), ["a Cat.", "cats", "dog"], ["The cat", "cat", ["cat", "the dog!"]])
    assert found == [1.0, 0.0, 1.0]
    assert scores(ExactMatch(normalize=False), ["Cat ", "cat"], ["Cat", "Cat"]) == [1.0, 0.0]


def test_f1_counts_words_as_often_as_they_occur_and_takes_the_best_reference():
    # Two of two words of the answer, two of three of the reference; then one shared "no" of three.
    assert scores(TokenF1(), ["red cat", "no no no"], ["big red cat", "no"]) == pytest.approx([0.8, 0.5])
    assert scores(TokenF1(), ["red cat"], [["dog", "red cat"]]) == [1.0]
    assert scores(TokenF1(), ["the", "x"], ["a!", "a"]) == [0.0, 0.0]


def test_the_corpus_is_sacrebleus_corpus():
    given = answers(ANSWERS[:2], REFERENCES[:2])
    for metric, sacre in ((corpus_bleu(), BLEU()), (corpus_chrf(), CHRF())):
        (column,) = metric.measure(given)
        whole = sacre.corpus_score(ANSWERS[:2], [REFERENCES[:2]]).score / 100
        assert column.corpus and column.per == "case" and len(column.values) == 2
        assert sum(column.values) / 2 == pytest.approx(whole)


def test_the_corpus_counts_long_answers_for_more():
    texts, references = ["a", "the cat sat on the mat today"], ["b", "the cat sat on the mat today"]
    mean = sum(BLEU(effective_order=True).sentence_score(a, [r]).score for a, r in zip(texts, references, strict=True))
    assert sum(corpus_bleu().measure(answers(texts, references))[0].values) / 2 > 0.8 > mean / 200


def test_rows_with_several_references_and_without_any():
    given = answers([*ANSWERS, "x"], [*REFERENCES, None])
    for metric in (corpus_bleu(), corpus_chrf()):
        (column,) = metric.measure(given)
        assert column.values[3] is None and None not in column.values[:3]
    streams = [[REFERENCES[0], REFERENCES[1], REFERENCES[2][0]], [None, None, REFERENCES[2][1]]]
    (column,) = corpus_chrf().measure(given)
    assert sum(column.values[:3]) / 3 == pytest.approx(CHRF().corpus_score(ANSWERS, streams).score / 100)


def test_a_corpus_of_empty_answers_is_0():
    for metric in (corpus_bleu(), corpus_chrf()):
        assert metric.measure(answers(["", ""], ["cat", "dog"]))[0].values == [0.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "reference", "right"), [("A.", "A", 1), ("", "A", 0), ("The", "A", 0), ("<", ">", 0)]
)
def test_what_is_all_article_or_punctuation_is_no_empty_answer(answer, reference, right):
    for metric in (ExactMatch(), TokenF1()):
        assert metric(prompts=["?"], completions=[answer], reference=[reference]) == [right]
