"""The cards that our trainers write: where TRL writes them, of what was trained, with code that runs."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig

import rlhf_ext
from rlhf_ext import DPOConfig, DPOTrainer, PPOConfig, PPOTrainer, RewardConfig, RewardModel, RewardTrainer

from ..conftest import vowels


def train(kind, tiny, data, quick, lora=False, tokenizer=None, model=None, **config):
    args = {**quick, "max_steps": 1, "save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-3, **config}
    options = {"r": 4, "target_modules": "all-linear"} | ({"task_type": "SEQ_CLS"} if kind == "reward" else {})
    rest = {"peft_config": LoraConfig(**options) if lora else None, "processing_class": tokenizer}
    if kind == "dpo":
        trainer = DPOTrainer(model or tiny, args=DPOConfig(**args), train_dataset=data, **rest)
    elif kind == "reward":
        trainer = RewardTrainer(model or tiny, args=RewardConfig(**args), train_dataset=data, **rest)
    else:
        rows = data.select_columns(["prompt"])
        args = PPOConfig(**{"max_completion_length": 8, **args})
        value = config.get("value_model", "shared")
        trainer = PPOTrainer(model or tiny, vowels, args, train_dataset=rows, value_model=value, **rest)
    trainer.train()
    trainer.save_model()
    return trainer


def card_of(trainer):
    return ModelCard.load(f"{trainer.args.output_dir}/README.md")


def run_code(card):
    """Runs the card's code as it stands; gives its variables."""
    [code] = re.findall(r"## Quick start\n\n```python\n(.*?)```", card.text, flags=re.DOTALL)
    found = {}
    exec(code, found)
    return found


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["dpo", "ppo"])
def test_the_code_of_a_language_models_card_runs(kind, lora, tiny, preferences, quick):
    data = preferences.select(range(8)).remove_columns("preference_strength")
    trainer = train(kind, tiny, data, quick, lora)
    card = card_of(trainer)
    found = run_code(card)
    loaded = found["generator"].model
    assert found["output"]["generated_text"]
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        ours = trainer.model(input_ids=ids).logits.float()
        assert torch.allclose(loaded(input_ids=ids.to(loaded.device)).logits.float().cpu(), ours, atol=1e-4)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("rows", ["preferences", "plain"])
def test_the_code_of_a_reward_models_card_runs(rows, lora, request, tiny, tokenizer, quick, capsys):
    if rows == "plain":
        tokenizer.chat_template = None
    data = request.getfixturevalue(rows).select(range(8))
    trainer = train("reward", tiny, data, quick, lora, tokenizer)
    reward = run_code(card_of(trainer))["reward"]
    assert "tensor([" in capsys.readouterr().out
    trained = RewardModel(trainer.model, trainer.processing_class)
    scores = [one.score(data["prompt"], data["chosen"]) for one in (reward, trained)]
    assert torch.allclose(*scores, atol=1e-4)


def test_what_a_card_of_dpo_says(tiny, preferences, quick):
    trainer = train("dpo", tiny, preferences.select(range(8)), quick, strength_loss="soft_label", beta=0.2, seed=5)
    card = card_of(trainer)
    assert {"trl", "dpo", "rlhf_ext", "generated_from_trainer"} <= set(card.data.tags)
    for said in (
        "| loss | 1 sigmoid |",
        "| beta | 0.2 |",
        "| columns read for each pair | `preference_strength` as soft_label |",
        "| optimizer steps | 1 |",
        "| rows a step | 4 |",
        "| learning rate | 0.001, linear |",
        "| seed | 5 |",
        "a fine-tuned version of a model in a local folder, `tiny`.",
        "https://huggingface.co/papers/2305.18290",
        f"- rlhf_ext: {rlhf_ext.__version__}\n- TRL: ",
    ):
        assert said in card.text, said
    assert "None" not in card.text


def test_what_a_card_of_ppo_says(tiny, preferences, quick):
    settings = {"kl_coef": 0.1, "kl_target": 6.0, "num_iterations": 2, "lam": 0.9}
    trainer = train("ppo", tiny, preferences.select(range(8)), quick, **settings)
    card = card_of(trainer)
    assert {"trl", "ppo", "rlhf_ext"} <= set(card.data.tags)
    for said in (
        "| rewards | 1 vowels |",
        "| rollout | 4 completions of at most 8 tokens at temperature 1 |",
        "| epochs and updates over a rollout | 2 and 2 |",
        "| KL penalty | 0.1 k1, steered towards 6 nats a completion |",
        "| critic | a value head on the policy, in `value_model/`; gamma 1, lambda 0.9, weight 0.1 |",
        "trained with PPO, a method introduced in [Proximal Policy Optimization Algorithms]",
        "@article{schulman2017ppo",
    ):
        assert said in card.text, said


def test_what_a_card_of_a_reward_model_says(tiny, preferences, quick):
    options = {"strength_loss": "margin", "center_rewards_coefficient": 0.01}
    card = card_of(train("reward", tiny, preferences.select(range(8)), quick, **options))
    assert {"trl", "reward-trainer", "rlhf_ext"} <= set(card.data.tags)
    for said in ("| preference strength | as margin |", "| centring of rewards | 0.01 |", "papers/1706.03741"):
        assert said in card.text, said


def test_names_of_the_hub_stand_in_it(policy, tokenizer, preferences, quick):
    """As `trainer.push_to_hub(dataset_name=...)` writes it."""
    policy.config._name_or_path = "org/base"
    data = preferences.select(range(4)).remove_columns("preference_strength")
    reference = policy.__class__(policy.config)
    trainer = DPOTrainer(policy, reference, DPOConfig(**quick), None, data, processing_class=tokenizer)
    trainer.hub_model_id = "me/mine"  # set by the trainer when it makes the repository
    trainer.create_model_card("mine", dataset_name="org/pairs", tags="mine-too")
    card = card_of(trainer)
    assert (card.data.base_model, card.data.datasets) == ("org/base", "org/pairs")
    assert "mine-too" in card.data.tags
    assert 'model="me/mine"' in card.text and "[org/base](https://huggingface.co/org/base)" in card.text
    assert "on the [org/pairs](https://huggingface.co/datasets/org/pairs) dataset" in card.text


def test_a_card_comes_with_every_checkpoint_and_tells_how_far_it_is(tiny, preferences, quick, tmp_path):
    seen = []

    class Look(RewardTrainer):
        def create_model_card(self, *args, **kwargs):
            super().create_model_card(*args, **kwargs)
            text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
            seen.append(re.search(r"optimizer steps \| (\d+)", text).group(1))

    args = RewardConfig(**{**quick, "save_strategy": "steps", "save_steps": 1, "max_steps": 2})
    data = preferences.select(range(8)).remove_columns("preference_strength")
    Look(tiny, args, train_dataset=data).train()
    assert seen == ["1", "2"]
    assert json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())["global_step"] == 2
