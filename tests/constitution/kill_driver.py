"""Critiques and revises in child processes that are killed at random: `python kill_driver.py FOLDER SEED`.

Used by test_journal.py. Once undisturbed in FOLDER/calm, then killed again and again in FOLDER/rough until a child comes to
its end; prints how often. Each folder's `asked` gets a line for each call that was begun. Importing once and forking saves
seconds a child.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from rlhf_ext import ScriptedGenerator
from rlhf_ext.constitution import Constitution, critique_and_revise


class Slow(ScriptedGenerator):
    """Begins each call with a line in `asked`."""

    each = None  # asked in whole batches, which are counted

    def __init__(self, asked: Path):
        self.asked = asked
        super().__init__(answer)

    def generate(self, prompts, **sampling):
        with self.asked.open("a", encoding="utf-8") as file:
            file.write(json.dumps([sampling["seed"], len(prompts)]) + "\n")
        time.sleep(0.02)
        return super().generate(prompts, **sampling)


def answer(request, sampling):
    """An answer that follows from request and seed alone."""
    digest = hashlib.sha256(json.dumps([request, sampling["seed"]]).encode()).hexdigest()
    return f"Bread {digest[:6]}.\nVerdict: {'KEEP' if digest[0] < '8' else 'REVISE'}"


class Judge:
    def compare(self, prompts, first, second):
        return [0.4 + len(set(text)) / 100 for text in first]


def child(folder: Path) -> int:
    """Starts the job in a fork; gives its process id."""
    folder.mkdir(exist_ok=True)
    if pid := os.fork():
        return pid
    prompts = [f"Why does bread dough rise at {n} degrees?" for n in range(40)]
    options = {"judge": Judge(), "store": folder / "store.jsonl", "batch_size": 8, "progress": False}
    critique_and_revise(Slow(folder / "asked"), prompts, Constitution.default(), 3, **options).save(
        folder / "out.json"
    )
    os._exit(0)


if __name__ == "__main__":
    rng, kills = random.Random(int(sys.argv[2])), 0
    calm, rough = Path(sys.argv[1]) / "calm", Path(sys.argv[1]) / "rough"
    os.waitpid(child(calm), 0)
    while not (rough / "out.json").is_file():
        pid = child(rough)
        time.sleep(rng.uniform(0.01, 0.2))
        os.kill(pid, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    sys.stdout.write(str(kills))
