"""Answers with their grades, and what is known of the grades."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..data.store import Judgement
from ..rewards.functions.judged import read_grade
from ..stats import Estimate, paired_difference, wilson
from .grades import Grades
from .judge import read_text
from .measures import votes_alpha
from .valued import Valued


@dataclass(frozen=True)
class GradedAnswer(Valued):
    """An answer with its grades.

    Args:
        row (`int`), response (`str` or `list[dict]`): Index of its row, and the answer.
        value (`float`, *optional*): The expected grade over all aspects by their weights, in [1, 10]. None where a grade is
            missing.
        reason (`str`, *optional*): Why it is: `failed: ...`, `unreadable: ...`, or `unfinished` where the budget did not reach.
        grades (`dict[str, Grades]`): By aspect. Empty where `value` is None.
        votes (`dict[str, list]`): By aspect, the grades that the judge wrote; None for what was none.
        characters_cut (`int`): Of request and answer, characters that the judge was not shown; see `truncate`.
    """

    grades: Mapping[str, Grades] = field(default_factory=dict)
    votes: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    characters_cut: int = 0


def read_votes(votes: Sequence[Judgement]) -> tuple[Grades, list[float | None]] | str:
    """One answer's grades by one aspect, with the single votes if they are written; or why there are none."""
    if votes[0].result is not None and "logprobs" in votes[0].result:
        return Grades(tuple(math.exp(logprob) for logprob in votes[0].result["logprobs"])), []
    words = [read_text(vote, read_grade) for vote in votes]
    read = [word if isinstance(word, float) else None for word in words]
    grades = [grade for grade in read if grade is not None]
    return (Grades.of_votes(grades), read) if grades else next(word for word in words if isinstance(word, str))


def grade_measures(answers: Sequence[GradedAnswer], aspects: Sequence[str], truncate: bool) -> dict[str, Estimate]:
    """The share of answers that got grades; by aspect, the mean grade and how far votes agree (Krippendorff's alpha)."""
    graded = [answer for answer in answers if answer.value is not None]
    found = {"graded": wilson(len(graded), len(answers))} if answers else {}
    if truncate and graded:
        found["truncated"] = wilson(sum(answer.characters_cut > 0 for answer in graded), len(graded))
    for aspect in aspects if graded else []:
        means = [answer.grades[aspect].mean for answer in graded]
        rows = [answer.row for answer in graded]
        found[f"grade_{aspect}"] = paired_difference([0.0] * len(means), means, clusters=rows)
        if alpha := votes_alpha([answer.votes[aspect] for answer in graded]):
            found[f"votes_alpha_{aspect}"] = alpha
    return found
