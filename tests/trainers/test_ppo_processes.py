"""Two processes (gloo) give what one gives on the same batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

DRIVER = Path(__file__).with_name("process_driver.py")


def run(processes, tiny, output, critic):
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*launcher, str(DRIVER), tiny, str(output), critic, str(8 // processes)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_two_processes_give_what_one_gives(tiny, tmp_path, critic):
    one, two = (run(count, tiny, tmp_path / f"{count}.pt", critic) for count in (1, 2))
    for name in ("objective/scores", "objective/kl", "objective/unscored", "value/explained_variance", "value/loss"):
        for a, b in zip(one["logged"], two["logged"], strict=True):
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-5), name
    start = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).state_dict()
    assert one["weights"].keys() == two["weights"].keys() > start.keys()
    for name, weight in one["weights"].items():
        assert torch.allclose(weight, two["weights"][name], atol=2e-5), name
    moved = [float((one["weights"][name] - weight).abs().max()) for name, weight in start.items()]
    assert max(moved) > 1e-3, "a step that moves nothing would show nothing"
