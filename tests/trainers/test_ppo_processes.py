"""Two processes (gloo) give what one gives on the same batch, each with a copy of the models or with shards (FSDP2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

DRIVER = Path(__file__).with_name("process_driver.py")


def run(processes, tiny, output, critic, *options):
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*launcher, str(DRIVER), tiny, str(output), critic, str(8 // processes), *options],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("options", [(), ("--fsdp",)], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_two_processes_give_what_one_gives(tiny, tmp_path, critic, options):
    one = run(1, tiny, tmp_path / "1.pt", critic)
    two = run(2, tiny, tmp_path / "2.pt", critic, *options)
    for name in ("objective/scores", "objective/kl", "objective/unscored", "value/explained_variance", "value/loss"):
        for a, b in zip(one["logged"], two["logged"], strict=True):
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5), name
    start = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).state_dict()
    assert one["weights"].keys() == two["weights"].keys() > start.keys()
    for name, weight in one["weights"].items():
        assert torch.allclose(weight, two["weights"][name], atol=2e-5), name
    moved = [float((one["weights"][name] - weight).abs().max()) for name, weight in start.items()]
    assert max(moved) > 1e-3, "a step that moves nothing would show nothing"


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_under_fsdp2_a_run_resumes_within_a_rollout_and_saves_plain_models(tiny, tmp_path, critic):
    whole = run(2, tiny, tmp_path / "whole.pt", critic, "--fsdp", "--optim", "adamw_torch")
    checkpoints = tmp_path / "whole.pt.run"
    options = ("--fsdp", "--optim", "adamw_torch", "--resume", str(checkpoints / "checkpoint-1"))
    resumed = run(2, tiny, tmp_path / "resumed.pt", critic, *options)
    for name, weight in whole["weights"].items():
        assert torch.equal(weight, resumed["weights"][name]), name
    saved = load_file(checkpoints / "checkpoint-2" / "model.safetensors")
    assert not [name for name in saved if "value_model" in name]
    assert all(torch.equal(weight, whole["weights"][name]) for name, weight in saved.items())
    critic_file = "value_head.safetensors" if critic == "shared" else "model.safetensors"
    for name, weight in load_file(checkpoints / "checkpoint-2" / "value_model" / critic_file).items():
        (same,) = [w for key, w in whole["weights"].items() if key.startswith("value_model.") and key.endswith(name)]
        assert torch.equal(weight, same), name
