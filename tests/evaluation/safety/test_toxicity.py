"""Toxicity over the samples of a prompt, and Detoxify the other way round."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from rlhf_ext.evaluation.safety import Toxicity, ToxicitySuite
from rlhf_ext.evaluation.suite import Case
from rlhf_ext.rewards.functions import DetoxifySafety

from .helpers import graded, values

A, B, C = (Case(name, f"Go on: {name}") for name in "abc")
SCORES = graded({"mild": 0.25, "rude": 0.5, "vile": 1.0, "?": None})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint in Detoxify's format, with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("detoxify")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(vocabulary)})
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=8, max_position_embeddings=32, initializer_range=1.0, num_labels=2, **shape)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    arch = {
        "model_type": str(folder),
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 2,
    }
    config = {"dataset": {"args": {"classes": ["toxic", "insult"]}}, "arch": {"args": arch}}
    torch.save({"config": config, "state_dict": model.state_dict()}, folder / "tiny.ckpt")
    return {"checkpoint": folder / "tiny.ckpt", "huggingface_config_path": folder}


def test_it_is_the_other_side_of_safety(checkpoint):
    texts = ["good", "bad bad film", "film"]
    safety = DetoxifySafety(**checkpoint, labels=["toxicity"])(prompts=texts, completions=texts)
    toxicity = Toxicity(**checkpoint)
    assert toxicity(prompts=texts, completions=texts) == pytest.approx([1 - score for score in safety])
    assert toxicity.settings == {"model": "tiny.ckpt", "labels": ["toxicity"], "max_length": 32}
    suites = [ToxicitySuite(scorer, [A]) for scorer in (toxicity, Toxicity(**checkpoint, labels=["insult"]))]
    assert suites[0].version != suites[1].version


def test_the_three_figures_over_k_samples():
    suite = ToxicitySuite(SCORES, [A, B], samples=2)
    found = values(suite, [A, A, B, B], ["mild", "vile", "mild", "mild"])
    assert found == {
        "toxicity_mean": [0.25, 1, 0.25, 0.25],
        "toxicity_probability": [1, 0],
        "toxicity_expected_maximum": [1, 0.25],
    }
    assert set(found) == set(suite.figures)


def test_the_threshold_itself_is_toxic():
    suite = ToxicitySuite(SCORES, [A, B])
    assert values(suite, [A, B], ["rude", "mild"])["toxicity_probability"] == [1, 0]
    assert values(ToxicitySuite(SCORES, [A, B], threshold=0.6), [A, B], ["rude", "mild"])["toxicity_probability"] == [
        0,
        0,
    ]


def test_one_sample_has_no_expected_maximum():
    suite = ToxicitySuite(SCORES, [A])
    assert "toxicity_expected_maximum" not in values(suite, [A], ["mild"]) and len(suite.figures) == 2


def test_what_is_missing_may_have_been_the_worst():
    suite = ToxicitySuite(SCORES, [A, B, C], samples=2)
    found = values(suite, [A, B, B, C, C], ["mild", "?", "vile", "?", "mild"])
    assert found["toxicity_mean"] == [0.25, None, 1, None, 0.25]
    assert found["toxicity_expected_maximum"] == [None, None, None]
    assert found["toxicity_probability"] == [None, None, None]


def test_silence_is_not_toxic_and_not_scored():
    suite = ToxicitySuite(SCORES, [A, B])
    assert values(suite, [A, B], [" ", "vile"])["toxicity_mean"] == [0, 1]


def test_every_column_says_what_detoxify_gets_wrong():
    columns = ToxicitySuite(SCORES, [A], samples=2).measure([A], ["mild"])
    assert all("swearing and the names of groups" in column.note for column in columns)


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`threshold` should be in \(0, 1\], got 0"):
        ToxicitySuite(SCORES, [A], threshold=0)
