import sys

import pytest

from rlhf_ext.rewards.functions import Bleu, Rouge


def score(reward, completion, reference):
    return reward(prompts=["?"], completions=[completion], reference=[reference])[0]


def test_rouge_is_f1_of_words_in_common():
    # 3 of 4 words, 3 of 6 words: precision 0.75, recall 0.5
    assert score(Rouge(variant="rouge1"), "the cat sat here", "the cat sat on a mat") == pytest.approx(0.6)
    # 2 of 3 bigrams, 2 of 5 bigrams
    assert score(Rouge(variant="rouge2"), "the cat sat here", "the cat sat on a mat") == pytest.approx(0.5)
    # the order counts: "cat sat" is the longest common subsequence, of 3 and of 3
    assert score(Rouge(), "sat the cat", "the cat sat") == pytest.approx(2 / 3)
    assert score(Rouge(variant="rouge1"), "sat the cat", "the cat sat") == 1.0


def test_the_best_reference_counts():
    assert score(Rouge(), "a dog", ["the cat", "a dog"]) == 1.0
    assert score(Rouge(), "a dog", ["the cat"]) == 0.0


def test_recall_and_precision_each_take_the_best_reference():
    recall, precision = Rouge(variant="rouge1", measure="recall"), Rouge(variant="rouge1", measure="precision")
    assert score(recall, "the cat sat here", "the cat") == 1.0
    assert score(precision, "the cat sat here", "the cat") == 0.5
    both = ["here", "the cat sat on a mat"]  # all of the first is said, and more of what is said is in the second
    assert score(recall, "the cat sat here", both) == 1.0
    assert score(precision, "the cat sat here", both) == 0.75
    assert recall.__name__ == "rouge1_recall"
    with pytest.raises(ValueError, match="`measure` should be"):
        Rouge(measure="f1")


def test_stemming_is_a_choice():
    assert score(Rouge(variant="rouge1"), "running", "runs") == 0.0
    assert score(Rouge(variant="rouge1", stemmer=True), "running", "runs") == 1.0


def test_a_reference_that_rouge_cannot_read_is_refused():
    with pytest.raises(ValueError, match="row 0 of 'reference' has a reference without any: .*Use Bleu or Similarity"):
        score(Rouge(), "雨だ", "雨だ")


def test_bleu_is_sacrebleus_divided_by_100():
    from sacrebleu import sentence_bleu

    pairs = [
        ("the cat sat on a mat today", "the cat sat on the mat today"),
        ("a b", "a c"),
        ("the", "the cat"),
        ("x", "y"),
    ]
    for completion, reference in pairs:
        assert score(Bleu(), completion, reference) == pytest.approx(
            sentence_bleu(completion, [reference]).score / 100
        )


def test_bleu_ranks_and_ends():
    target = "the cat sat on the mat and slept all day"
    same, near, far = (score(Bleu(), text, target) for text in (target, "the cat sat on the mat and ate", "dogs bark"))
    assert same == 1.0 and 0.2 < near < 0.9 and far < 0.01
    assert score(Bleu(), "a dog runs by the sea", ["the cat", "a dog runs by the sea"]) == 1.0
    assert score(Bleu(tokenize="char"), "雨が降る", "雨が降る") == 1.0


@pytest.mark.parametrize("kind", [Rouge, Bleu])
def test_rows_columns_and_messages(kind):
    reward = kind(column="gold")
    message = [{"role": "assistant", "content": "a red dog ran"}]
    scores = reward(
        prompts=["?"] * 4,
        completions=["a red dog ran", "", "x", message],
        gold=["a red dog ran", "a", None, "a red dog ran"],
    )
    assert scores == [1.0, 0.0, None, 1.0]
    with pytest.raises(ValueError, match=f"{kind.__name__} reads the column 'gold'.*the columns are reference"):
        reward(prompts=["?"], completions=["a"], reference=["a"])


def test_variants_are_checked():
    with pytest.raises(ValueError, match="`variant` should be .*got 'rougeW'"):
        Rouge(variant="rougeW")
    with pytest.raises(ValueError, match="`tokenize` should be one of .*13a.*got 'words'"):
        Bleu(tokenize="words")
    assert (Rouge().__name__, Rouge(variant="rouge2").__name__, Bleu().__name__) == ("rougeL", "rouge2", "bleu")


@pytest.mark.parametrize(
    ("kind", "module", "package"),
    [(Rouge, "rouge_score.rouge_scorer", "rouge-score"), (Bleu, "sacrebleu.metrics", "sacrebleu")],
)
def test_they_say_what_to_install(kind, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf"{kind.__name__} needs the package {package}: pip install rlhf_ext\[eval\]"
    ):
        kind()
