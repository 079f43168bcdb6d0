"""Code against its tests: the one way in which rewards and evaluations run them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from .process import SandboxResult
from .runners import Runner

Test: TypeAlias = str | Mapping[str, str]
"""Statements that raise where the code is wrong, or `{"input": stdin, "output": stdout}`."""
Kind: TypeAlias = Literal["passed", "wrong", "raised", "syntax", "timeout", "memory", "ended", "test"]
"""What became of a test."""
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Outcome:
    """What became of a test.

    Args:
        kind (`str`):
            `"passed"`; `"wrong"` (an assertion, or other output), `"raised"` (another error), `"syntax"` (the code cannot be
            compiled), `"timeout"`, `"memory"` (it ran out, or too much was taken), `"ended"` (the code left before the test
            was done, or crashed), `"test"` (the test itself cannot be run: it does not compile, or gives the code what
            cannot be passed).
        detail (`str`, *optional*):
            What was raised, in part the code's own words.
    """

    kind: Kind
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the code is right."""
        return self.kind == "passed"


@dataclass(frozen=True)
class Submission:
    """Code, and the tests that it is to pass.

    Args:
        code (`str`):
            The code.
        tests (`Sequence[Test]`):
            Statements, which share one process and its state, and inputs with outputs, which have a process each.
        setup (`str`, *optional*):
            Statements before the tests, trusted as they are: imports, helpers. What they define, the code cannot redefine
            for the tests.
        names (`Sequence[str]`, *optional*):
            What statements take from the code. By default every name that is neither theirs nor Python's.
    """

    code: str
    tests: Sequence[Test]
    setup: str = ""
    names: Sequence[str] | None = None


def grade(
    submissions: Sequence[Submission],
    runner: Runner,
    timeout_s: float = 10.0,
    memory_mb: int = 256,
    max_workers: int | None = None,
    isolated: bool = True,
    done: Callable[[], object] = lambda: None,
) -> list[list[Outcome]]:
    """Runs each submission's tests, several processes at a time.

    Statements run in a process of their own, which calls the code in another (in the same sandbox): arguments and results
    that are plain data pass by value, all else by reference. So the code can reach neither the tests, nor what they compare
    with, nor the report, whatever it patches; and an object of its own never equals plain data. What it can do is give back
    what a test expects, end, or fail. A test has passed when the tests' process says so, with a token drawn for the run.

    Args:
        submissions (`Sequence[Submission]`):
            Code and tests.
        runner ([`~rlhf_ext.sandbox.Runner`]):
            Where they run.
        timeout_s (`float`, *optional*, defaults to `10.0`):
            Seconds for all statements of a submission together, and for each input.
        memory_mb (`int`, *optional*, defaults to `256`):
            MiB of each process.
        max_workers (`int`, *optional*):
            Submissions at a time; by default as many as there are processors.
        isolated (`bool`, *optional*, defaults to `True`):
            Whether statements and code are in different processes. `False` is for tests that need the code's objects in
            their own hands (to pickle them, to derive from its classes, arrays of numpy); code that wants to cheat then can.
        done (`Callable`, *optional*):
            Called after each process, for a progress bar. See [`processes`].

    Returns:
        `list[list[Outcome]]`: one a test, in the order of each submission's tests.

    Raises:
        SandboxUnavailable: If the runner failed.

    Example:

    ```python
    >>> from rlhf_ext.sandbox import Submission, available_runner, grade
    >>> cheat = "class Yes:\\n    def __eq__(self, other): return True\\ndef add(a, b): return Yes()"
    >>> codes = ["def add(a, b): return a + b", cheat]
    >>> graded = grade([Submission(code, ["assert add(1, 2) == 3"]) for code in codes], available_runner())
    >>> [outcome.kind for (outcome,) in graded]
    ['passed', 'wrong']

    ```
    """
    jobs = [(owner, job) for owner, submission in enumerate(submissions) for job in _jobs(submission, isolated)]

    def perform(job: _Job) -> list[Outcome]:
        result = runner.run(job.sources(), job.stdin(), timeout_s, memory_mb)
        done()
        return job.outcomes(result)

    outcomes = [[Outcome("ended")] * len(submission.tests) for submission in submissions]
    with ThreadPoolExecutor(max_workers or os.cpu_count() or 1) as pool:
        for (owner, job), found in zip(jobs, pool.map(perform, [job for _, job in jobs]), strict=True):
            for place, outcome in zip(job.places, found, strict=True):
                outcomes[owner][place] = outcome
    return outcomes


def processes(submissions: Sequence[Submission]) -> int:
    """How many processes [`grade`] runs, and so how often it calls `done`."""
    return sum(len(_jobs(submission, True)) for submission in submissions)


class _Job(Protocol):
    places: list[int]

    def sources(self) -> dict[str, str]: ...
    def stdin(self) -> str: ...
    def outcomes(self, result: SandboxResult) -> list[Outcome]: ...


def _jobs(submission: Submission, isolated: bool) -> list[_Job]:
    statements = [place for place, test in enumerate(submission.tests) if isinstance(test, str)]
    jobs: list[_Job] = [_Statements(submission, statements, isolated)] if statements else []
    for place, test in enumerate(submission.tests):
        if not isinstance(test, str):
            jobs.append(_Program([place], submission.code, test["input"], test["output"]))
    return jobs


_FOLDER = Path(__file__).parent / "inside"
_INSIDE = {f"inside/{path.name}": path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.py"))}


@dataclass
class _Statements:
    """The process of the tests, and in it or beside it the code."""

    submission: Submission
    places: list[int]
    isolated: bool
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def sources(self) -> dict[str, str]:
        return {**_INSIDE, "main.py": f"from inside.tester import main\n\nmain({self.isolated})\n"}

    def stdin(self) -> str:
        it = self.submission
        tests = [it.tests[place] for place in self.places]
        return json.dumps([self.token, it.code, it.setup, None if it.names is None else list(it.names), tests])

    def outcomes(self, result: SandboxResult) -> list[Outcome]:
        said: dict[int, Outcome] = {}
        for line in result.stdout.splitlines():
            if line.startswith(self.token):
                place, kind, detail = json.loads(line.removeprefix(self.token))
                said[place] = Outcome(kind, detail)
        return [said.get(place, _unfinished(result)) for place in range(len(self.places))]


@dataclass
class _Program:
    """The code as a program that reads input and prints output."""

    places: list[int]
    code: str
    given: str
    output: str

    def sources(self) -> dict[str, str]:
        return {"main.py": self.code}

    def stdin(self) -> str:
        return self.given

    def outcomes(self, result: SandboxResult) -> list[Outcome]:
        if result.timed_out or result.overused:
            return [_unfinished(result)]
        if result.ok:
            right = not result.truncated and _stripped(result.stdout) == _stripped(self.output)
            return [Outcome("passed" if right else "wrong")]
        last = (result.stderr.strip().splitlines() or [""])[-1]
        error = last.split(":")[0]
        if error in ("SyntaxError", "IndentationError", "TabError"):
            return [Outcome("syntax", last)]
        if error == "MemoryError":
            return [Outcome("memory", last)]
        return [Outcome("raised" if result.returncode == 1 else "ended", last)]


def _unfinished(result: SandboxResult) -> Outcome:
    if result.timed_out:
        return Outcome("timeout")
    return Outcome("memory" if result.overused else "ended", result.stderr.strip()[-200:])


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
