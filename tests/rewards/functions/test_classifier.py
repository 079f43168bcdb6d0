import sys

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhf_ext.rewards.functions import ClassifierLabel, Sentiment, VaderSentiment

GOOD, BAD = ["good", "great film", "a fine day"], ["bad", "awful film", "a poor day"]


@pytest.fixture(scope="module")
def sentiment_folder(bert):
    return bert(["NEGATIVE", "POSITIVE"], train=[(text, 1) for text in GOOD] + [(text, 0) for text in BAD])


def test_sentiment_is_the_probability_of_the_good_label(sentiment_folder):
    scores = Sentiment(sentiment_folder)(prompts=["?"] * 6, completions=GOOD + BAD)
    assert min(scores[:3]) > 0.9 and max(scores[3:]) < 0.1
    opposite = Sentiment(sentiment_folder, label="NEGATIVE")(prompts=["?"] * 6, completions=GOOD + BAD)
    assert opposite == pytest.approx([1 - score for score in scores], abs=1e-6)


def test_messages_score_as_their_text(sentiment_folder):
    reward = Sentiment(sentiment_folder)
    message = [{"role": "assistant", "content": "great film"}]
    assert reward(prompts=[[]], completions=[message]) == reward(prompts=[""], completions=["great film"])


def test_a_model_in_memory_will_do(sentiment_folder):
    model = AutoModelForSequenceClassification.from_pretrained(sentiment_folder)
    reward = ClassifierLabel(model, "POSITIVE", AutoTokenizer.from_pretrained(sentiment_folder))
    assert reward(prompts=[""], completions=["good"]) == pytest.approx(
        Sentiment(sentiment_folder)(prompts=[""], completions=["good"])
    )
    assert (reward.__name__, Sentiment(sentiment_folder).__name__) == ("positive", "sentiment")


def test_every_label_is_logged(sentiment_folder, metrics):
    scores = Sentiment(sentiment_folder)(prompts=["?"] * 2, completions=["good", "bad"], log_metric=metrics.log_metric)
    assert metrics["sentiment/POSITIVE"] == pytest.approx([sum(scores) / 2])
    assert metrics["sentiment/NEGATIVE"] == pytest.approx([1 - sum(scores) / 2])


def test_labels_that_do_not_exclude_each_other_have_a_sigmoid_each(bert):
    folder = bert(["rude", "loud", "long"], problem_type="multi_label_classification")
    scores = [
        ClassifierLabel(folder, label)(prompts=[""], completions=["good"])[0] for label in ("rude", "loud", "long")
    ]
    single = bert(["rude", "loud", "long"])
    shares = [
        ClassifierLabel(single, label)(prompts=[""], completions=["good"])[0] for label in ("rude", "loud", "long")
    ]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert abs(sum(scores) - 1) > 0.01


def test_an_unknown_label_is_refused_with_the_known_ones(sentiment_folder):
    with pytest.raises(
        ValueError, match="`label` should be one of the model's labels, NEGATIVE, POSITIVE; got 'positive'"
    ):
        Sentiment(sentiment_folder, label="positive")


def test_a_reward_model_is_sent_to_its_place(bert):
    with pytest.raises(ValueError, match="use RewardModel"):
        ClassifierLabel(bert(["LABEL_0"]), "LABEL_0")


def test_nothing_gives_nothing(sentiment_folder):
    assert Sentiment(sentiment_folder)(prompts=[], completions=[]) == []


def test_vader_reads_words_and_negation():
    texts = ["It was wonderful.", "It was not wonderful.", "It was on the table.", ""]
    good, negated, neutral, empty = VaderSentiment()(prompts=["?"] * 4, completions=texts)
    assert good > 0.7 and negated < 0.4 and neutral == empty == 0.5


def test_vader_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(
        ImportError, match=r"VaderSentiment needs the package vaderSentiment: pip install rlhf_ext\[eval\]"
    ):
        VaderSentiment()
