"""Two processes (gloo) give what one gives on the same batch, with copies of the models (DDP) or shards (FSDP2, ZeRO)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

DRIVER = Path(__file__).with_name("process_driver.py")


@pytest.fixture(scope="module")
def run(tiny, reward_folder):
    def in_processes(count, output, critic, *options):
        launcher = [sys.executable]
        if count > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        done = subprocess.run(
            [*launcher, str(DRIVER), tiny, str(output), critic, str(8 // count), reward_folder, *options],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return torch.load(output, weights_only=True)

    return in_processes


@pytest.fixture(scope="module")
def one(run, tmp_path_factory):
    """What a single process gives, by critic."""
    folder = tmp_path_factory.mktemp("one")
    return {
        critic: run(1, folder / critic, critic) for critic in ("shared", "from_policy", "from_reward", "in_memory")
    }


@pytest.mark.parametrize(
    ("critic", "options"),
    [
        ("shared", ()),
        ("from_policy", ()),
        ("shared", ("--shards", "fsdp2")),
        ("from_reward", ("--shards", "fsdp2")),
        ("from_reward", ("--shards", "zero2")),
        ("in_memory", ("--shards", "zero3")),
        ("from_reward", ("--shards", "zero3")),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) and value else str(value or "ddp"),
)
def test_two_processes_give_what_one_gives(run, one, tiny, tmp_path, critic, options):
    alone, two = one[critic], run(2, tmp_path / "two.pt", critic, *options)
    for name in ("objective/scores", "objective/kl", "objective/unscored", "value/explained_variance", "value/loss"):
        for a, b in zip(alone["logged"], two["logged"], strict=True):
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5), name
    start = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).state_dict()
    assert alone["weights"].keys() == two["weights"].keys() > start.keys()
    for name, weight in alone["weights"].items():
        assert torch.allclose(weight, two["weights"][name], atol=2e-5), name
    moved = [float((alone["weights"][name] - weight).abs().max()) for name, weight in start.items()]
    assert max(moved) > 1e-3, "a step that moves nothing would show nothing"


@pytest.mark.parametrize(("critic", "shards"), [("from_policy", "fsdp2"), ("shared", "zero3")])
def test_shards_resume_within_a_rollout_and_are_saved_as_plain_models(run, tmp_path, critic, shards):
    options = ("--shards", shards, "--optim", "adamw_torch")
    whole = run(2, tmp_path / "whole.pt", critic, *options)
    checkpoints = tmp_path / "whole.pt.run"
    resumed = run(2, tmp_path / "resumed.pt", critic, *options, "--resume", str(checkpoints / "checkpoint-1"))
    for name, weight in whole["weights"].items():
        assert torch.equal(weight, resumed["weights"][name]), name
    saved = load_file(checkpoints / "checkpoint-2" / "model.safetensors")
    assert not [name for name in saved if "value_model" in name]
    assert all(torch.equal(weight, whole["weights"][name]) for name, weight in saved.items())
    critic_file = "value_head.safetensors" if critic == "shared" else "model.safetensors"
    for name, weight in load_file(checkpoints / "checkpoint-2" / "value_model" / critic_file).items():
        (same,) = [w for key, w in whole["weights"].items() if key.startswith("value_model.") and key.endswith(name)]
        assert torch.equal(weight, same), name
