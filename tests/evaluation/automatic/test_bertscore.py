import shutil

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, T5Config, T5ForConditionalGeneration

from rlhf_ext.evaluation.automatic import BertScore

from ...tiny_bert import tiny_bert


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def by_hand(folder, text, target, layer):
    """F1 of greedy matching; the package leaves the two special tokens out of the mean, not out of the matching."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    states = []
    for one in (text, target):
        with torch.no_grad():
            found = model(**tokenizer(one, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]
        states.append(torch.nn.functional.normalize(found, dim=-1))
    cosines = states[0] @ states[1].T
    precision, recall = cosines.max(1).values[1:-1].mean(), cosines.max(0).values[1:-1].mean()
    return (2 * precision * recall / (precision + recall)).item()


@pytest.mark.parametrize("layer", [1, 2])
def test_it_is_greedy_matching_of_the_layers_states(folder, layer):
    answers, references = ["the old tower is red .", "a good day"], ["it was a red tower", "the film is awful ."]
    score = BertScore(folder, num_layers=layer, device="cpu")
    found = score(prompts=["?"] * 2, completions=answers, reference=references)
    expected = [by_hand(folder, a, r, layer) for a, r in zip(answers, references, strict=True)]
    assert found == pytest.approx(expected, abs=1e-4) and abs(found[0] - found[1]) > 0.01


def test_the_last_layer_the_best_reference_and_nothing_to_compare(folder):
    score = BertScore(folder, column="gold", device="cpu")
    assert score.settings == ["bertscore", folder, "gold", 2]
    gold = [["awful", "a good day"], None, "good", ""]
    found = score(prompts=["?"] * 4, completions=["a good day", "good", " ", "bad"], gold=gold)
    assert found == [pytest.approx(1, abs=1e-5), None, 0.0, None]
    with pytest.raises(ValueError, match="BertScore reads the column 'gold'"):
        score(prompts=["?"], completions=["a"], reference=["a"])


def test_long_texts_are_cut_at_the_models_window(folder):
    text = "good day " * 40
    assert BertScore(folder, device="cpu")(prompts=["?"], completions=[text], reference=[text]) == [pytest.approx(1)]


def test_the_configuration_says_what_a_model_is_not_its_name(folder, tmp_path, monkeypatch):
    """bert-score takes every path with `t5` in it for a T5, no other for one, and downloads what begins with `scibert`."""
    monkeypatch.chdir(tmp_path)
    text, other = "the old tower is red .", "it was a red tower"
    expected = BertScore(folder, device="cpu")(prompts=["?"], completions=[text], reference=[other])
    for name in ("mnt5/bert", "scibert-ours"):
        shutil.copytree(folder, name)
        assert BertScore(name, device="cpu")(prompts=["?"], completions=[text], reference=[other]) == expected
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=64, **shape)).save_pretrained("summarizer")
    AutoTokenizer.from_pretrained(folder).save_pretrained("summarizer")
    assert 0 < BertScore("summarizer", device="cpu")(prompts=["?"], completions=[text], reference=[other])[0] < 1
