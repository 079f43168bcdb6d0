"""GRPO, RLOO and Online DPO of TRL with rewards and callbacks of ours: what was not asked for changes nothing."""

import random

import numpy as np
import pytest
import torch
import trl
from transformers import AutoModelForSequenceClassification
from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

from rlhf_ext import Constraint, RewardMixer, RewardModel, RewardStateCallback, SafetyEvalCallback, WinRateCallback

from ..conftest import vowels
from ..evaluation.small_suite import SmallSuite
from .pairs import assert_same_weights, figures, load, losses

GROUPS = {"num_generations": 2, "max_completion_length": 8, "per_device_train_batch_size": 4}
TRAINERS = {
    "grpo": (trl.GRPOTrainer, trl.GRPOConfig, {**GROUPS, "beta": 0.04}),
    "rloo": (trl.RLOOTrainer, trl.RLOOConfig, GROUPS),
    "online dpo": (OnlineDPOTrainer, OnlineDPOConfig, {"max_new_tokens": 8}),
}


def in_64ths(completions, **_):
    """Scores whose weighted sums are the same numbers in float32 (TRL's) and float64 (the mixer's)."""
    return [round(64 * score) / 64 for score in vowels(None, completions)]


def brevity(completions, **_):
    return [-len(completion[0]["content"]) / 64 for completion in completions]


def train(kind, folder, data, quick, reward, callbacks=(), **config):
    trainer_class, config_class, settings = TRAINERS[kind]
    policy, tokenizer = load(folder)
    args = config_class(**{**quick, **settings, "max_steps": 2, "learning_rate": 1e-3, **config})
    trainer = trainer_class(
        policy,
        reward_funcs=reward,
        args=args,
        train_dataset=data.select_columns(["prompt"]),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_mixer_of_one_is_the_bare_function(kind, tiny, messages, quick):
    bare = train(kind, tiny, messages, quick, vowels)
    mixed = train(kind, tiny, messages, quick, RewardMixer({"vowels": vowels}))
    assert losses(mixed) == losses(bare) and len(losses(bare)) == 2
    assert_same_weights(bare, mixed)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_mixer_of_two_is_trls_reward_weights(kind, tiny, messages, quick):
    theirs = train(kind, tiny, messages, quick, [in_64ths, brevity], reward_weights=[1.0, 0.5])
    mixer = RewardMixer({"vowels": in_64ths, "brevity": brevity}, weights={"vowels": 1.0, "brevity": 0.5})
    ours = train(kind, tiny, messages, quick, mixer)
    assert losses(ours) == losses(theirs)
    assert_same_weights(theirs, ours)
    if kind != "online dpo":  # which has no log of a function's own figures
        for name in ("rewards/in_64ths/mean", "rewards/brevity/mean"):
            seen = [entry[name.replace("in_64ths", "vowels")] for entry in ours.state.log_history[:2]]
            assert seen == pytest.approx([entry[name] for entry in theirs.state.log_history[:2]], abs=1e-6)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_mixer_that_has_a_constraint_that_holds_changes_nothing(kind, tiny, messages, quick):
    """A multiplier that nothing drives stays at its least: 0 with a fixed penalty that is never due."""
    bare = train(kind, tiny, messages, quick, in_64ths)
    never = Constraint("brevity", at_least=-100.0, penalty=1.0)
    mixer = RewardMixer({"vowels": in_64ths, "brevity": brevity}, constraints=[never])
    held = train(kind, tiny, messages, quick, mixer, [RewardStateCallback(mixer)])
    assert losses(held) == losses(bare)
    assert_same_weights(bare, held)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_reward_model_on_messages_scores_as_trls(kind, tiny, reward_folder, messages, quick):
    """Templates end an answer with EOS, so that TRL's reward model sees it, too. Scores are equal to rounding (batches are
    padded differently), and so are losses; on plain text TRL's lacks the EOS, see tests/rewards/test_model.py."""
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder, dtype=torch.float32)
    theirs = train(kind, tiny, messages, quick, model)
    ours = train(kind, tiny, messages, quick, RewardModel(reward_folder))
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-4)
    name = "objective/scores" if kind == "online dpo" else "reward"
    scores = [[entry[name] for entry in trainer.state.log_history[:2]] for trainer in (theirs, ours)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


class Tie:
    """Draws from all random generators, as judges do."""

    def compare(self, prompts, first, second):
        return [0.5 + 0.0 * (random.random() + np.random.rand() + float(torch.rand(()))) for _ in prompts]


class Restless(SmallSuite):
    def measure(self, cases, answers):
        random.random(), np.random.rand(), torch.rand(())
        return super().measure(cases, answers)


def watchers(data):
    prompts = list(data["prompt"])[:4]
    return [
        WinRateCallback(Tie(), prompts, every=1, max_new_tokens=4),
        SafetyEvalCallback(Restless(2, 1.0), cases=3, every=1),
    ]


def assert_watched_unmoved(alone, watched):
    ours = ("eval_win_rate", "eval_small_failed")
    log = [entry for entry in figures(watched) if not any(name in entry for name in ours)]
    assert len(log) < len(watched.state.log_history), "nothing was watched"
    assert log == figures(alone)
    assert_same_weights(alone, watched)


@pytest.mark.parametrize("kind", TRAINERS)
def test_callbacks_change_nothing_in_trls_trainers(kind, tiny, messages, quick):
    def run(*callbacks):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        reward = RewardMixer({"vowels": vowels})
        state = [RewardStateCallback(reward)] if callbacks else []
        return train(kind, tiny, messages, quick, reward, [*callbacks, *state])

    assert_watched_unmoved(run(), run(*watchers(messages)))


def test_callbacks_change_nothing_in_trls_dpo(tiny, messages, quick):
    def run(*callbacks):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        policy, tokenizer = load(tiny)
        args = trl.DPOConfig(**quick, max_steps=2, learning_rate=1e-3)
        rows = {"train_dataset": messages, "processing_class": tokenizer}
        trainer = trl.DPOTrainer(policy, args=args, callbacks=list(callbacks), **rows)
        trainer.train()
        return trainer

    assert_watched_unmoved(run(), run(*watchers(messages)))
