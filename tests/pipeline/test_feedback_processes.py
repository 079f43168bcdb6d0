"""AI feedback under torchrun: one process asks, all go on with the answers, and all stop where it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

DRIVER = Path(__file__).with_name("feedback_driver.py")


def test_what_happens_on_the_main_process_happens_on_all(tiny, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launcher, str(DRIVER), tiny, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,  # a process that waits for the others waits half an hour
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    main, other = (json.loads((tmp_path / f"{index}.json").read_text()) for index in (0, 1))
    assert main["works"][0] == other["works"][0] == ["A fig."]
    assert main["works"][1] >= 2 and other["works"][1] == 0, "the other process asks nothing"
    words = "The labeler's budget is used up with 1 comparisons open."
    assert main["labels fail"][0].startswith(f"ValueError: {words}")
    assert other["labels fail"][0].startswith(f"RuntimeError: The main process stopped with ValueError: {words}")
    assert main["revisions fail"][0] == "KeyError: 'the model is gone'"
    assert other["revisions fail"][0] == "RuntimeError: The main process stopped with KeyError: 'the model is gone'"
