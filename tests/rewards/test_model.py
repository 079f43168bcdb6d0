"""RewardModel: it scores what it was trained to read, and refuses what is no reward model."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rlhf_ext import RewardConfig, RewardEnsemble, RewardModel, RewardTrainer

from ..conftest import THINKING
from ..tiny_bert import SHAPE, tiny_bert


def user(text):
    return [{"role": "user", "content": text}]


def assistant(text):
    return [{"role": "assistant", "content": text}]


def slow_score(folder, ids):
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits.item()


@pytest.mark.parametrize("kind", ["preferences", "plain"])
def test_it_reads_the_tokens_that_training_read(kind, request, reward_folder, quick):
    data = request.getfixturevalue(kind).select(range(6))
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(reward_folder)
    trainer = RewardTrainer(model, RewardConfig(**quick), train_dataset=data, processing_class=tokenizer)
    reward = RewardModel(reward_folder)
    for row, trained_on in zip(data, trainer.train_dataset, strict=True):
        assert reward._tokenize(row["prompt"], row["chosen"]) == trained_on["chosen_ids"]
        assert reward._tokenize(row["prompt"], row["rejected"]) == trained_on["rejected_ids"]


@pytest.mark.parametrize("kind", ["preferences", "plain"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_of_mixed_length_score_as_one_by_one(kind, batch_size, request, reward_folder):
    data = request.getfixturevalue(kind).select(range(10))
    reward = RewardModel(reward_folder, batch_size=batch_size)
    scores = reward.score(data["prompt"][:], data["chosen"][:])
    assert scores.shape == (10,)
    assert scores.dtype == torch.float32
    expected = [slow_score(reward_folder, reward._tokenize(r["prompt"], r["chosen"])) for r in data]
    assert scores.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_end_token_counts(reward_folder):
    reward = RewardModel(reward_folder)
    eos = reward.tokenizer.eos_token
    assert reward._tokenize("a", "b")[-1] == reward.tokenizer.eos_token_id
    assert reward._tokenize("a", "b" + eos) == reward._tokenize("a", "b")


def test_it_is_a_reward_function(reward_folder):
    reward = RewardModel(reward_folder)
    scores = reward(prompts=[user("a"), user("b")], completions=[assistant("c"), assistant("d")], other=[1, 2])
    assert scores == reward.score([user("a"), user("b")], ["c", "d"]).tolist()
    assert all(isinstance(score, float) for score in scores)
    assert reward.__name__ == "reward"


def test_it_pickles(reward_folder):
    reward = pickle.loads(pickle.dumps(RewardModel(reward_folder)))
    assert reward.score(["a"], ["b"]).shape == (1,)


def test_an_adapter_that_our_trainer_wrote_loads_with_its_head(tiny, preferences, quick, tmp_path):
    args = RewardConfig(**quick, max_steps=3, learning_rate=1e-2)
    lora = LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear")
    trainer = RewardTrainer(
        tiny, args, train_dataset=preferences, processing_class=AutoTokenizer.from_pretrained(tiny), peft_config=lora
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "adapter"))
    memory = RewardModel(trainer.model, AutoTokenizer.from_pretrained(tiny)).score(["a"], ["b"])
    assert torch.allclose(
        RewardModel(tmp_path / "adapter", dtype=torch.float32).score(["a"], ["b"]), memory, atol=1e-5
    )


def test_an_adapter_without_its_head_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"task_type": None, "modules_to_save": None}))
    with pytest.raises(ValueError, match="without its reward head, which would be random"):
        RewardModel(tmp_path)


def test_a_policys_adapter_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"task_type": "CAUSAL_LM"}))
    with pytest.raises(ValueError, match="an adapter for CAUSAL_LM"):
        RewardModel(tmp_path)


def test_a_language_model_is_refused(tiny):
    with pytest.raises(ValueError, match="holds LlamaForCausalLM, which has no trained reward head"):
        RewardModel(tiny)


def test_a_classifier_with_two_labels_is_refused(tiny, tmp_path):
    AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a classifier with 2 labels"):
        RewardModel(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=2)
    with pytest.raises(ValueError, match="`num_labels=2`"):
        RewardModel(model, AutoTokenizer.from_pretrained(tiny))


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match="holds no model"):
        RewardModel(tmp_path)


def test_a_score_that_is_not_finite_is_refused_by_row(reward_folder):
    reward = RewardModel(reward_folder)
    with torch.no_grad():
        reward.model.score.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"gave nan for row 0: 'a'"):
        reward.score(["a"], ["b"])


def test_unequal_lengths_are_refused(reward_folder):
    with pytest.raises(ValueError, match="2 prompts but 1 responses"):
        RewardModel(reward_folder).score(["a", "b"], ["c"])


def test_nothing_gives_nothing(reward_folder):
    assert RewardModel(reward_folder).score([], []).tolist() == []


def test_a_long_text_loses_its_beginning(reward_folder):
    reward = RewardModel(reward_folder, max_length=8)
    ids = reward._tokenize("a long prompt that goes on and on", "and its answer")
    assert len(ids) == 8
    assert ids[-1] == reward.tokenizer.eos_token_id


def test_messages_need_a_chat_template(reward_folder, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(reward_folder, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="has no chat template"):
        RewardModel(str(folder), tokenizer).score([user("a")], ["b"])


def test_a_model_in_memory_that_is_no_classifier_is_refused(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with pytest.raises(ValueError, match="num_labels"):
        RewardModel(model, AutoTokenizer.from_pretrained(tiny))


def test_the_batch_size_is_checked(reward_folder):
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        RewardModel(reward_folder, batch_size=0)


def test_paths_may_be_paths(reward_folder):
    assert RewardModel(Path(reward_folder)).score(["a"], ["b"]).shape == (1,)


def test_text_that_begins_with_bos_gets_no_second_one(reward_folder, tokenizer):
    """Prompts that were decoded or templated carry it already."""
    from tokenizers.processors import TemplateProcessing

    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    reward = RewardModel(reward_folder, tokenizer)
    plain, begun = reward._tokenize("hi", " yes"), reward._tokenize(bos + "hi", " yes")
    assert plain == begun
    assert begun.count(tokenizer.bos_token_id) == 1


def test_a_module_that_is_no_model_of_transformers_is_refused():
    with pytest.raises(TypeError, match="Linear has no `config`.*write a reward function"):
        RewardModel(torch.nn.Linear(2, 1))


def test_its_template_is_told_what_it_was_told_in_training(reward_folder):
    told = {"enable_thinking": False}
    models = [RewardModel(reward_folder, chat_template_kwargs=kwargs) for kwargs in (None, told)]
    models.append(RewardEnsemble([reward_folder] * 2, chat_template_kwargs=told)._parts[0][0])
    for model in models:
        model.tokenizer.chat_template = THINKING
    prompt = [{"role": "user", "content": "Why"}]
    texts = [model.tokenizer.decode(model._tokenize(prompt, "So")) for model in models]
    assert "<think></think>So" in texts[1] == texts[2] and "think" not in texts[0]
    assert models[0].score([prompt], ["So"]) != models[1].score([prompt], ["So"])


def encoder_reward(folder: Path, kind: str) -> str:
    """A reward model whose score is read off its first token, of 40 tokens at most."""
    folder = tiny_bert(folder, ["reward"])
    if kind == "roberta":  # its positions begin after the padding's: two of the 42 are never used
        tokenizer = AutoTokenizer.from_pretrained(folder)
        settings = {"max_position_embeddings": 42, "pad_token_id": 1, "num_labels": 1, **SHAPE}
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(1)
        RobertaForSequenceClassification(RobertaConfig(vocab_size=len(tokenizer), **settings)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "longest"), [("bert", 48), ("roberta", 40)])
def test_an_encoder_keeps_its_first_token_and_its_positions(kind, longest, tmp_path):
    folder = encoder_reward(tmp_path / kind, kind)
    reward = RewardModel(folder)
    assert reward.max_length == longest
    words = ["good", "bad"] * 40
    cut = " ".join(words[len(words) - (longest - 2) :])  # beside the first token and the last
    assert reward.score(["the film "], [" ".join(words)])[0].item() == pytest.approx(
        slow_score(folder, reward.tokenizer(cut)["input_ids"]), abs=1e-5
    )


def test_a_length_of_nothing_is_refused(reward_folder):
    with pytest.raises(ValueError, match="`max_length` must be at least 1, got -1"):
        RewardModel(reward_folder, max_length=-1)
