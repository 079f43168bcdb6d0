"""Detoxify's own class, with a checkpoint in its format that is built here."""

import pickle
import sys
from urllib.error import URLError

import pytest
import torch
from detoxify import Detoxify
from transformers import BertForSequenceClassification

from rlhf_ext.rewards.functions import DetoxifySafety

GOOD, BAD = ["good", "a great film", "it is a fine day in the old tower"], ["bad", "an awful film", "poor"]


@pytest.fixture(scope="module")
def checkpoint(bert, tmp_path_factory):
    """Path of a checkpoint and the folder of its configuration: `bad` words are toxic, `film` is an insult."""
    labels = ["toxic", "insult"]
    rows = [(text, [float(text in BAD), float("film" in text)]) for text in GOOD + BAD]
    folder = bert(labels, train=rows, problem_type="multi_label_classification")
    path = tmp_path_factory.mktemp("detoxify") / "tiny.ckpt"
    arch = {
        "args": {
            "model_type": folder,
            "model_name": "BertForSequenceClassification",
            "tokenizer_name": "BertTokenizer",
            "num_classes": 2,
        }
    }
    state = BertForSequenceClassification.from_pretrained(folder).state_dict()
    torch.save({"config": {"dataset": {"args": {"classes": labels}}, "arch": arch}, "state_dict": state}, path)
    return {"checkpoint": path, "huggingface_config_path": folder}


def test_it_is_1_minus_detoxifys_highest_probability(checkpoint):
    texts = [*GOOD, *BAD, "", "good " * 40]
    detoxify = Detoxify(**{name: str(path) for name, path in checkpoint.items()})
    expected = [1 - max(detoxify.predict(text).values()) for text in texts]
    scores = DetoxifySafety(**checkpoint, batch_size=3)(prompts=["?"] * len(texts), completions=texts)
    assert scores == pytest.approx(expected, abs=1e-5)


def test_higher_is_safer(checkpoint):
    scores = DetoxifySafety(**checkpoint, labels=["toxicity"])(prompts=["?"] * 6, completions=GOOD + BAD)
    assert min(scores[:3]) > 0.8 > 0.2 > max(scores[3:])


def test_the_labels_that_count_can_be_chosen(checkpoint):
    good_film, bad_film = ["a great film"], ["an awful film"]
    insult = DetoxifySafety(**checkpoint, labels=["insult"])
    assert insult(prompts=["?"], completions=good_film)[0] < 0.3
    toxicity, both = DetoxifySafety(**checkpoint, labels=["toxicity"]), DetoxifySafety(**checkpoint)
    for texts in (good_film, bad_film):
        single = [reward(prompts=["?"], completions=texts)[0] for reward in (toxicity, insult)]
        assert both(prompts=["?"], completions=texts)[0] == min(single)


def test_its_batches_are_sorted_and_small(checkpoint):
    reward = DetoxifySafety(**checkpoint, batch_size=2)
    shapes = []
    reward.encoder.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    reward(prompts=["?"] * 4, completions=["good", "good " * 20, "bad", "bad " * 19])
    assert shapes == [(2, 22), (2, 3)]


def test_every_label_is_logged(checkpoint, metrics):
    DetoxifySafety(**checkpoint)(prompts=["?"] * 2, completions=["good", "bad"], log_metric=metrics.log_metric)
    assert sorted(metrics) == ["detoxify_safety/insult", "detoxify_safety/toxicity"]
    assert metrics["detoxify_safety/toxicity"] == [pytest.approx(0.5, abs=0.2)]


def test_messages_and_nothing(checkpoint):
    reward = DetoxifySafety(**checkpoint)
    message = [{"role": "assistant", "content": "a great film"}]
    assert reward(prompts=[[]], completions=[message]) == reward(prompts=[""], completions=["a great film"])
    assert reward(prompts=[], completions=[]) == []


def test_it_pickles(checkpoint):
    reward = DetoxifySafety(**checkpoint)
    again = pickle.loads(pickle.dumps(reward))
    assert again(prompts=["?"], completions=["bad"]) == reward(prompts=["?"], completions=["bad"])


def test_arguments_are_checked(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="`model_type` should be one of original, unbiased.*got 'orignal'"):
        DetoxifySafety("orignal")
    with pytest.raises(FileNotFoundError, match="There is no Detoxify checkpoint .*missing.ckpt"):
        DetoxifySafety(checkpoint=tmp_path / "missing.ckpt")
    with pytest.raises(ValueError, match="`labels` should be among toxicity, insult; got 'toxic'"):
        DetoxifySafety(**checkpoint, labels=["toxic"])
    with pytest.raises(ValueError, match="`labels` is empty"):
        DetoxifySafety(**checkpoint, labels=[])


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "detoxify", None)
    with pytest.raises(
        ImportError, match=r"DetoxifySafety needs the package detoxify: pip install rlhf_ext\[safety\]"
    ):
        DetoxifySafety()


def test_a_checkpoint_that_cannot_be_fetched_is_said(monkeypatch):
    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    with pytest.raises(
        ConnectionError, match="'unbiased' could not be fetched from https.*: no network.*`checkpoint`"
    ):
        DetoxifySafety("unbiased")
