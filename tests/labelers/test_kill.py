"""A labelling run of 500 rows, killed at 20 random points, ends in the bytes of an undisturbed one; and two that share one."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .endpoint import Endpoint, rows

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


def label_a_share(url, store):
    """What a second process or machine does: the same call on the same store."""
    from rlhf_ext.generation import EndpointGenerator
    from rlhf_ext.labelers import PairwiseLabeler

    labeler = PairwiseLabeler(EndpointGenerator(url, "judge", max_concurrency=4), "helpful", mode="text", store=store)
    return labeler.label(rows(60)).preferences


def test_processes_label_one_job_together(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Endpoint(delay=0.02) as endpoint, ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        both = [pool.submit(label_a_share, endpoint.url, tmp_path / "store") for _ in range(2)]
        first, second = (one.result(timeout=120) for one in both)
        paid = {content: count for content, count in endpoint.answered.items() if "Answer 1:" in content}
    assert first == second and len(first) == 60, "each waits for what the other is at"
    assert len(paid) == 120 and max(paid.values()) == 1
