"""Runs a suite in child processes that are killed: `python kill_driver.py FOLDER`. Used by test_running.py.

Once undisturbed, then killed after a while again and again until a child comes to its end. Prints what happened as JSON.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from small_suite import make

from rlhf_ext import ScriptedGenerator
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.types import text_of


def child(folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    process = os.fork()
    if process:
        return process

    def slow(prompt, sampling):
        with (folder / "asked").open("a") as file:
            file.write(".")
        time.sleep(0.02)
        return f"{text_of(prompt)} {sampling['seed']}"

    result = run_suite(ScriptedGenerator(slow), make(), cache=folder / "cache")
    (folder / "done").write_text(json.dumps([result.answers, [column.values for column in result.columns]]))
    os._exit(0)


def main(folder: Path) -> None:
    os.waitpid(child(folder / "calm"), 0)
    kills = 0
    while not (folder / "rough" / "done").exists():
        process = child(folder / "rough")
        time.sleep(0.2)
        done, _ = os.waitpid(process, os.WNOHANG)
        if not done:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
    calm, rough = ((folder / name / "done").read_text() for name in ("calm", "rough"))
    asked = len((folder / "rough" / "asked").read_text())
    print(json.dumps({"kills": kills, "same": calm == rough, "asked": asked}))


main(Path(sys.argv[1]))
