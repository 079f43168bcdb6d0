"""The sandbox and the grader: runs a second.

    python benchmarks/sandbox.py [--quick]

Trivial programs, several at a time on two processors: a bare program in the sandbox, a program with input and output, and a
test in a process of its own beside the code (as the code reward and the code suite run them); for comparison Python without
a sandbox. In rounds, each side in turn. Wall time: other work on the machine slows it, and the load is
said; `chrt -f 1 python ...` runs ahead of other work.

To show: at least 20 graded tests a second on two processors. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

TARGET, PROCESSORS = 20.0, 2


def sides(count: int) -> dict[str, Callable[[], bool]]:
    """What is run: each gives whether all of it went well."""
    from rlhf_ext.sandbox import Bubblewrap, Submission, Unsandboxed, grade, run_many

    statement = [Submission("def add(a, b):\n    return a + b", ["assert add(1, 2) == 3"])] * count
    program = [Submission("print(int(input()) * 2)", [{"input": "3", "output": "6"}])] * count

    def graded(submissions: list[Any], runner: Any, isolated: bool = True) -> bool:
        found = grade(submissions, runner, max_workers=PROCESSORS, isolated=isolated)
        return all(outcome.passed for outcomes in found for outcome in outcomes)

    return {
        "a test beside the code": lambda: graded(statement, Bubblewrap()),
        "a test in the code's process": lambda: graded(statement, Bubblewrap(), isolated=False),
        "input and output": lambda: graded(program, Bubblewrap()),
        "a bare program": lambda: all(r.ok for r in run_many(["pass"] * count, max_workers=PROCESSORS)),
        "a test beside the code, no sandbox": lambda: graded(statement, Unsandboxed()),
    }


def measure(rounds: int, count: int) -> dict[str, list[float]]:
    """Runs a second, by side and round."""
    compared = sides(count)
    found: dict[str, list[float]] = {name: [] for name in compared}
    for number in range(rounds):
        for name, side in compared.items():
            started = time.perf_counter()
            if not side():
                raise RuntimeError(f"{name}: a run did not go well")
            found[name].append(count / (time.perf_counter() - started))
        sys.stdout.write(f"  round {number + 1}, load {os.getloadavg()[0]:.1f}\n")
        sys.stdout.flush()
    return found


def report(found: dict[str, list[float]], count: int) -> dict[str, Any]:
    """The table, and the figures."""
    from rlhf_ext.stats import bootstrap_mean

    figures: dict[str, Any] = {"runs": count, "load": os.getloadavg()[0]}
    sys.stdout.write(f"\n{'side':<38}{'runs a second':>22}\n")
    for name, rounds in found.items():
        speed = bootstrap_mean(rounds)
        sys.stdout.write(f"{name:<38}{speed!s:>22}\n")
        figures[name] = {"rounds": len(rounds), **speed.to_dict()}
    sys.stdout.write(f"to show: at least {TARGET:.0f} tests a second; load of the machine {figures['load']:.1f}\n")
    figures["shown"] = figures["a test beside the code"]["low"] >= TARGET
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 runs and two rounds: that it works, not a figure")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    rounds, count = (2, 10) if options.quick else (10, 60)
    sys.stdout.write(json.dumps(report(measure(rounds, count), count)) + "\n")


if __name__ == "__main__":
    main()
