"""The win rate while a model trains: what is compared, logged, kept and paid for, in TRL's trainers and ours."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, EarlyStoppingCallback, TrainerCallback

from rlhf_ext.rewards.calling import checked_probabilities
from rlhf_ext.trainers.win_rate import WinRateCallback
from rlhf_ext.types import text_of

from ..conftest import vowels
from .ppo_helpers import make

SHORT = {"max_new_tokens": 6}


class MoreVowels:
    """A rule: the answer with the larger share of vowels is better; keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def compare(self, prompts, first, second):
        self.asked.append((prompts, first, second))
        shares = zip(vowels(prompts, first), vowels(prompts, second), strict=True)
        return [0.5 if a == b else float(a > b) for a, b in shares]


class Says(MoreVowels):
    """Gives the same answer to all pairs of one comparison, the next of its list to the next."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)

    def compare(self, prompts, first, second):
        super().compare(prompts, first, second)
        return [self.answers[min(len(self.asked), len(self.answers)) - 1]] * len(prompts)


class Log(TrainerCallback):
    """Stands where a tracker does: sees what is logged."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.seen.append(dict(logs))


@pytest.fixture
def heldout(preferences):
    return list(preferences["prompt"])[40:48]


def dpo(model, rows, quick, tokenizer, *callbacks, eval_dataset=None, peft_config=None, **config):
    defaults = {"max_steps": 3, "learning_rate": 1e-2, "eval_strategy": "steps", "eval_steps": 1}
    small = rows.select(range(12))
    return trl.DPOTrainer(
        model,
        args=trl.DPOConfig(**{**quick, **defaults, **config}),
        train_dataset=small,
        eval_dataset=small.select(range(2)) if eval_dataset is None else eval_dataset,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=peft_config,
    )


def rates(callback):
    return [entry["eval_win_rate"] for entry in callback.history]


# ---- what is compared ----


def test_a_model_that_learns_wins_over_its_start(policy, tokenizer, preferences, heldout, quick):
    """SFT on answers of vowels alone: at the start the two are the same, at the end the judge prefers the model's."""
    rows = [
        {"prompt": p, "completion": [{"role": "assistant", "content": "aeiou aeiou"}]} for p in preferences["prompt"]
    ]
    judge = MoreVowels()
    callback = WinRateCallback(judge, heldout, length_controlled=True, **SHORT)
    steps = {"max_steps": 12, "eval_strategy": "steps", "eval_steps": 12, "eval_on_start": True}
    args = trl.SFTConfig(**quick, **steps, learning_rate=1e-2)
    data = Dataset.from_list(rows)
    trl.SFTTrainer(
        policy,
        args,
        train_dataset=data,
        eval_dataset=data.select([0]),
        processing_class=tokenizer,
        callbacks=[callback],
    ).train()
    start, end = callback.history
    assert (start["step"], start["eval_win_rate"], start["eval_win_rate_low"], start["eval_win_rate_high"]) == (
        0,
        0.5,
        0.5,
        0.5,
    )
    assert (end["step"], end["n"], end["eval_win_rate_abstained"]) == (12, 8, 0)
    assert 0.5 < end["eval_win_rate_low"] <= end["eval_win_rate"] <= end["eval_win_rate_high"]
    assert end["eval_win_rate_length_controlled"] != end["eval_win_rate"]
    ((prompts, first, second),) = judge.asked  # none at the start, where answers are the same
    assert prompts == heldout
    assert [row["answer"] for row in callback.answers] == first
    assert [row["reference"] for row in callback.answers] == second
    assert all(message["role"] == "assistant" for (message,) in first + second)
    assert np.mean(vowels(prompts, first)) > np.mean(vowels(prompts, second))


def test_answers_can_be_given_to_beat(policy, preferences, heldout, quick):
    callback = WinRateCallback(MoreVowels(), heldout, ["bcd fgh"] * 8, every=2, **SHORT)
    trainer = make(policy, preferences.select_columns(["prompt"]), quick, max_steps=2)
    trainer.add_callback(callback)
    trainer.train()
    assert rates(callback) == [1.0]
    assert {text_of(row["reference"]) for row in callback.answers} == {"bcd fgh"}


def test_trls_grpo_is_compared_without_an_evaluation_set(policy, tokenizer, preferences, heldout, quick):
    callback = WinRateCallback(MoreVowels(), heldout, every=2)
    args = trl.GRPOConfig(**quick, max_steps=4, num_generations=2, max_completion_length=5, learning_rate=1e-3)
    rows = preferences.select_columns(["prompt"])
    trl.GRPOTrainer(policy, vowels, args, train_dataset=rows, processing_class=tokenizer, callbacks=[callback]).train()
    assert [entry["step"] for entry in callback.history] == [2, 4]
    # Written as the run's completions are: 5 tokens, of a byte or more.
    lengths = [len(tokenizer(text_of(row["answer"]))["input_ids"]) for row in callback.answers]
    assert max(lengths) <= 6


def test_under_an_adapter_the_base_can_be_beaten(policy, tokenizer, preferences, heldout, quick):
    """The adapter is not new: `start` is the model with it, `base` the one without."""
    references = {}
    adapter = LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM")
    for reference in ("start", "base"):
        torch.manual_seed(0)
        callback = WinRateCallback(Says(0.7), heldout, reference, **SHORT)
        trainer = dpo(
            policy, preferences, quick, tokenizer, callback, peft_config=adapter, max_steps=1, eval_on_start=True
        )
        trainer.train()
        policy = trainer.model.unload()
        references[reference] = [row["reference"] for row in callback.answers]
        first = callback.history[0]["eval_win_rate"]
        assert first == 0.5 if reference == "start" else first > 0.5
    assert references["start"] != references["base"]


def test_a_base_without_an_adapter_is_refused_at_the_start(policy, tokenizer, preferences, heldout, quick):
    trainer = dpo(policy, preferences, quick, tokenizer, WinRateCallback(MoreVowels(), heldout, "base", **SHORT))
    with pytest.raises(ValueError, match="this model has none"):
        trainer.train()


def test_abstained_pairs_are_left_out_and_counted(policy, tokenizer, preferences, heldout, quick):
    class Unsure(MoreVowels):
        def compare(self, prompts, first, second):
            return [None, 1.0] * (len(prompts) // 2)

    callback = WinRateCallback(Unsure(), heldout, ["bcd fgh"] * 8, **SHORT)
    dpo(policy, preferences, quick, tokenizer, callback, max_steps=1).train()
    (entry,) = callback.history
    assert (entry["n"], entry["eval_win_rate"], entry["eval_win_rate_abstained"]) == (4, 1.0, 0.5)
    callback = WinRateCallback(Says(None), heldout, ["bcd fgh"] * 8, length_controlled=True, **SHORT)
    metrics = dpo(policy, preferences, quick, tokenizer, callback).evaluate()
    assert math.isnan(metrics["eval_win_rate"]) and math.isnan(metrics["eval_win_rate_length_controlled"])
    assert (metrics["eval_win_rate_low"], metrics["eval_win_rate_high"], metrics["eval_win_rate_abstained"]) == (
        0,
        1,
        1,
    )


def test_where_nothing_tells_length_from_quality_the_run_goes_on(
    policy, tokenizer, preferences, heldout, quick, monkeypatch
):
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.win_rate_figures.logger.warning", said.append)
    far = ["b" * 10_000 for _ in heldout]
    callback = WinRateCallback(MoreVowels(), heldout, far, length_controlled=True, **SHORT)
    dpo(policy, preferences, quick, tokenizer, callback, max_steps=1).train()
    (entry,) = callback.history
    assert entry["eval_win_rate"] == 1.0
    assert math.isnan(entry["eval_win_rate_length_controlled"])
    assert "nothing tells quality from length" in said[0]


# ---- what is logged ----


def test_the_best_model_by_win_rate_is_loaded_at_the_end(policy, tokenizer, preferences, heldout, quick):
    callback = WinRateCallback(Says(0.2, 0.9, 0.4, 0.95), heldout, ["bcd fgh"] * 8, **SHORT)
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_win_rate", "max_steps": 5}
    save = {"save_strategy": "steps", "save_steps": 1}
    patience = EarlyStoppingCallback(early_stopping_patience=1)
    trainer = dpo(policy, preferences, quick, tokenizer, callback, patience, **best, **save)
    trainer.train()
    assert rates(callback) == pytest.approx([0.2, 0.9, 0.4])
    assert trainer.state.best_metric == pytest.approx(0.9)
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-2"
    saved = AutoModelForCausalLM.from_pretrained(trainer.state.best_model_checkpoint, dtype=torch.float32).state_dict()
    last = AutoModelForCausalLM.from_pretrained(Path(quick["output_dir"]) / "checkpoint-3", dtype=torch.float32)
    loaded = trainer.model.state_dict()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    assert not all(torch.equal(loaded[name], value) for name, value in last.state_dict().items())
    # The step is the same as at the last evaluation, the model is not: it is compared anew.
    trainer.evaluate()
    assert len(callback.history) == 4


def test_trackers_see_it_if_the_trainer_is_given(policy, tokenizer, preferences, heldout, quick, monkeypatch):
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.win_rate.logger.warning", said.append)
    tracker = Log()
    trainer = dpo(policy, preferences, quick, tokenizer, tracker, max_steps=1)
    callback = WinRateCallback(Says(0.7), heldout, ["bcd fgh"] * 8, trainer=trainer, **SHORT)
    trainer.add_callback(callback)
    trainer.args.report_to = ["tensorboard"]
    trainer.train()
    (seen,) = [logs for logs in tracker.seen if "eval_win_rate" in logs]
    names = {"eval_win_rate", "eval_win_rate_low", "eval_win_rate_high", "eval_win_rate_abstained", "epoch"}
    assert set(seen) == names
    (kept,) = [entry for entry in trainer.state.log_history if "eval_win_rate" in entry]
    assert kept == {**seen, "step": 1}
    assert not said

    blind = WinRateCallback(Says(0.7), heldout, ["bcd fgh"] * 8, **SHORT)
    trainer.remove_callback(callback), trainer.add_callback(blind), tracker.seen.clear()
    trainer.train()
    assert not any("eval_win_rate" in logs for logs in tracker.seen)
    assert [
        entry["eval_win_rate"] for entry in trainer.state.log_history if "eval_win_rate" in entry
    ] == pytest.approx([0.7])
    assert len(said) == 1 and "tensorboard will not show `eval_win_rate`" in said[0]


def test_a_run_and_its_log_are_the_same_with_and_without_it(tiny, preferences, heldout, quick):
    class Restless(MoreVowels):
        def compare(self, prompts, first, second):
            return [(random.random() + np.random.rand() + float(torch.rand(()))) / 3 for _ in prompts]

    found = []
    for watched in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        prompts = preferences.select_columns(["prompt"])
        trainer = make(policy, prompts, {**quick, "logging_steps": 2}, max_steps=4)
        if watched:
            trainer.add_callback(WinRateCallback(Restless(), heldout, trainer=trainer, every=1, **SHORT))
        trainer.train()
        log = [entry for entry in trainer.state.log_history if "eval_win_rate" not in entry]
        assert len(trainer.state.log_history) - len(log) == (4 if watched else 0)
        timed = ("time", "runtime", "per_second")
        kept = [{k: v for k, v in entry.items() if not any(word in k for word in timed)} for entry in log]
        found.append((kept, {name: value.clone() for name, value in policy.state_dict().items()}))
    (log, weights), (watched_log, watched_weights) = found
    assert watched_log == log and len(log) == 3
    assert all(torch.equal(weights[name], watched_weights[name]) for name in weights)


def test_several_evaluation_sets_are_one_comparison(policy, tokenizer, preferences, heldout, quick):
    callback = WinRateCallback(judge := Says(0.7), heldout, ["bcd fgh"] * 8, **SHORT)
    sets = {"one": preferences.select([0, 1]), "two": preferences.select([2, 3])}
    trainer = dpo(policy, preferences, quick, tokenizer, callback, eval_dataset=sets, max_steps=2)
    trainer.train()
    assert len(judge.asked) == 2
    assert trainer.evaluate()["eval_win_rate"] == pytest.approx(0.7)


# ---- what is paid for ----


def test_a_budget_that_is_used_up_ends_the_comparing_and_not_the_run(
    policy, tokenizer, preferences, heldout, quick, monkeypatch
):
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.win_rate.logger.warning", said.append)
    callback = WinRateCallback(judge := Says(0.7), heldout, ["bcd fgh"] * 8, max_comparisons=20, **SHORT)
    best = {"metric_for_best_model": "eval_win_rate", "max_steps": 5}
    trainer = dpo(policy, preferences, quick, tokenizer, callback, **best)
    trainer.train()
    assert trainer.state.global_step == 5
    assert [len(prompts) for prompts, _, _ in judge.asked] == [8, 8]
    assert callback.comparisons == 16
    assert said == [
        "Step 3: 16 of 20 comparisons are used up, and the next do not fit. The training goes on without a win rate."
    ]
    assert trainer.state.best_metric == pytest.approx(0.7)
    assert math.isnan(trainer.evaluate()["eval_win_rate"])
    assert len(callback.history) == 2


def test_a_resumed_run_keeps_its_reference_history_and_budget(
    tiny, tokenizer, preferences, heldout, quick, monkeypatch
):
    save = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "eval_steps": 2}

    def train(resume, prompts=heldout):
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        callback = WinRateCallback(MoreVowels(), prompts, max_comparisons=100, **SHORT)
        dpo(policy, preferences, quick, tokenizer, callback, **save).train(resume_from_checkpoint=resume)
        return callback

    whole = train(None)
    checkpoint = Path(quick["output_dir"]) / "checkpoint-2"
    resumed = train(str(checkpoint))
    assert resumed.history == whole.history and len(whole.history) == 2
    assert resumed.answers == whole.answers
    assert resumed.comparisons == whole.comparisons > 0
    with pytest.raises(ValueError, match="of other prompts"):
        train(str(checkpoint), heldout[:4])
    (checkpoint / "win_rate.json").unlink()
    said = []
    monkeypatch.setattr("rlhf_ext.trainers.win_rate.logger.warning", said.append)
    late = train(str(checkpoint))  # its reference is the model of the checkpoint
    assert [entry["step"] for entry in late.history] == [4]
    assert [row["reference"] for row in late.answers] != [row["reference"] for row in whole.answers]
    assert "finds no win_rate.json" in said[0]


# ---- processes ----


def test_two_processes_share_the_writing_and_the_main_one_asks(tiny, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launcher, str(Path(__file__).with_name("win_rate_driver.py")), tiny, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    main, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert main["history"] == other["history"] and len(main["history"]) == 2
    assert main["answers"] == other["answers"]
    assert [row["prompt"] for row in main["answers"]] == [f"Question {i}:" for i in range(5)]
    assert main["calls"] > 0 and other["calls"] == 0
    assert main["error"] == "the judge is down"
    assert other["error"].startswith("A callback failed on the main process")


def test_models_in_parts_are_refused_before_a_step(policy, tokenizer, preferences, heldout, quick, monkeypatch):
    monkeypatch.setattr("rlhf_ext.trainers.policy_texts.is_deepspeed_zero3_enabled", lambda: True)
    trainer = dpo(policy, preferences, quick, tokenizer, WinRateCallback(MoreVowels(), heldout, ["a"] * 8))
    with pytest.raises(ValueError, match="WinRateCallback cannot write texts under FSDP or ZeRO-3"):
        trainer.train()


# ---- bad input ----


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ([0.5] * 7, "one probability for each of 8 pairs"),
        (0.5, "one probability for each of 8 pairs"),
        ([0.5, 1.5] * 4, "gave 1.5 for pair 1"),
        ([0.5, -0.1] * 4, "gave -0.1 for pair 1"),
        ([math.nan] * 8, "gave nan for pair 0"),
    ],
)
def test_what_is_no_probability_is_refused(given, match):
    with pytest.raises(ValueError, match=match):
        checked_probabilities("the judge", given, 8)


def test_a_judge_that_is_wrong_stops_the_run_and_is_named(policy, tokenizer, preferences, heldout, quick):
    callback = WinRateCallback(Says(1.5), heldout, ["bcd fgh"] * 8, **SHORT)
    with pytest.raises(ValueError, match="the judge Says gave 1.5 for pair 0"):
        dpo(policy, preferences, quick, tokenizer, callback, max_steps=1).train()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"prompts": ["a"]}, "at least 2 are needed"),
        ({"reference": "policy"}, "must be 'start', 'base' or a list"),
        ({"reference": ["a"]}, "has 1 answers for 2 prompts"),
        ({"every": 0}, "`every` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"max_comparisons": 1}, "one comparison of 2 prompts may take as many"),
        ({"prompts": Dataset.from_dict({"text": ["a", "b"]})}, "no column 'prompt'"),
        ({"temperature": -1}, "temperature should be"),
        ({"seed": -1}, "seed should be"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        WinRateCallback(MoreVowels(), **{"prompts": ["a", "b"], **arguments})


def test_a_judge_that_cannot_compare_and_an_unknown_sampling_argument():
    with pytest.raises(TypeError, match="must have `compare"):
        WinRateCallback(vowels, ["a", "b"])
    with pytest.raises(TypeError, match="Unknown sampling argument 'temprature'"):
        WinRateCallback(MoreVowels(), ["a", "b"], temprature=1.0)
