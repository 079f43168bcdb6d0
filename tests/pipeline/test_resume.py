"""kill -9 in every stage, then again: the same result as an undisturbed run, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("kill_driver.py")

POINTS = {
    "ppo": [
        "before",
        "sft:1",  # before the first checkpoint
        "sft:5",  # after one
        "sft",  # after the work, before the record
        "reward_model:3",
        "reward_model",
        "validation",
        "policy:1",
        "policy:5",
        "policy",
        "after",
        "divergence",
    ],
    "dpo": ["policy:5", "after"],
}


def run(algorithm: str, model: str, folder: Path, points: list[str]) -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, str(DRIVER), algorithm, model, str(folder), *points], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("algorithm", ["ppo", "dpo"])
def test_a_killed_run_ends_as_an_undisturbed_one(algorithm, tiny, tmp_path):
    killed = run(algorithm, tiny, tmp_path / "killed", POINTS[algorithm])
    undisturbed = run(algorithm, tiny, tmp_path / "undisturbed", [])
    assert killed == undisturbed
    assert {"policy/model.safetensors", "reward_model/model.safetensors", "sft/model.safetensors"} <= set(killed)
