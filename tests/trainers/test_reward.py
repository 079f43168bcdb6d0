"""Graded preferences of reward models against their closed forms. That there is no difference without: tests/drop_in."""

import pytest
import torch
import trl
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhf_ext import RewardConfig, RewardTrainer


def trained(trainer_class, config_class, folder, data, quick, **config):
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    args = config_class(**{**quick, "max_steps": 5, "learning_rate": 1e-3, **config})
    trainer = trainer_class(model, args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder))
    trainer.train()
    return trainer


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_with_the_column_but_no_mode_it_is_trl_and_says_so(reward_folder, preferences, quick, caplog):
    theirs = trained(
        trl.RewardTrainer, trl.RewardConfig, reward_folder, preferences.remove_columns("preference_strength"), quick
    )
    ours = trained(RewardTrainer, RewardConfig, reward_folder, preferences, quick)
    assert losses(ours) == losses(theirs)
    assert "`preference_strength` column, which is not used" in caplog.text


def loss_of(mode, reward_folder, preferences, quick, scale=1.0, **columns):
    """The trainer's loss on its first batch, with the differences and strengths of that batch."""
    data = preferences.select(range(4))
    for name, values in columns.items():
        data = data.add_column(name, values)
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    args = RewardConfig(**quick, strength_loss=mode, strength_scale=scale)
    tokenizer = AutoTokenizer.from_pretrained(reward_folder)
    trainer = RewardTrainer(model, args, train_dataset=data, processing_class=tokenizer)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    strength = batch["preference_strength"].clone()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.squeeze(-1)
        chosen, rejected = logits.chunk(2)
        margin = batch.get("margin")
        loss = trainer.compute_loss(model, batch)
    return loss, chosen - rejected, strength, margin


def test_a_soft_label_is_cross_entropy(reward_folder, preferences, quick):
    loss, d, p, _ = loss_of("soft_label", reward_folder, preferences, quick)
    assert loss.item() == pytest.approx(-(p * logsigmoid(d) + (1 - p) * logsigmoid(-d)).mean().item(), rel=1e-5)


def test_a_margin_is_taken_off_the_difference(reward_folder, preferences, quick):
    loss, d, p, _ = loss_of("margin", reward_folder, preferences, quick, scale=3.0)
    assert loss.item() == pytest.approx(-logsigmoid(d - 3 * (2 * p - 1)).mean().item(), rel=1e-5)


def test_scaled_bradley_terry_weighs_the_pair(reward_folder, preferences, quick):
    loss, d, p, _ = loss_of("scaled_bt", reward_folder, preferences, quick, scale=2.0)
    assert loss.item() == pytest.approx(-(2 * (2 * p - 1) * logsigmoid(d)).mean().item(), rel=1e-5)


def test_scaled_bradley_terry_keeps_trls_own_margin(reward_folder, preferences, quick):
    loss, d, p, m = loss_of("scaled_bt", reward_folder, preferences, quick, margin=[0.1, 0.2, 0.3, 0.4])
    assert loss.item() == pytest.approx(-((2 * p - 1) * logsigmoid(d - m)).mean().item(), rel=1e-5)


def test_graded_labels_reach_training_and_evaluation(reward_folder, preferences, quick):
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    args = RewardConfig(**{**quick, "max_steps": 20, "learning_rate": 2e-3, "strength_loss": "soft_label"})
    trainer = RewardTrainer(
        model,
        args,
        train_dataset=preferences,
        eval_dataset=preferences.select(range(16)),
        processing_class=AutoTokenizer.from_pretrained(reward_folder),
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before


@pytest.mark.parametrize("wrong", [0.3, 1.2, float("nan")])
def test_a_strength_that_is_no_probability_is_refused(wrong, reward_folder, preferences, quick):
    data = preferences.select(range(4)).remove_columns("preference_strength")
    data = data.add_column("preference_strength", [0.9, 0.9, wrong, 0.9])
    with pytest.raises(ValueError, match=r"must be in \[0.5, 1\]"):
        trained(RewardTrainer, RewardConfig, reward_folder, data, quick, strength_loss="soft_label")


def test_two_margins_at_once_are_refused(reward_folder, preferences, quick):
    data = preferences.select(range(4)).add_column("margin", [1.0] * 4)
    with pytest.raises(ValueError, match="would make another"):
        trained(RewardTrainer, RewardConfig, reward_folder, data, quick, strength_loss="margin")


def test_an_unknown_mode_is_refused(quick):
    with pytest.raises(ValueError, match="`strength_loss` must be one of"):
        RewardConfig(**quick, strength_loss="soft")


def test_a_streaming_dataset_works(reward_folder, preferences, quick):
    data = Dataset.to_iterable_dataset(preferences)
    trainer = trained(RewardTrainer, RewardConfig, reward_folder, data, quick, strength_loss="soft_label")
    assert len(losses(trainer)) == 5


def test_a_nan_loss_stops_the_run(reward_folder, preferences, quick):
    with pytest.raises(FloatingPointError, match="loss of step 1 is NaN"):
        trained(
            RewardTrainer,
            RewardConfig,
            reward_folder,
            preferences.remove_columns("preference_strength").add_column("margin", [float("nan")] * 64),
            quick,
        )
