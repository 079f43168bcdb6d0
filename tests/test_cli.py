"""The command line, run as a user runs it: a mistake is one line on stderr and exit code 2."""

import json
import shutil
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
    assert all(command in shown for command in ("demo", "run", "reward", "validate", "dpo", "ppo"))


def test_help_as_a_process_loads_no_torch():
    code = "import sys\nfrom rlhf_ext.cli import main\nmain(['--help'])\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rlhf_ext 0.")


def test_an_unknown_command_as_a_process():
    result = subprocess.run([sys.executable, "-m", "rlhf_ext", "trian"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("rlhf-ext: unknown command 'trian'; there are ")
    assert result.stderr.endswith(".\n") and result.stderr.count("\n") == 1


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


@pytest.fixture
def gate(tmp_path):
    def write(**limits):
        (tmp_path / "gate.yaml").write_text(yaml.safe_dump(limits))
        return str(tmp_path / "gate.yaml")

    return write


def test_validate_and_its_gate(reward_folder, data, gate, capsys):
    command = ["validate", "--reward_model", reward_folder, "--preferences", str(data / "train.jsonl")]
    command += ["--output_dir", str(data / "validation")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Calibration error (ECE)" in shown
    assert str(data / "validation" / "report.html") in shown
    names = {measure["name"] for measure in json.loads((data / "validation" / "report.json").read_text())["measures"]}
    assert {"accuracy", "accuracy.everyday", "ece", "strength.brier", "probes.flattery.raised", "margin"} <= names
    assert main([*command, "--thresholds", gate(accuracy={"min": 0.0}, ece={"max": 1.0})]) == 0
    assert main([*command, "--thresholds", gate(accuracy={"min": 1.0}, ece={"max": 1.0})]) == 1
    assert "fails   accuracy is" in capsys.readouterr().out
    assert main([*command, "--thresholds", gate(**{"best_of_n.gain": {"min": 0.0}})]) == 1
    assert "there is no gold reward" in capsys.readouterr().out


def test_validate_reads_an_ensemble(reward_folder, data, gate, capsys):
    folder = data / "ensemble"
    members = []
    for number in range(2):
        shutil.copytree(reward_folder, folder / f"member_{number}")
        members.append({"folder": f"member_{number}", "centre": 0.0, "scale": 1.0 + number})
    (folder / "ensemble.json").write_text(json.dumps({"members": members}))
    command = ["validate", "--reward_model", str(folder), "--preferences", str(data / "heldout.jsonl")]
    command += ["--thresholds", gate(**{"ensemble.unanimous": {"min": 1.0}}), "--output_dir", str(data / "validation")]
    assert main(command) == 0
    assert "Disagreement of the members" in capsys.readouterr().out


def test_validate_writes_samples_for_best_of_n(reward_folder, tiny, data, capsys):
    command = ["validate", "--reward_model", reward_folder, "--preferences", str(data / "heldout.jsonl")]
    command += ["--gold", reward_folder, "--generator", tiny, "--n", "4", "--max_new_tokens", "8"]
    assert main([*command, "--output_dir", str(data / "validation")]) == 0
    report = json.loads((data / "validation" / "report.json").read_text())
    found = {measure["name"]: measure["estimate"] for measure in report["measures"]}
    assert found["best_of_n.correlation"]["value"] == pytest.approx(1)  # its own gold
    assert any(plot["title"].startswith("Best of n, up to 4") for plot in report["plots"])


@pytest.mark.parametrize(
    ("extra", "limits", "match"),
    [
        ([], {"acuracy": {"min": 1}}, "There is no figure 'acuracy'"),
        ([], {"accuracy": {"minimum": 1}}, "has no 'minimum'; there are min, max, interval"),
        (["--thresholds", "gone.yaml"], None, "gone.yaml"),
        (["--preferences", "gone.jsonl"], None, "No such file: gone.jsonl"),
        (["--reward_model", "no/model/here"], None, "no/model/here"),
        (["--generator", "x"], None, "needs --gold as well"),
        (["--strength_scale", "percent"], None, "invalid choice: 'percent'"),
        (["--gold", "REWARD"], None, "there is no column 'samples'"),
        (["--output_dir", "FILE"], None, "is a file"),
    ],
)
def test_a_mistake_in_validating_is_one_line(reward_folder, data, gate, capsys, extra, limits, match):
    words = {"REWARD": reward_folder, "FILE": str(data / "train.jsonl")}
    command = ["validate", "--reward_model", reward_folder, "--preferences", str(data / "heldout.jsonl")]
    command += ["--output_dir", str(data / "validation")]
    command += ["--thresholds", gate(**limits)] if limits else []
    assert main([*command, *(words.get(word, word) for word in extra)]) == 2
    line = complaint(capsys)
    assert line.startswith("rlhf-ext: ")
    assert match in line
    assert not (data / "validation").exists()
