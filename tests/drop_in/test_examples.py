"""The scripts of examples/drop_in, by their arguments alone; and, with the lines that were changed put back, on TRL."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from rlhf_ext import RewardModel

from .pairs import assert_same_run, losses

FOLDER = Path(__file__).parents[2] / "examples" / "drop_in"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.fixture
def run(monkeypatch, tmp_path, tiny, messages):
    """Runs a script as `python script.py ARGUMENTS` would, on local rows and the tiny model; gives its trainer."""
    data = tmp_path / "data"
    data.mkdir()

    def run(script, out, *arguments, rows=messages):
        rows.to_json(data / "train.jsonl")
        rows.select(range(4)).to_json(data / "test.jsonl")
        common = [
            f"--model_name_or_path={tiny}",
            f"--dataset_name={data}",
            f"--output_dir={tmp_path / out}",
            "--dtype=float32",
            "--bf16=False",
            "--use_cpu",
            "--report_to=none",
            "--max_steps=2",
            "--logging_steps=1",
            "--learning_rate=1e-3",
            "--per_device_train_batch_size=4",
        ]
        monkeypatch.setattr(sys, "argv", [str(script), *common, *arguments])
        return runpy.run_path(str(script), run_name="__main__")["trainer"]

    return run


def as_it_was(script: Path, folder: Path) -> Path:
    """The script before its lines were changed."""
    text = script.read_text(encoding="utf-8")
    text = re.sub(r"^from rlhf_ext import .*  # was: (from .*)$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"reward_funcs=.*  # was: (.*)$", r"reward_funcs=\1,", text, flags=re.MULTILINE)
    path = folder / f"was_{script.name}"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["dpo.py", "reward.py"])
def test_what_trls_script_trains(name, run, tmp_path):
    before = as_it_was(FOLDER / name, tmp_path)
    assert "rlhf_ext" not in before.read_text(encoding="utf-8").split('"""', 2)[2]
    assert_same_run(run(before, "theirs"), run(FOLDER / name, "ours"))


@pytest.mark.parametrize("name", ["dpo.py", "reward.py"])
def test_strengths_are_one_argument_away(name, run, preferences, messages):
    rows = preferences.select(range(len(messages)))
    graded = run(FOLDER / name, "graded", "--strength_loss=soft_label", "--eval_strategy=steps", rows=rows)
    assert losses(graded) != losses(run(FOLDER / name, "plain", rows=rows))


def test_a_reward_adapter_keeps_its_head(run, tmp_path, messages):
    lora = ["--use_peft", "--lora_r=4", "--lora_target_modules=all-linear"]
    trainer = run(FOLDER / "reward.py", "adapter", *lora)
    score = RewardModel(tmp_path / "adapter").score(messages["prompt"], messages["chosen"])
    trained = RewardModel(trainer.model, trainer.processing_class).score(messages["prompt"], messages["chosen"])
    assert torch.allclose(score, trained, atol=1e-5)


GROUPS = ("--num_generations=2", "--max_completion_length=8")


def test_a_reward_model_in_grpo(run, tmp_path, reward_folder):
    reward = f"--reward_model_name_or_path={reward_folder}"
    theirs = run(as_it_was(FOLDER / "grpo.py", tmp_path), "theirs", reward, *GROUPS)
    ours = run(FOLDER / "grpo.py", "ours", reward, *GROUPS)
    scores = [[entry["reward"] for entry in one.state.log_history[:2]] for one in (theirs, ours)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_a_constraint_in_grpo(run, tmp_path, reward_folder):
    """Asked for more than there is, the multiplier climbs; resumed, it goes on from where it was."""
    models = [f"--{what}_model_name_or_path={reward_folder}" for what in ("reward", "safety")]
    arguments = [*models, "--safety_at_least=-2", "--save_steps=1", *GROUPS]
    trainer = run(FOLDER / "grpo_with_constraint.py", "out", *arguments)
    name = "constraints/safety/at_least/"
    first, second = trainer.state.log_history[:2]
    assert first[name + "satisfied"] < 1 and second[name + "multiplier"] > first[name + "multiplier"]
    checkpoint = tmp_path / "out" / "checkpoint-1"
    resumed = run(FOLDER / "grpo_with_constraint.py", "out", *arguments, f"--resume_from_checkpoint={checkpoint}")
    assert resumed.state.log_history[1][name + "multiplier"] == second[name + "multiplier"]


def test_they_are_short_and_marked():
    """ppo_from_trl_1_12.py is run by tests/trainers/test_trl_1_12.py."""
    assert len(SCRIPTS) == 5
    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 75, script.name
        assert 1 <= sum("# was: " in line for line in lines) <= 2, script.name
        assert script.name in (FOLDER / "README.md").read_text(encoding="utf-8")
