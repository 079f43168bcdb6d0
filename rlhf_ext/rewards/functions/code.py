"""Reward for code that passes its tests, run in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ...sandbox import Runner, Submission, Test, available_runner, check_limits, grade
from ...types import Completion
from .blocks import last_block
from .rows import column_of, log_mean, texts_of


class CodeTests:
    """The share of its tests that the code in a completion passes, in [0, 1]; each program runs in the sandbox.

    The code is the last fenced Python block. A completion without one scores 0.0. Tests come in two kinds:

    - Text: statements that run after the code and call what it defines, and raise where it is wrong
      (`"assert add(1, 2) == 3"`, as in MBPP's `test_list`). All of a row run in one process, in order: what one changes, the
      next one sees.
    - `{"input": ..., "output": ...}`: the code runs as a program that reads stdin; what it prints must be the output, blanks
      at line ends and the end of the text aside (as in APPS). One process a test.

    A policy will look for ways around its tests, and finds none in their process: it is not the code's, and talks with it in
    plain data (see [`~rlhf_ext.sandbox.grade`]). Leaving early, patching builtins or the grader, objects that equal
    everything, printing what success prints, looking for the tests: all of it fails. What remains are weak tests: what `assert
    is_valid(x)` asks, `return True` answers.

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
        isolated (`bool`, *optional*, defaults to `True`):
            `False` runs statements in the code's own process, for tests that pickle its objects or derive from its classes.
            Code can then fake what they see.
        runner ([`~rlhf_ext.sandbox.Runner`], *optional*):
            Where programs run, a container or a service for example. By default in the sandbox of this machine.
        allow_unsandboxed (`bool`, *optional*, defaults to `False`):
            Where that is not available, runs the code without containment, with your rights, and warns. What a policy writes
            in training is never code that you can trust.

    Raises:
        SandboxUnavailable: If programs cannot be contained and `allow_unsandboxed` was not said.
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
        isolated: bool = True,
        runner: Runner | None = None,
        allow_unsandboxed: bool = False,
    ):
        if score not in ("share", "all"):
            raise ValueError(f"`score` should be 'share' or 'all', got {score!r}.")
        check_limits(timeout_s, memory_mb, max_workers=max_workers)
        self.column, self.score = column, score
        self.options: dict[str, Any] = {"timeout_s": timeout_s, "memory_mb": memory_mb, "max_workers": max_workers}
        self.options["isolated"] = isolated
        self.runner = available_runner(runner, allow_unsandboxed)
        self.__name__ = "code_tests"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        tests = [
            checked_tests(value, f"row {row} of the column {self.column!r}")
            for row, value in enumerate(column_of(columns, self.column, len(completions), "CodeTests"))
        ]
        codes = [last_block(text, PYTHON) for text in texts_of(completions)]
        rows = [row for row, code in enumerate(codes) if code is not None and tests[row]]
        submissions = [Submission(codes[row] or "", tests[row] or []) for row in rows]
        outcomes = dict(zip(rows, grade(submissions, self.runner, **self.options), strict=True))
        passed = [sum(outcome.passed for outcome in outcomes.get(row, [])) for row in range(len(codes))]
        scores = [
            None if of_row is None else done / len(of_row) if self.score == "share" else float(done == len(of_row))
            for done, of_row in zip(passed, tests, strict=True)
        ]
        tested = [row for row, of_row in enumerate(tests) if of_row is not None]
        log_mean(columns, f"{self.__name__}/no_code", [float(codes[row] is None) for row in tested])
        log_mean(
            columns, f"{self.__name__}/all_passed", [float(passed[row] == len(tests[row] or [])) for row in tested]
        )
        for metric, kind in (("timed_out", "timeout"), ("bad_tests", "test")):
            found = [float(any(outcome.kind == kind for outcome in of_row)) for of_row in outcomes.values()]
            log_mean(columns, f"{self.__name__}/{metric}", found)
        return scores


PYTHON = frozenset({"python", "py", "python3", ""})
"""Words after the fence of a block that is taken for Python."""


def checked_tests(value: Any, where: str) -> list[Test] | None:
    """A row's tests as a list, or None where there are none.

    Raises:
        TypeError: If one is neither text nor input and output, with `where` it stands.
    """
    tests = [value] if isinstance(value, str | Mapping) else value
    if tests is None:
        return None
    for test in tests if isinstance(tests, list | tuple) else [tests]:
        io = isinstance(test, Mapping) and all(isinstance(test.get(key), str) for key in ("input", "output"))
        if not io and not isinstance(test, str):
            raise TypeError(f'A test should be text or {{"input": ..., "output": ...}}, and {where} has {test!r}.')
    return list(tests)
