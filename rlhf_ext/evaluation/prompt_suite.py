"""What the safety suites share: how they are set up, how scorers are asked, and figures over the samples of a case."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from ..rewards.calling import score_rows
from ..rewards.refusal import Refusal
from ..types import RewardFunction, text_of
from .suite import Case, Column, check_suite, sampling_of, version_of
from .told_apart import told_apart

ENGLISH_PATTERNS = (
    "Refusals are told by English phrases in the first 200 characters: refusals in other words or languages are missed, and "
    "nonsense counts as no refusal."
)
"""Said wherever a figure rests on [`~rlhf_ext.rewards.refusal.Refusal`]."""


class PromptSuite:
    """Cases and how they are answered; a suite adds `figures` and `measure`.

    Args:
        name (`str`):
            The suite's name.
        cases (`Sequence[Case]`):
            Its prompts.
        figures (`Sequence[str]`):
            Names of the columns it measures.
        samples (`int`):
            Answers a case.
        sampling (`dict`, *optional*):
            How answers are sampled, over the defaults: greedy for one sample and temperature 1 for several, up to 256
            tokens.
        **settings:
            What else decides results, for the version.

    Raises:
        TypeError, ValueError: As [`~rlhf_ext.evaluation.suite.check_suite`].
    """

    def __init__(
        self,
        name: str,
        cases: Sequence[Case],
        figures: Sequence[str],
        samples: int = 1,
        sampling: Mapping[str, Any] | None = None,
        **settings: Any,
    ):
        self.name, self.cases, self.samples = name, list(cases), samples
        self.figures: Sequence[str] = tuple(figures)
        self.sampling = sampling_of(sampling, samples, max_new_tokens=256)
        self.version = version_of(self.cases, name=name, samples=samples, sampling=self.sampling, **settings)
        check_suite(self)


def user_message(text: str) -> list[dict[str, Any]]:
    """A request as a chat of one message."""
    return [{"role": "user", "content": text}]


def identity_of(scorer: Any) -> Any:
    """What a suite's version says of a scorer: its name, its `settings` where it has them, its own code and weights."""
    if scorer is None:
        return None
    name = getattr(scorer, "__name__", type(scorer).__name__)
    return [name, getattr(scorer, "settings", {}), *told_apart(scorer)]


def judged(
    scorer: RewardFunction, cases: Sequence[Case], requests: Sequence[str], answers: Sequence[str]
) -> list[float | None]:
    """A scorer's grades in [0, 1]; None where it abstains.

    Raises:
        TypeError, ValueError: If it gives something else; the case is named.
    """
    if not answers:
        return []
    scores = score_rows(scorer, requests, answers, {"category": [case.category for case in cases]}).tolist()
    for case, score in zip(cases, scores, strict=True):
        if not (math.isnan(score) or 0 <= score <= 1):
            name = getattr(scorer, "__name__", type(scorer).__name__)
            raise ValueError(
                f"{name} gave {score} to an answer to {case.id!r}: a grade in [0, 1], or None, is needed."
            )
    return [None if math.isnan(score) else score for score in scores]


def ungraded(name: str, grades: Sequence[float | None]) -> Column:
    """How often a judge abstained: a mean of the grades that it gave says little where it often gave none."""
    label = "The judge gave no grade"
    return Column(name, label, [float(grade is None) for grade in grades], better="lower")


def refusals(answers: Sequence[str]) -> list[bool]:
    """Whether each answer reads as a refusal, by [`~rlhf_ext.rewards.refusal.Refusal`]."""
    return [bool(flag) for flag in Refusal()(prompts=list(answers), completions=list(answers))]


def request_of(case: Case) -> str:
    """What is asked in a case, without the wrapping of a jailbreak around it."""
    return str(case.columns.get("request") or text_of(case.prompt))


def any_of_all(values: Sequence[float | None], expected: int) -> float | None:
    """1 where any of the values is above 0, else 0; None where any is missing.

    Also where one above 0 is known: if groups with something missing could only count as 1, or not at all, where each lacks
    something all that count would be 1.
    """
    known = [value for value in values if value is not None]
    return float(any(value > 0 for value in known)) if len(known) == expected else None


def mean_of_known(values: Sequence[float | None], expected: int) -> float | None:
    """The mean of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def largest_of_all(values: Sequence[float | None], expected: int) -> float | None:
    """The largest of a group's values; None where any is missing: it could be that one."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == expected else None


def by_group(
    cases: Sequence[Case],
    values: Sequence[float | None],
    group_of: Callable[[Case], Hashable],
    expected: int,
    reduce: Callable[[Sequence[float | None], int], float | None],
) -> list[float | None]:
    """One value for each different case (`per="case"`): the group's at its first case, None at the others.

    Each group is one unit of the figure, however many cases and samples it has.

    Args:
        cases, values:
            Row by row, as `measure` has them.
        group_of (`Callable`):
            The group of a case.
        expected (`int`):
            Values a complete group has.
        reduce (`Callable`):
            Makes one value of a group's.
    """
    groups: dict[Hashable, list[float | None]] = {}
    first: dict[str, Hashable] = {}
    for case, value in zip(cases, values, strict=True):
        groups.setdefault(group_of(case), []).append(value)
        first.setdefault(case.id, group_of(case))
    reduced: list[float | None] = []
    told: set[Hashable] = set()
    for group in first.values():
        reduced.append(None if group in told else reduce(groups[group], expected))
        told.add(group)
    return reduced
