"""The code suite: problems, answers run against tests in a sandbox, pass@k and how the others fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from ...sandbox import Outcome, Runner, Submission, available_runner, check_limits, grade, processes
from ...stats import pass_at_k
from ...types import Prompt
from ..suite import Case, Column, check_suite, sampling_of, version_of
from .extraction import extract_code
from .problems import Problem, load_problems, own_problems

Style = Literal["chat", "completion"]

_STOPS = ["\ndef ", "\nclass ", "\nif ", "\nprint(", "\n@", "\n#"]
"""Where a body that is continued has ended: extraction cuts there anyway, this saves the tokens."""

_FAILURES = {  # kind of outcome: figure, label
    "wrong": ("wrong_answer", "Gives a wrong result"),
    "raised": ("raised_error", "Raises an error"),
    "syntax": ("syntax_error", "Is no Python"),
    "timeout": ("timed_out", "Runs out of time"),
    "memory": ("out_of_memory", "Runs out of memory"),
    "ended": ("ended_early", "Ends or crashes before the tests do"),
    "no_code": ("no_code", "Answers without code"),
    "test": ("untestable", "Tests could not be run on it"),
}


class CodeSuite:
    """Programming problems and the share of answers that pass all of their tests. Made by [`code_suite`]."""

    name = "code"

    def __init__(
        self,
        problems: Sequence[Problem],
        ks: Sequence[int],
        samples: int,
        sampling: Mapping[str, Any] | None,
        style: Style,
        runner: Runner,
        limits: Mapping[str, Any],
    ):
        self.problems = {problem.id: problem for problem in problems}
        self.ks, self.samples = sorted({1, *ks}), samples
        self.runner, self.limits = runner, dict(limits)
        self.cases = [_case(problem, style) for problem in problems]
        continued = style == "completion" and all(problem.prefix for problem in problems)
        stops = {"stop": _STOPS} if continued else {}
        self.sampling = sampling_of(sampling, samples, max_new_tokens=512, temperature=0.8, **stops)
        self.figures: Sequence[str] = (
            *(f"pass_at_{k}" for k in self.ks),
            *(figure for figure, _ in _FAILURES.values()),
        )
        kept = {key: value for key, value in self.limits.items() if key != "max_workers"}
        self.version = version_of(
            self.cases, name=self.name, samples=samples, sampling=self.sampling, ks=self.ks, **kept
        )
        check_suite(self)

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """pass@1 and kinds of failure for each answer, pass@k for each problem."""
        kinds = self._kinds(cases, answers)
        passed: list[float | None] = [float(kind == "passed") for kind in kinds]
        note = "All tests of a problem passed, in a sandbox."
        columns = [Column("pass_at_1", "Solves (pass@1)", passed, better="higher", note=note, by_category=True)]
        for k in self.ks[1:]:
            columns.append(
                Column(
                    f"pass_at_{k}",
                    f"Solves in {k} attempts (pass@{k})",
                    self._pass_at(k, cases, kinds),
                    better="higher",
                    per="case",
                    note=f"Unbiased, from {self.samples} answers a problem; a problem with fewer than {k} answers is left out.",
                    by_category=True,
                )
            )
        for failure, (figure, label) in _FAILURES.items():
            values: list[float | None] = [float(kind == failure) for kind in kinds]
            columns.append(Column(figure, label, values, better="lower", by_category=True))
        return columns

    def _kinds(self, cases: Sequence[Case], answers: Sequence[str]) -> list[str]:
        """What became of each answer: of its first test that did not pass."""
        submissions: list[Submission | None] = []
        for case, answer in zip(cases, answers, strict=True):
            problem = self.problems[case.id]
            code = extract_code(answer, problem.prefix, problem.entry_point)
            submissions.append(None if code is None else problem.submission(code))
        given = [submission for submission in submissions if submission is not None]
        # disable=None: shown on terminals alone
        with tqdm(total=processes(given), desc="tests of the code", unit="run", disable=None) as bar:
            graded = iter(grade(given, self.runner, **self.limits, done=bar.update))
        return ["no_code" if submission is None else _worst(next(graded)) for submission in submissions]

    def _pass_at(self, k: int, cases: Sequence[Case], kinds: Sequence[str]) -> list[float | None]:
        counts: dict[str, tuple[int, int]] = {}
        for case, kind in zip(cases, kinds, strict=True):
            answers, right = counts.get(case.id, (0, 0))
            counts[case.id] = answers + 1, right + (kind == "passed")
        return [pass_at_k(n, c, k) if n >= k else None for n, c in counts.values()]


def _worst(outcomes: Sequence[Outcome]) -> str:
    return next((outcome.kind for outcome in outcomes if not outcome.passed), "passed")


def code_suite(
    problems: Sequence[Problem] | str | Path | None = None,
    ks: Sequence[int] = (1,),
    samples: int = 1,
    sampling: Mapping[str, Any] | None = None,
    style: Style = "chat",
    timeout_s: float = 10.0,
    memory_mb: int = 512,
    max_workers: int | None = None,
    isolated: bool = True,
    runner: Runner | None = None,
    allow_unsandboxed: bool = False,
) -> CodeSuite:
    """Programming problems for [`~rlhf_ext.evaluation.running.run_suite`], `rlhf-ext evaluate` and the rest.

    Figures: `pass_at_1` and `pass_at_k` for each of `ks`; of all answers the share with a wrong result, an error, no valid
    Python, no code at all, that run out of time or memory, or end early. Answers run as those of
    [`~rlhf_ext.rewards.functions.CodeTests`] do, by [`~rlhf_ext.sandbox.grade`].

    Args:
        problems (`Sequence[Problem]`, `str` or `Path`, *optional*):
            Problems, or what [`load_problems`] reads (`"humaneval"`, a file). By default the project's own 36.
        ks (`Sequence[int]`, *optional*, defaults to `(1,)`):
            Numbers of attempts; each needs as many samples.
        samples (`int`, *optional*, defaults to `1`):
            Answers a problem. More than the largest of `ks` make pass@k more certain.
        sampling (`dict`, *optional*):
            How answers are sampled, over the defaults: greedy for one sample and temperature 0.8 for several, up to 512
            tokens.
        style (`str`, *optional*, defaults to `"chat"`):
            `"chat"` asks for code in a message; `"completion"` gives a base model the code to go on with, and stops it at the
            end of the function (unless `sampling` has a `stop` of its own).
        timeout_s (`float`, *optional*, defaults to `10.0`), memory_mb (`int`, *optional*, defaults to `512`):
            Seconds and MiB that an answer's tests may take.
        max_workers (`int`, *optional*):
            Answers run at a time; by default as many as there are processors.
        isolated (`bool`, *optional*, defaults to `True`):
            `False` runs tests in the process of the code, which can then fake what they see.
        runner ([`~rlhf_ext.sandbox.Runner`], *optional*):
            Where code runs. By default the sandbox of this machine.
        allow_unsandboxed (`bool`, *optional*, defaults to `False`):
            Where that is not available, runs it with your rights, and warns.

    Returns:
        [`CodeSuite`]

    Raises:
        SandboxUnavailable: If code cannot be contained, and `allow_unsandboxed` was not said.
        ValueError: If `ks` asks for more than `samples` answers, a setting is out of range, or as [`load_problems`].

    Example:

    ```python
    >>> from rlhf_ext.evaluation.coding import code_suite
    >>> suite = code_suite(ks=(1, 2), samples=2)
    >>> answers = ["~~~python\\ndef count_vowels(text):\\n    return sum(text.lower().count(v) for v in 'aeiou')\\n~~~", "No."]
    >>> first, second = suite.measure([suite.cases[0]] * 2, answers)[:2]
    >>> first.values, second.values
    ([1.0, 0.0], [1.0])

    ```
    """
    if style not in ("chat", "completion"):
        raise ValueError(f"`style` should be 'chat' or 'completion', got {style!r}.")
    if wrong := [k for k in ks if not isinstance(k, int) or k < 1]:
        raise ValueError(f"`ks` should be whole numbers of at least 1, got {wrong[0]!r}.")
    if ks and max(ks) > samples:
        raise ValueError(
            f"pass@{max(ks)} needs at least {max(ks)} samples a problem, and `samples` is {samples}: raise it, or lower `ks`."
        )
    check_limits(timeout_s, memory_mb, max_workers=max_workers)
    limits = {"timeout_s": timeout_s, "memory_mb": memory_mb, "max_workers": max_workers, "isolated": isolated}
    if problems is None:
        problems = own_problems()
    elif isinstance(problems, str | Path):
        problems = load_problems(problems)
    return CodeSuite(problems, ks, samples, sampling, style, available_runner(runner, allow_unsandboxed), limits)


def _case(problem: Problem, style: Style) -> Case:
    columns = {
        key: value for key, value in asdict(problem).items() if key in ("tests", "setup", "entry_point", "names")
    }
    return Case(problem.id, _chat(problem) if style == "chat" else _start(problem), problem.category, columns)


def _chat(problem: Problem) -> Prompt:
    if problem.prefix:
        asked = f"Complete this Python function:\n\n```python\n{problem.prefix.rstrip()}\n```"
        return [{"role": "user", "content": f"{asked}\n\nAnswer with the whole function in one ```python block."}]
    return [{"role": "user", "content": f"{problem.text}\n\nAnswer with the code in one ```python block."}]


def _start(problem: Problem) -> Prompt:
    return problem.prefix or f'"""\n{problem.text}\n"""\n'
