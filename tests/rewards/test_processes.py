"""Two processes (gloo) give what one gives on the same rows, and know the same afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rlhf_ext.rewards.processes import gather_rows

DRIVER = Path(__file__).with_name("process_driver.py")


def run(processes, output):
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*launcher, str(DRIVER), str(output)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(f"{output}.{rank}", weights_only=True) for rank in range(processes)]


def test_two_processes_give_what_one_gives(tmp_path):
    [one], two = run(1, tmp_path / "one"), run(2, tmp_path / "two")
    for alone, first, second in zip(one["rewards"], two[0]["rewards"], two[1]["rewards"], strict=True):
        assert first + second == pytest.approx(alone, rel=1e-12)
    assert one["state"] == two[0]["state"] == two[1]["state"]
    assert one["state"]["constraints"]["safety/at_least"]["log_multiplier"] != 0.0
    assert len({reward for batch in one["rewards"] for reward in batch}) > 10


def test_one_process_has_all_rows():
    rows, groups, mine = gather_rows(np.arange(6.0).reshape(3, 2), ["b", "a", "b"])
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert groups.tolist() == [0, 1, 0]
    assert rows[mine].tolist() == rows.tolist()
