"""A labelling run of 500 rows, killed at 20 random points, ends in the bytes of an undisturbed one."""

import os
import subprocess
import sys
from pathlib import Path

from .endpoint import Endpoint

DRIVER = Path(__file__).with_name("kill_driver.py")


def run(endpoint, folder, kills):
    arguments = [endpoint.url, folder / "store.sqlite", folder / "labels", str(kills)]
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([sys.executable, DRIVER, *arguments], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1])


def test_killed_at_20_points_it_ends_in_the_same_bytes(tmp_path):
    files = {}
    for kills in (0, 20):
        (folder := tmp_path / str(kills)).mkdir()
        with Endpoint() as endpoint:
            assert run(endpoint, folder, kills) == kills
            paid = {content: count for content, count in endpoint.answered.items() if "Answer 1:" in content}
        assert len(paid) == 1000
        # Only what was on its way when the process died is asked again: 8 requests a kill at most.
        assert sum(paid.values()) - 1000 <= 8 * kills
        files[kills] = (folder / "labels" / "preferences.jsonl").read_bytes()
    assert files[0] == files[20] and files[0].count(b"\n") == 500
