"""What tells the answers of one model from those of another."""

import copy

import torch

from rlhf_ext.generation import EndpointGenerator, LocalGenerator, ScriptedGenerator
from rlhf_ext.generation.identity import identity, model_name


def test_any_one_weight_makes_another_model(policy, tokenizer):
    generator = LocalGenerator(policy, tokenizer)
    first = identity(generator, "m")
    assert first.startswith("m#") and identity(generator, "m") == first
    table = policy.get_input_embeddings().weight
    for row in (0, 1, 17):  # some of them not among the values that are read one by one
        with torch.no_grad():
            table[row, 3] += 0.5
        assert identity(generator, "m") != first
        with torch.no_grad():
            table[row, 3] -= 0.5
    policy.half()
    assert identity(generator, "m") != first


def test_names(policy, tokenizer, tiny):
    assert model_name(LocalGenerator(policy, tokenizer)) == "tiny"
    assert model_name(EndpointGenerator("http://localhost:1/v1", "served")) == "served"
    scripted = ScriptedGenerator(["a"])
    assert model_name(scripted) == "ScriptedGenerator" and identity(scripted, "x") == "x"


def test_another_chat_template_makes_another_model(policy, tokenizer):
    """The same weights answer otherwise where they are asked otherwise."""
    own = identity(LocalGenerator(policy, tokenizer), "m")
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}{% endfor %}"
    assert identity(LocalGenerator(policy, other), "m") != own == identity(LocalGenerator(policy, tokenizer), "m")
