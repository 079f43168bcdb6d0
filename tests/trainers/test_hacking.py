"""Watching for reward hacking: what each signal sees, when it warns, and that the run is left as it was."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trl
from transformers import AutoModelForCausalLM, TrainerCallback, TrainerControl, TrainerState

from rlhf_ext import PPOConfig
from rlhf_ext.rewards.constraints import Constraint
from rlhf_ext.rewards.mixing import RewardMixer
from rlhf_ext.rewards.weights import Linear
from rlhf_ext.trainers.hacking import RewardHackingCallback
from rlhf_ext.trainers.hacking_signals import LIMITS, HackingWarning, disagreements, gap, rise
from rlhf_ext.trainers.reward_state import RewardStateCallback

from ..conftest import vowels
from .ppo_helpers import make


def no_vowels(prompts, completions, **columns):
    return [-score for score in vowels(prompts, completions)]


@pytest.fixture
def heldout(preferences):
    return list(preferences["prompt"])[40:56]


def seen(watch, signal):
    return [entry["value"] for entry in watch.history if entry["signal"] == signal]


# ---- signals ----


def test_a_rise_is_paired_by_prompt():
    start = np.array([[0.1, 0.3], [0.9, 0.9], [0.4, 0.6]])
    change = rise(start, np.array([[0.3], [1.0], [0.6]]))
    assert change.value == pytest.approx(0.1)
    assert change.low > 0
    assert change.confidence == 0.99


def scores(n=200, r=0.6, seed=0):
    rng = np.random.default_rng(seed)
    proxy = rng.normal(0, 2, (n, 4))
    held = 5 * (r * proxy / 2 + np.sqrt(1 - r * r) * rng.normal(0, 1, (n, 4)))
    return proxy, held


def test_no_gap_where_the_held_back_scorer_gains_its_share():
    """It is a noisy one (r = 0.6): it is not expected to gain as many of its deviations as the proxy."""
    proxy, held = scores()
    found = gap((proxy, held), (proxy.mean(1, keepdims=True) + 6, held.mean(1, keepdims=True) + 5 * 0.6 * 3))
    assert found.value == pytest.approx(0, abs=0.2)


def test_a_gap_where_it_does_not():
    proxy, held = scores()
    found = gap((proxy, held), (proxy.mean(1, keepdims=True) + 6, held.mean(1, keepdims=True)))
    assert found.value == pytest.approx(0.6 * 3, abs=0.2)
    assert found.low > 1


def test_scorers_that_never_agreed_promise_nothing_but_a_fall_is_seen():
    proxy, held = scores(r=-0.5)
    risen = gap((proxy, held), (proxy.mean(1, keepdims=True) + 6, held.mean(1, keepdims=True)))
    assert risen.value == pytest.approx(0)
    fallen = gap((proxy, held), (proxy.mean(1, keepdims=True) + 6, held.mean(1, keepdims=True) - 5))
    assert fallen.value == pytest.approx(1, abs=0.1)


def test_rows_without_a_score_are_left_out_of_the_gap():
    proxy, held = scores(n=50)
    proxy[3], held[4] = np.nan, np.nan
    now = (proxy.mean(1, keepdims=True) + 1, held.mean(1, keepdims=True))
    assert gap((proxy, held), now).n == 48
    assert gap((np.zeros((5, 4)), held[:5]), (np.zeros((5, 1)), held[:5, :1])) is None
    assert gap((np.full((5, 4), np.nan), held[:5]), (np.zeros((5, 1)), held[:5, :1])) is None


def test_disagreement_knows_a_members_own_zero():
    start = np.random.default_rng(0).normal(size=(30, 4, 1)) + np.array([0.0, 100.0])
    before, after = disagreements(start, start[:, :1] + np.array([0.0, 3.0]))
    assert before.max() < 1e-9
    assert after == pytest.approx(np.full((30, 1), 3 / np.sqrt(2)))


# ---- judging ----


def judge(watch, values, tmp_path):
    """Feeds logs of one a step."""
    args = PPOConfig(str(tmp_path), bf16=False, use_cpu=True, report_to="none")
    control = TrainerControl()
    for step, logs in enumerate(values, start=1):
        watch.on_log(args, TrainerState(global_step=step), control, logs=logs)
    return control


def lengths(*values):
    return [{"completions/mean_length": value} for value in values]


def test_length_drift_is_against_the_first_rollouts_and_needs_patience(tmp_path):
    watch = RewardHackingCallback(limits={"length": 2.0})
    control = judge(watch, lengths(10, 11, 9, 10, 10, 21, 12, 22, 23, 24, 12, 3, 4), tmp_path)
    assert watch.warnings == [
        HackingWarning("length", pytest.approx(2.3), 2.0, 9),
        HackingWarning("length", pytest.approx(2.5), 2.0, 13),  # shorter is drift, too
    ]
    assert not control.should_training_stop
    assert str(watch.warnings[0]).startswith(
        "Step 9: the mean length against that of the first rollouts (length) is 2.3"
    )


def test_a_log_without_a_rollout_says_nothing(tmp_path):
    watch = RewardHackingCallback(limits={"length": 1.1})
    judge(watch, [*lengths(10, 10, 10, 10, 10), {"loss": 1.0}, *lengths(20), {"loss": 1.0}, *lengths(20)], tmp_path)
    assert [warning.step for warning in watch.warnings] == [9]


def test_kl_is_a_completions_for_every_trainer(tmp_path):
    ours = RewardHackingCallback(patience=1)
    judge(ours, [{"completions/mean_length": 10, "objective/kl": kl} for kl in (1.0, 21.0)], tmp_path)
    grpo = RewardHackingCallback(patience=1)
    judge(grpo, [{"completions/mean_length": 10, "kl": kl} for kl in (1.9, 2.1)], tmp_path)
    assert [(w.signal, w.value) for w in ours.warnings] == [("kl", 21.0)]
    assert [(w.signal, w.value) for w in grpo.warnings] == [("kl", 21.0)]


def test_it_stops_if_asked_and_leaves_out_what_it_is_told_to(tmp_path):
    watch = RewardHackingCallback(limits={"length": 2.0}, stop=True)
    assert judge(watch, lengths(*[10] * 5, 30, 30), tmp_path).should_training_stop
    watch = RewardHackingCallback(stop=True)  # length is recorded and not warned of
    assert not judge(watch, lengths(*[10] * 5, 30, 30), tmp_path).should_training_stop
    assert not watch.warnings
    assert seen(watch, "length") == [3.0, 3.0]


# ---- in runs ----


def watched(policy, rows, quick, *callbacks, **config):
    trainer = make(policy, rows.select_columns(["prompt"]), quick, **config)
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def test_a_planted_hack_is_found_and_stops_a_ppo_run(policy, preferences, heldout, quick, monkeypatch):
    """The proxy pays for vowels and the held-back scorer for their absence: as soon as one gains, the other falls."""
    watch = RewardHackingCallback(
        heldout, vowels, no_vowels, every=4, stop=True, limits={"length": None, "kl": None, "repetition": None}
    )
    trainer = watched(
        policy, preferences, quick, watch, max_steps=80, per_device_train_batch_size=16, learning_rate=3e-3
    )
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.hacking.logger.warning", said.append)
    trainer.train()
    (warning,) = watch.warnings
    assert warning.signal == "gap"
    assert warning.step == trainer.state.global_step < 80
    assert [e["hacking/gap"] for e in trainer.state.log_history if "hacking/gap" in e] == seen(watch, "gap")
    assert said == [f"{warning} The run is stopped."]


def test_a_run_is_the_same_with_and_without_it(tiny, preferences, heldout, quick):
    def restless(prompts, completions, **columns):
        return [random.random() + np.random.rand() + float(torch.rand(())) for _ in completions]

    found = []
    for callbacks in ([], [RewardHackingCallback(heldout, restless, restless, every=1)]):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        modes = []
        watched(policy, preferences, quick, *callbacks, _Modes(modes)).train()
        assert set(modes) == {True}
        found.append({name: value.clone() for name, value in policy.state_dict().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


class _Modes(TrainerCallback):
    """Notes whether the model is in training mode at the end of each step."""

    def __init__(self, modes):
        self.modes = modes

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.modes.append(model.training)


@pytest.mark.parametrize(("trainer", "config"), [(trl.GRPOTrainer, trl.GRPOConfig), (trl.RLOOTrainer, trl.RLOOConfig)])
def test_it_watches_trls_own_trainers(policy, tokenizer, preferences, heldout, quick, trainer, config):
    watch = RewardHackingCallback(heldout, vowels, no_vowels, every=2)
    args = config(**quick, max_steps=6, num_generations=2, max_completion_length=8, beta=0.1)
    rows = preferences.select_columns(["prompt"])
    trainer(policy, vowels, args, train_dataset=rows, processing_class=tokenizer, callbacks=[watch]).train()
    assert {entry["signal"] for entry in watch.history} == {"kl", "length", "repetition", "gap"}
    assert len(seen(watch, "gap")) == 3


def test_a_mixer_learns_nothing_from_what_is_watched_whichever_callback_comes_first(
    policy, tokenizer, preferences, heldout, quick
):
    mixer = RewardMixer({"vowels": vowels}, normalize="running")
    watch = RewardHackingCallback(heldout, mixer, no_vowels, every=1, max_new_tokens=4)
    options = {**quick, "max_steps": 2, "num_generations": 2, "max_completion_length": 4}
    trainer = trl.GRPOTrainer(
        policy,
        mixer,
        trl.GRPOConfig(**options),
        train_dataset=preferences.select_columns(["prompt"]),
        processing_class=tokenizer,
        callbacks=[watch, RewardStateCallback(mixer)],
    )
    trainer.train()
    assert len(seen(watch, "repetition")) == 2
    assert mixer.normalizers["vowels"].moments.count == 2 * options["per_device_train_batch_size"]


@pytest.mark.parametrize(
    ("settings", "is_fixed"),
    [
        ({}, True),
        ({"normalize": (0.4, 0.1), "constraints": [Constraint("vowels", at_least=0.1, penalty=1.0)]}, True),
        ({"normalize": "running"}, False),
        ({"normalize": "batch"}, False),
        ({"combine": "group"}, False),
        ({"weights": {"vowels": Linear(0.5, 1.0), "none": 1.0}}, False),
        ({"constraints": [Constraint("vowels", at_least=0.1)]}, False),
    ],
)
def test_a_proxy_whose_scale_moves_is_said(settings, is_fixed, heldout, caplog):
    mixer = RewardMixer({"vowels": vowels, "none": no_vowels}, **settings)
    for proxy in (mixer, RewardMixer({"within": mixer})):
        assert proxy.has_fixed_scale is is_fixed
        caplog.clear()
        RewardHackingCallback(heldout, proxy, no_vowels)
        assert ("the scale of the proxy" in caplog.text) is not is_fixed


def test_members_are_watched(policy, preferences, heldout, quick):
    class Ensemble:
        __name__ = "ensemble"

        def __call__(self, *, prompts, completions, **columns):
            return vowels(prompts, completions)

        def score_members(self, prompts, responses):
            return torch.tensor([vowels(prompts, responses), no_vowels(prompts, responses)])

    reward = Ensemble()
    watch = RewardHackingCallback(heldout, reward, every=2)
    watched(policy, preferences, quick, watch, reward=reward).train()
    assert len(seen(watch, "disagreement")) == 2


def test_a_resumed_run_keeps_the_baselines_of_its_start(tiny, preferences, heldout, quick, tmp_path):
    def train(watch, resume):
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        save = {"save_strategy": "steps", "save_steps": 4}
        trainer = watched(policy, preferences, {**quick, **save}, watch, max_steps=8)
        trainer.train(resume_from_checkpoint=resume)

    whole = RewardHackingCallback(heldout, vowels, no_vowels, every=2)
    train(whole, None)
    checkpoint = tmp_path / "out" / "checkpoint-4"
    assert len(json.loads((checkpoint / "reward_hacking.json").read_text())["first_lengths"]) > 0
    resumed = RewardHackingCallback(heldout, vowels, no_vowels, every=2)
    train(resumed, str(checkpoint))
    assert resumed.history == whole.history
    (checkpoint / "reward_hacking.json").unlink()
    late = RewardHackingCallback(heldout, vowels, no_vowels, every=2)
    train(late, str(checkpoint))
    assert late.history != whole.history


def test_two_processes_stop_together_by_what_the_main_one_saw(tiny, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launcher, str(Path(__file__).with_name("hacking_driver.py")), tiny, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["step"] == 2


def test_models_in_parts_are_refused_before_a_step(policy, preferences, heldout, quick, monkeypatch):
    monkeypatch.setattr("rlhf_ext.trainers.policy_texts.is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(ValueError, match="cannot write texts under FSDP or ZeRO-3"):
        watched(policy, preferences, quick, RewardHackingCallback(heldout)).train()


def test_a_proxy_that_tells_no_text_from_another_has_no_gap_and_says_so(
    policy, preferences, heldout, quick, monkeypatch
):
    def constant(prompts, completions, **columns):
        return [1.0] * len(completions)

    watch = RewardHackingCallback(heldout, constant, vowels, every=2)
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.hacking.logger.warning", said.append)
    watched(policy, preferences, quick, watch).train()
    assert any("no `gap` to watch" in line for line in said)
    assert not seen(watch, "gap")


# ---- bad input ----


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"limits": {"lenght": 2.0}}, "no signal 'lenght' to limit; there are length, kl"),
        ({"limits": {"length": 0.0}}, "must be positive"),
        ({"limits": {"length": float("nan")}}, "must be positive"),
        ({"proxy": vowels}, "need held-out `prompts`"),
        ({"prompts": ["a", "b"], "held_back": vowels}, "give both"),
        ({"prompts": ["a"]}, "at least 2 are needed"),
        ({"every": 0}, "`every` must be at least 1"),
        ({"patience": 0}, "`patience` must be at least 1"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        RewardHackingCallback(**arguments)


def test_unknown_sampling_and_a_data_set_without_prompts(preferences):
    with pytest.raises(TypeError, match="Unknown sampling argument 'temprature'"):
        RewardHackingCallback(["a", "b"], temprature=1.0)
    with pytest.raises(ValueError, match="no column 'prompt'"):
        RewardHackingCallback(preferences.remove_columns("prompt"))


def test_every_signal_has_a_limit_and_words():
    assert all(
        str(HackingWarning(name, 1.0, limit or 2.0, 3)).startswith("Step 3: the ") for name, limit in LIMITS.items()
    )
