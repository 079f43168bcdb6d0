"""What a judge is asked about pairs of answers: in both orders, as often as it votes, after its reasoning if it reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..data.store import Judgement
from ..types import Message
from .comparisons import Comparison
from .fitting import fitting_limit
from .job import Question, question_of
from .modes import Mode
from .rubric import CHOICES, PairRubric

UNFINISHED = "unfinished"
"""In place of an answer: the budget did not reach."""

Step = Literal["think", "ask"]
"""What a judge is asked for: its reasoning, its choice. A judge that writes both does so in `"think"`."""


@dataclass(frozen=True)
class PairQuestions:
    """Makes the questions about pairs.

    Args:
        judge (`str`): The judge's identity, part of each key.
        mode ([`Mode`]): How it is asked.
        reasoning (`bool`): Whether it compares in words first.
        max_reasoning_tokens (`int`): Room for these.
        seed (`int`): Of sampled votes.
        rubric_of (`Callable`): The rubric for a pair.
    """

    judge: str
    mode: Mode
    reasoning: bool
    max_reasoning_tokens: int
    seed: int
    rubric_of: Callable[[Comparison], PairRubric]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it is asked, one after the other."""
        if not self.reasoning:
            return ("ask",)
        return ("think", "ask") if self.mode.reads_logprobs else ("think",)

    def choices(self, step: Step) -> list[str] | None:
        """The answers whose log-probabilities are wanted; None where text is."""
        return list(CHOICES) if step == "ask" and self.mode.reads_logprobs else None

    def sampling(self, step: Step) -> dict[str, Any]:
        """How text is written."""
        if self.choices(step):
            return {}
        room = self.max_reasoning_tokens if self.reasoning else 16
        return {"max_new_tokens": room, "temperature": self.mode.temperature}

    def of(
        self, pairs: Sequence[Comparison], step: Step, thoughts: Sequence[Judgement | str] | None = None
    ) -> list[Question | str]:
        """The questions of all pairs: for each both orders, and for each of these all votes.

        Args:
            pairs (`list[Comparison]`): The pairs.
            step (`str`): What is asked for.
            thoughts (`list`, *optional*): What came of the step before, question by question. Where that is no reasoning, the
                reason stands in the question's place.
        """
        found: list[Question | str] = []
        choices, sampling = self.choices(step), self.sampling(step)
        after = iter(thoughts or ())
        for pair in pairs:
            version = self.rubric_of(pair).version
            for order in (0, 1):
                for vote in range(self.mode.votes):
                    thought = next(after) if thoughts is not None else None
                    if missing := _missing(thought):
                        found.append(missing)
                        continue
                    words = thought.result["text"] if isinstance(thought, Judgement) and thought.result else None
                    parts = {"model": self.judge, "rubric": version, "order": order, "vote": vote}
                    messages = self.messages(pair, order, step, words)
                    found.append(
                        question_of(messages, self.seed, kind=step, choices=choices, sampling=sampling, **parts)
                    )
        return found

    def messages(self, pair: Comparison, order: int, step: Step, words: str | None = None) -> list[Message]:
        """One question, as messages."""
        rubric, written = self.rubric_of(pair), not self.mode.reads_logprobs
        first, second = (pair.second, pair.first) if order else (pair.first, pair.second)
        if step == "think":
            return rubric.think(pair.prompt, first, second, written, pair.limit)
        return rubric.ask(pair.prompt, first, second, written, words, pair.limit)

    def fitted(self, pairs: Sequence[Comparison], generator: Any) -> list[Comparison]:
        """Pairs with as much of their texts as the judge's window has room for, in either order and step."""

        def limit(pair: Comparison) -> int | None:
            texts = [pair.prompt, pair.first, pair.second]
            return fitting_limit(texts, lambda limit: self._fits(replace(pair, limit=limit), generator))

        return [replace(pair, limit=limit(pair)) for pair in pairs]

    def _fits(self, pair: Comparison, generator: Any) -> bool:
        for step in self.steps:
            choices, sampling, words = self.choices(step), self.sampling(step), None
            if (
                step == "ask" and self.reasoning
            ):  # the reasoning is not written yet: room for the longest, and for a choice
                choices, sampling, words = None, {"max_new_tokens": self.max_reasoning_tokens + len(CHOICES)}, ""
            for order in (0, 1):
                if not generator.fits(self.messages(pair, order, step, words), choices, **sampling):
                    return False
        return True


def _missing(thought: Judgement | str | None) -> str | None:
    """Why there is no reasoning where there should be."""
    if isinstance(thought, Judgement):
        return None if thought.result is not None else f"failed: no reasoning: {thought.failure}"
    return thought
