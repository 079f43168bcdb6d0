"""The command line, run as a user runs it: a mistake is one line on stderr and exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rlhf_ext import RewardModel, assistant_preferences
from rlhf_ext.cli import main

QUICK = {"gradient_checkpointing": False, "max_steps": 2}


@pytest.fixture
def data(tmp_path):
    for split, count in (("train", 16), ("heldout", 8)):
        assistant_preferences(split).select(range(count)).to_json(tmp_path / f"{split}.jsonl")
    return tmp_path


def run_config(tiny, folder, **changes):
    settings = {
        "model_name": tiny,
        "preferences": str(folder / "train.jsonl"),
        "heldout": str(folder / "heldout.jsonl"),
        "algorithm": "dpo",
        "output_dir": str(folder / "run"),
        "batch_size": 4,
        "bf16": False,
        "sft": QUICK,
        "dpo": QUICK,
        "eval_max_new_tokens": 8,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump({**settings, **changes}))
    return str(folder / "run.yaml")


def complaint(capsys):
    error = capsys.readouterr().err
    # Progress bars and notes of libraries may come before it; ours is the last line, and there is no traceback.
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands_without_loading_anything(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("demo", "run", "reward", "dpo", "ppo"))


def test_help_as_a_process_loads_no_torch():
    code = "import sys\nfrom rlhf_ext.cli import main\nmain(['--help'])\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rlhf_ext 0.")


def test_an_unknown_command_as_a_process():
    result = subprocess.run([sys.executable, "-m", "rlhf_ext", "trian"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "rlhf-ext: unknown command 'trian'; there are demo, run, reward, validate, dpo, ppo.\n"


def test_run_from_a_file(tiny, data, capsys):
    assert main(["run", "--config", run_config(tiny, data)]) == 0
    shown = capsys.readouterr().out
    assert "Likeness to good answers" in shown
    assert str(data / "run" / "report.html") in shown
    assert (data / "run" / "policy" / "model.safetensors").is_file()


def test_flags_go_over_the_file_and_config_may_have_an_equals_sign(tiny, data, capsys):
    other = str(data / "other")
    assert main(["run", f"--config={run_config(tiny, data)}", "--output_dir", other, "--num_epochs", "1"]) == 0
    assert Path(other, "report.html").is_file()


@pytest.mark.parametrize(
    ("changes", "extra", "match"),
    [
        ({"lerning_rate": 1}, [], "--lerning_rate"),
        ({"learning_rate": "fast"}, [], "invalid float value: 'fast'"),
        ({"batch_size": [1]}, [], "`batch_size` must be a positive number, got [1]"),
        ({"algorithm": "grpo"}, [], "`algorithm` must be one of"),
        ({"preferences": "gone.jsonl"}, [], "No such file: gone.jsonl"),
        ({"model_name": "nobody/nothing"}, [], "No model 'nobody/nothing'"),
        ({"dpo": {"betta": 1}}, [], "`dpo` has no setting 'betta'"),
        ({}, ["--algorithm", "sft"], "invalid choice: 'sft'"),
        ({}, ["--verbose", "1"], "--verbose"),
        ({"output_dir": 5}, [], "`output_dir` must be text, got 5"),
    ],
)
def test_a_mistake_is_one_line(tiny, data, capsys, changes, extra, match):
    assert main(["run", "--config", run_config(tiny, data, **changes), *extra]) == 2
    line = complaint(capsys)
    assert line.startswith("rlhf-ext: ")
    assert match in line
    assert not (data / "run").exists()


def test_a_config_that_is_missing_or_broken(tmp_path, capsys):
    assert main(["run", "--config", str(tmp_path / "gone.yaml")]) == 2
    assert "gone.yaml" in complaint(capsys)
    (tmp_path / "broken.yaml").write_text("a: [1")
    assert main(["run", "--config", str(tmp_path / "broken.yaml")]) == 2
    assert "broken.yaml" in complaint(capsys)
    assert main(["run", "--config"]) == 2
    assert "--config needs a file" in complaint(capsys)


def test_reward_then_ppo_then_dpo(tiny, data, capsys):
    common = ["--preferences", str(data / "train.jsonl"), "--heldout", str(data / "heldout.jsonl"), "--bf16", "False"]
    common += ["--model_name_or_path", tiny, "--max_steps", "2", "--per_device_train_batch_size", "4"]
    common += ["--gradient_checkpointing", "False", "--report_to", "none"]
    reward = str(data / "reward")
    assert main(["reward", *common, "--output_dir", reward, "--strength_loss", "soft_label"]) == 0
    assert RewardModel(reward).score(["a"], ["b"]).shape == (1,)
    ppo = ["--reward_model", reward, "--max_completion_length", "8", "--value_model", "shared"]
    assert main(["ppo", *common, "--output_dir", str(data / "ppo"), *ppo]) == 0
    assert (data / "ppo" / "model.safetensors").is_file()
    assert main(["dpo", *common, "--output_dir", str(data / "dpo"), "--use_peft", "--strength_loss", "margin"]) == 0
    assert (data / "dpo" / "adapter_model.safetensors").is_file()


def test_ppo_without_a_reward_model(tiny, data, capsys):
    arguments = ["ppo", "--preferences", str(data / "train.jsonl"), "--model_name_or_path", tiny]
    assert main([*arguments, "--output_dir", str(data / "ppo")]) == 2
    assert "--reward_model is needed" in complaint(capsys)


@pytest.mark.parametrize("algorithm", ["ppo", "dpo"])
def test_the_tiny_demo(algorithm, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RLHF_EXT_CACHE", str(tmp_path / "cache"))
    folder = str(tmp_path / "demo")
    assert main(["demo", "--tiny", "True", "--algorithm", algorithm, "--output_dir", folder]) == 0
    report = json.loads(Path(folder, "report.json").read_text())
    names = {figure["name"] for figure in report["figures"]}
    assert {"reward", "harmful_compliance", "over_refusal", "helpfulness", "one_liners", "length", "kl"} <= names
    shown = capsys.readouterr().out
    assert shown.count("Example ") == 3
