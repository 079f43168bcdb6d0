"""What came out of critique and revision: every step of every prompt, ready for JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..types import Prompt
from .asking import Verdict

STOPS = {
    "no_objection": "no principle that was asked objects to the answer",
    "rounds": "all rounds are used",
    "empty": "the revision is empty",
    "meta_talk": "the revision talks about being one, or repeats the instructions",
    "unchanged": "the revision is an answer that was there before",
    "drifted": "the revision drifted from the question",
    "not_improved": "the judge finds the revision no better than what it revises",
    "judge_abstained": "the judge abstained on the revision",
    "unanswered": "the model gave no answer: it failed, was refused, or the prompt is too long",
}
"""Why the rounds of a prompt ended, by the name that [`Revision`] records."""


@dataclass(frozen=True)
class RevisionStep:
    """One round of one prompt.

    Attributes:
        round (`int`): Its number, from 1.
        principle, category (`str`): What the answer was held to.
        critique (`str`): The critique, without its verdict.
        verdict (`str`): `"keep"`, `"revise"`, or `"unreadable"`, which counts as an objection.
        revision (`str`, *optional*): The revised answer; None where the critic did not object.
        relevance (`float`, *optional*): How close it stays to the question; None where that was not asked, or does not apply.
        improvement (`float`, *optional*): The judge's p(revision is better than what it revises); None without a judge, or
            where it abstained.
        rejected (`str`, *optional*): Why the revision was not taken, see [`STOPS`]; None where it was, or there is none.
    """

    round: int
    principle: str
    category: str
    critique: str
    verdict: Verdict
    revision: str | None = None
    relevance: float | None = None
    improvement: float | None = None
    rejected: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the revision took the place of the answer."""
        return self.revision is not None and self.rejected is None


@dataclass(frozen=True)
class Revision:
    """A prompt, its first answer, and what became of it.

    Attributes:
        prompt (`str` or `list[dict]`): As it was given.
        first (`str`): The first answer.
        steps (`tuple[RevisionStep, ...]`): The rounds, in order.
        stopped (`str`): Why they ended: a key of [`STOPS`].
        improvement (`float`, *optional*): The judge's p(last answer is better than the first); None without a judge, where
            it abstained, or where nothing was revised.
    """

    prompt: Prompt
    first: str
    steps: tuple[RevisionStep, ...]
    stopped: str
    improvement: float | None = None

    @property
    def last(self) -> str:
        """The last answer that was taken; the first where none was."""
        return next((step.revision for step in reversed(self.steps) if step.accepted and step.revision), self.first)

    @property
    def revised(self) -> bool:
        """Whether a revision was taken."""
        return any(step.accepted for step in self.steps)

    @property
    def objected(self) -> bool:
        """Whether any critique objected to an answer."""
        return any(step.verdict != "keep" for step in self.steps)

    @property
    def principles(self) -> list[str]:
        """The principles by which the answer was revised, in order."""
        return [step.principle for step in self.steps if step.accepted]


@dataclass(frozen=True)
class Revisions(Sequence[Revision]):
    """The outcome of [`critique_and_revise`]: a [`Revision`] for each prompt, in order, and where they come from.

    Attributes:
        rows (`tuple[Revision, ...]`): One a prompt.
        source (`str`): The constitution, by name, version and fingerprint.
        model (`str`, *optional*): Who wrote.
        judge (`str`, *optional*): Who judged; None where nobody did.
    """

    rows: tuple[Revision, ...]
    source: str
    model: str | None = None
    judge: str | None = None

    def __getitem__(self, index: Any) -> Any:
        return replace(self, rows=self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Revision]:
        return iter(self.rows)

    def where(self, wanted: Callable[[Revision], bool]) -> Revisions:
        """The rows that are wanted."""
        return replace(self, rows=tuple(row for row in self.rows if wanted(row)))

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Revisions:
        """What `to_dict` gave, back again."""
        rows = [{**row, "steps": tuple(RevisionStep(**step) for step in row["steps"])} for row in data["rows"]]
        return cls(**{**data, "rows": tuple(Revision(**row) for row in rows)})

    def save(self, path: str | Path) -> None:
        """Writes everything to a JSON file, whole or not at all."""
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path) -> Revisions:
        """Reads what `save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
