"""The feedback page under a crowd: answers a second over HTTP, and that none is lost, doubled or asked of too many.

    python benchmarks/feedback_page.py [--quick] [--people 20] [--answers 2000] [--kills 3]

People (threads of this process, each with a connection of its own) answer whatever the page gives them, as fast as it gives it.
The server runs in a process of its own on SQLite. Then once more, with the server killed by SIGKILL in the middle, several times.
Every answer that was told to be saved has to be in the store once, and every item to have exactly the answers that it wants.

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("OMP_NUM_THREADS", "1")
WANTED = 4


def run(answers: int, people: int, kills: int) -> dict[str, Any]:
    """One crowd on one store."""
    from tests.deployment.feedback_ui.crowd import Crowd, ServerProcess, check, prepare

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "feedback.sqlite"
        items = answers // WANTED
        prepare(database, items, WANTED)
        server = ServerProcess(database)
        crowd = Crowd(database, server.port, people)
        began = time.perf_counter()
        crowd.start()
        for number in range(kills):
            while len(crowd.saved) < answers * (number + 1) / (kills + 1):
                time.sleep(0.005)
            server.kill()
            server.start()
        crowd.wait()
        seconds = time.perf_counter() - began
        server.stop()
        stored, who = check(database, items, WANTED)
        cuts = quantiles(crowd.seconds, n=100)
        return {
            "answers": stored,
            "people": who,
            "told_saved": len(set(crowd.saved)),
            "kills": kills,
            "connections_cut": crowd.cut,
            "refused": sum(crowd.refused.values()),
            "seconds": round(seconds, 1),
            "answers_per_second": round(stored / seconds, 1),
            "median_ms": round(1000 * cuts[49], 1),
            "p99_ms": round(1000 * cuts[98], 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="400 answers")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--answers", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    answers = 400 if options.quick else options.answers
    found = {
        "undisturbed": run(answers, options.people, 0),
        "killed": run(answers, options.people, options.kills),
    }
    for name, figures in found.items():
        print(f"{name}")
        for figure, value in figures.items():
            print(f"  {figure:<20} {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
