"""Language models by folder: whole, as an adapter alone, and what is refused."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForSequenceClassification

from rlhf_ext.generation import LocalGenerator

from .models import PROMPTS, TEMPLATE, make_model, make_tokenizer

SHORT = {"max_new_tokens": 6, "temperature": 0}


@pytest.fixture
def folder(llama, tmp_path):
    llama.save_pretrained(tmp_path / "model")
    make_tokenizer(chat_template=TEMPLATE).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def adapter(folder, tmp_path):
    """The folder of an adapter alone, and the model with it."""
    model = type(make_model("llama")).from_pretrained(folder)
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weights in peft.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=2.0)
    peft.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", peft


def test_a_folder_gives_the_model_and_its_tokenizer(folder, llama, tokenizer):
    expected = LocalGenerator(llama, tokenizer).generate(PROMPTS, **SHORT)
    for path in (folder, str(folder)):
        assert LocalGenerator(path, batch_size=4).generate(PROMPTS, **SHORT) == expected
    chat = [[{"role": "user", "content": "Hello"}]]
    assert LocalGenerator(folder).generate(chat, **SHORT)
    with pytest.raises(ValueError, match="chat template"):
        LocalGenerator(folder, tokenizer).generate(chat, **SHORT)
    assert LocalGenerator(folder, dtype="bfloat16").model.dtype == torch.bfloat16


def test_a_folder_with_an_adapter_alone_is_its_base_with_it(folder, adapter, llama, tokenizer):
    path, peft = adapter
    texts = LocalGenerator(path).generate(PROMPTS, **SHORT)
    assert texts == LocalGenerator(peft, tokenizer).generate(PROMPTS, **SHORT)
    assert texts != LocalGenerator(llama, tokenizer).generate(PROMPTS, **SHORT)


def test_a_model_brings_its_tokenizer_where_it_has_one(folder, adapter, llama, tokenizer):
    expected = LocalGenerator(llama, tokenizer).generate(PROMPTS, **SHORT)
    loaded = type(llama).from_pretrained(folder)
    assert LocalGenerator(loaded).generate(PROMPTS, **SHORT) == expected
    with pytest.raises(
        ValueError, match="LlamaForCausalLM was loaded from nowhere: give its tokenizer as `tokenizer`"
    ):
        LocalGenerator(llama)
    with pytest.raises(TypeError, match="dtype, batchsize: for loading a model"):
        LocalGenerator(llama, tokenizer, dtype="auto", batchsize=4)


def test_what_is_not_there_is_named(tmp_path):
    for name in (tmp_path / "nothing", "nobody/nothing-here"):
        with pytest.raises(FileNotFoundError, match=f"No model '{name}': it is no folder with a model in it"):
            LocalGenerator(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="No model '.*empty': it has neither a config.json"):
        LocalGenerator(tmp_path / "empty")


def test_a_folder_without_a_tokenizer_says_so(llama, tokenizer, tmp_path):
    llama.save_pretrained(tmp_path / "bare")
    with pytest.raises(
        ValueError, match="No tokenizer in .*bare: save it there with `save_pretrained`, or give it as"
    ):
        LocalGenerator(tmp_path / "bare")
    assert LocalGenerator(tmp_path / "bare", tokenizer).generate(PROMPTS[:1], **SHORT)


def test_a_classifier_is_refused_in_every_form(folder, tmp_path, tokenizer):
    model = LlamaForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    lora = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"]))
    lora.save_pretrained(tmp_path / "reward_adapter")
    with pytest.raises(ValueError, match="reward holds a LlamaForSequenceClassification, which scores texts"):
        LocalGenerator(tmp_path / "reward")
    with pytest.raises(ValueError, match="reward_adapter holds an adapter for SEQ_CLS, not for a language model"):
        LocalGenerator(tmp_path / "reward_adapter")
    for one in (LlamaForSequenceClassification.from_pretrained(folder, num_labels=1), lora):
        with pytest.raises(ValueError, match="LlamaForSequenceClassification scores texts and cannot write any"):
            LocalGenerator(one, tokenizer)
