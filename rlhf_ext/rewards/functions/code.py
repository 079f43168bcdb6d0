"""Reward for code that passes its tests, run in the sandbox."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ...sandbox import SandboxResult, run_many
from ...types import Completion
from .blocks import last_block
from .rows import column_of, log_mean, texts_of

Test: TypeAlias = str | Mapping[str, str]
"""Statements that raise where the code is wrong, or `{"input": stdin, "output": stdout}`."""


class CodeTests:
    """The share of its tests that the code in a completion passes, in [0, 1]; each program runs in the sandbox.

    The code is the last fenced Python block. A completion without one scores 0.0. Tests come in two kinds:

    - Text: statements that run after the code, in its namespace, and raise where it is wrong (`"assert add(1, 2) == 3"`, as
      in MBPP's `test_list`). All of a row run in one process, in order: what one changes, the next one sees.
    - `{"input": ..., "output": ...}`: the code runs as a program that reads stdin; what it prints must be the output, blanks
      at line ends and the end of the text aside (as in APPS). One process a test.

    A policy will look for ways around its tests. Leaving early (`sys.exit(0)`, `os._exit(0)`) and printing what success
    prints earn nothing: a test has passed only when the runner says so, with a token drawn for this run. Code that reaches
    for the runner's or the tests' own means in their process, such as an object that equals everything, can still cheat
    statements; tests with input and output compare outside, and are safe from that.

    Args:
        column (`str`, *optional*, defaults to `"tests"`):
            Column with a row's tests: a list, or a single text. Rows without give None.
        score (`str`, *optional*, defaults to `"share"`):
            `"share"` of tests passed, or `"all"`: 1.0 where all pass, else 0.0.
        timeout_s (`float`, *optional*, defaults to `10.0`):
            Seconds for a process. Where they run out, the tests that have not passed yet have failed.
        memory_mb (`int`, *optional*, defaults to `256`):
            MiB of address space of each process.
        max_workers (`int`, *optional*):
            Processes at a time; by default as many as there are processors.
        trusted (`bool`, *optional*, defaults to `False`):
            Runs the code without containment, with your rights; see [`~rlhf_ext.sandbox.run_python`]. What a policy writes
            in training is never code that you can trust.

    Raises:
        SandboxUnavailable: If this machine cannot contain programs and `trusted` was not said.
        ValueError: If an argument is out of range; from a call, if the column is missing.
        TypeError: From a call, if a test is neither text nor input and output, naming the row.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import CodeTests
    >>> passes = CodeTests(timeout_s=5)
    >>> answer = "Here it is:\\n~~~python\\ndef add(a, b):\\n    return a + b\\n~~~"
    >>> passes(prompts=["Write add."], completions=[answer], tests=[["assert add(1, 2) == 3", "assert add(1, 1) == 3"]])
    [0.5]

    ```
    """

    def __init__(
        self,
        column: str = "tests",
        score: Literal["share", "all"] = "share",
        timeout_s: float = 10.0,
        memory_mb: int = 256,
        max_workers: int | None = None,
        trusted: bool = False,
    ):
        if score not in ("share", "all"):
            raise ValueError(f"`score` should be 'share' or 'all', got {score!r}.")
        self.column, self.score = column, score
        self.options: dict[str, Any] = {"timeout_s": timeout_s, "memory_mb": memory_mb, "trusted": trusted}
        self.options["max_workers"] = max_workers
        run_many([], **self.options)  # refuses now what it would refuse in the run
        self.__name__ = "code_tests"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        tests = [
            _checked(value, f"row {row} of the column {self.column!r}")
            for row, value in enumerate(column_of(columns, self.column, len(completions), "CodeTests"))
        ]
        codes = [last_block(text, {"python", "py", "python3", ""}) for text in texts_of(completions)]
        runs = [
            run for row, code in enumerate(codes) if code is not None for run in _runs(row, code, tests[row] or [])
        ]
        results = run_many([run.program for run in runs], stdin=[run.stdin for run in runs], **self.options)
        passed = [0] * len(completions)
        for run, result in zip(runs, results, strict=True):
            passed[run.row] += run.passed(result)
        scores = [
            None if of_row is None else done / len(of_row) if self.score == "share" else float(done == len(of_row))
            for done, of_row in zip(passed, tests, strict=True)
        ]
        tested = [row for row, of_row in enumerate(tests) if of_row is not None]
        log_mean(columns, f"{self.__name__}/no_code", [float(codes[row] is None) for row in tested])
        log_mean(
            columns, f"{self.__name__}/all_passed", [float(passed[row] == len(tests[row] or [])) for row in tested]
        )
        log_mean(columns, f"{self.__name__}/timed_out", [float(result.timed_out) for result in results])
        return scores


@dataclass
class _Statements:
    """One process in which the statements of a row's tests follow the code."""

    row: int
    code: str
    tests: list[str]
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    program = """\
import json, os, sys, types

def main():
    token, code, tests = json.load(sys.stdin)
    report, quiet = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    module = sys.modules["solution"] = types.ModuleType("solution")
    exec(compile(code, "solution.py", "exec"), module.__dict__)
    for place, test in enumerate(tests):
        try:
            exec(compile(test, f"test {place}", "exec"), module.__dict__)
        except BaseException:
            continue
        os.write(report, f"{token} {place}\\n".encode())

main()
"""

    @property
    def stdin(self) -> str:
        return json.dumps([self.token, self.code, self.tests])

    def passed(self, result: SandboxResult) -> int:
        lines = set(result.stdout.splitlines())
        return sum(f"{self.token} {place}" in lines for place in range(len(self.tests)))


@dataclass
class _Program:
    """One process that reads input and prints output."""

    row: int
    program: str
    stdin: str
    output: str

    def passed(self, result: SandboxResult) -> int:
        return int(result.ok and not result.truncated and _stripped(result.stdout) == _stripped(self.output))


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _runs(row: int, code: str, tests: Sequence[Test]) -> list[_Statements | _Program]:
    statements = [test for test in tests if isinstance(test, str)]
    runs: list[_Statements | _Program] = [_Statements(row, code, statements)] if statements else []
    return runs + [_Program(row, code, test["input"], test["output"]) for test in tests if not isinstance(test, str)]


def _checked(value: Any, where: str) -> list[Test] | None:
    tests = [value] if isinstance(value, str | Mapping) else value
    if tests is None:
        return None
    for test in tests if isinstance(tests, list | tuple) else [tests]:
        io = isinstance(test, Mapping) and all(isinstance(test.get(key), str) for key in ("input", "output"))
        if not io and not isinstance(test, str):
            raise TypeError(f'A test should be text or {{"input": ..., "output": ...}}, and {where} has {test!r}.')
    return list(tests)
