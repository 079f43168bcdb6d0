"""The rounds of critique and revision, batched over prompts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm
from transformers.utils import logging

from ..data.journal import Journal
from ..generation import Answer, Request
from ..rewards.calling import Signed, checked_scores, like_prompt, score_rows
from ..rewards.refusal import Refusal
from ..types import Completion, Generator, PairwiseJudge, Prompt, RewardFunction, text_of
from .asking import critique_request, is_meta_talk, read_critique, read_revision, revision_request
from .principles import Constitution, Principle
from .steps import Revision, RevisionStep

logger = logging.get_logger(__name__)


@dataclass
class Row:
    """A prompt on its way through the rounds."""

    key: str
    prompt: Prompt
    answer: str
    before: list[str] = field(default_factory=list)
    """The answers that the present one came from, the first in front."""
    steps: list[RevisionStep] = field(default_factory=list)
    kept_by: set[str] = field(default_factory=set)
    """The principles that did not object to the present answer."""
    stopped: str | None = None

    @property
    def first(self) -> str:
        return self.before[0] if self.before else self.answer


@dataclass
class _Proposal:
    """A revision that is to be checked."""

    row: Row
    principle: Principle
    text: str
    step: dict[str, Any]
    """The fields of the step, as far as they are known."""

    @property
    def rejected(self) -> bool:
        return self.step.get("rejected") is not None


@dataclass
class Reviser:
    """Takes batches of rows through the rounds; see [`critique_and_revise`] for what the fields mean."""

    generator: Generator
    constitution: Constitution
    journal: Journal
    judge: PairwiseJudge | None
    relevance: RewardFunction
    bar: tqdm
    sampling: dict[str, Any]
    min_relevance: float | None
    rounds: int
    patience: int | None
    seed: int

    def revise(self, rows: list[Row], write: bool) -> list[Revision]:
        """All rounds of a batch, and its records; with `write`, the first answers too."""
        if write:
            for row, text in zip(rows, self._write("answers", 0, rows, [row.prompt for row in rows]), strict=True):
                row.answer, row.stopped = text or "", "unanswered" if text is None else None
            self.bar.update(sum(row.stopped is not None for row in rows))
        for turn in range(1, self.rounds + 1):
            active = [row for row in rows if row.stopped is None]
            if not active:
                break
            self._round(turn, active)
            self.bar.update(sum(row.stopped is not None for row in active))
        for row in rows:
            if row.stopped is None:
                row.stopped = "rounds"
                self.bar.update()
        overall = self._overall(rows)
        return [
            Revision(row.prompt, row.first, tuple(row.steps), str(row.stopped), overall.get(row.key)) for row in rows
        ]

    def _round(self, turn: int, rows: list[Row]) -> None:
        proposals = self._propose(turn, rows)
        for check in (self._check_text, self._check_relevance, self._check_judge):
            check(turn, [proposal for proposal in proposals if not proposal.rejected])
        for proposal in proposals:
            row, step = proposal.row, RevisionStep(revision=proposal.text, **proposal.step)
            row.steps.append(step)
            if step.accepted:
                row.before.append(row.answer)
                row.answer, row.kept_by = proposal.text, set()
            else:
                row.stopped = step.rejected

    def _propose(self, turn: int, rows: list[Row]) -> list[_Proposal]:
        """Criticises all rows; rewrites those to which the critic objects."""
        drawn = [self.constitution.drawn(row.key, turn - 1, self.seed) for row in rows]
        requests = [critique_request(row.prompt, row.answer, p) for row, p in zip(rows, drawn, strict=True)]
        critiques = self._write("critiques", turn, rows, requests)
        objected: list[_Proposal] = []
        for row, principle, text in zip(rows, drawn, critiques, strict=True):
            if text is None:
                row.stopped = "unanswered"
                continue
            critique, verdict = read_critique(text)
            step: dict[str, Any] = {"round": turn, "principle": principle.name, "category": principle.category}
            step |= {"critique": critique, "verdict": verdict}
            if verdict != "keep":
                objected.append(_Proposal(row, principle, "", step))
                continue
            row.steps.append(RevisionStep(**step))
            row.kept_by.add(principle.name)
            if len(row.kept_by) >= min(self.patience or math.inf, len(self.constitution)):
                row.stopped = "no_objection"
        requests = [revision_request(p.row.prompt, p.row.answer, p.step["critique"], p.principle) for p in objected]
        revisions = self._write("revisions", turn, [p.row for p in objected], requests)
        for proposal, text in zip(objected, revisions, strict=True):
            proposal.text = read_revision(text or "")
            if text is None:
                proposal.step["rejected"] = "unanswered"
        return objected

    def _check_text(self, turn: int, proposals: list[_Proposal]) -> None:
        for proposal in proposals:
            row, text = proposal.row, proposal.text
            if not text:
                proposal.step["rejected"] = "empty"
            elif _same(text) in map(_same, [*row.before, row.answer]):
                proposal.step["rejected"] = "unchanged"
            elif is_meta_talk(text, text_of(row.prompt), row.answer, proposal.principle):
                proposal.step["rejected"] = "meta_talk"

    def _check_relevance(self, turn: int, proposals: list[_Proposal]) -> None:
        refuses = Refusal()(prompts=[], completions=[proposal.text for proposal in proposals])
        proposals = [proposal for proposal, refused in zip(proposals, refuses, strict=True) if not refused]
        if self.min_relevance is None or not proposals:
            return

        def score(asked: list[int]) -> list[float | None]:
            rows = [proposals[index].row for index in asked]
            columns = {
                "question": [text_of(_last(row.prompt)) for row in rows],
                "first_answer": [row.first for row in rows],
            }
            texts = _completions(rows, [proposals[index].text for index in asked])
            scores = score_rows(self.relevance, [row.prompt for row in rows], texts, columns)
            return [None if math.isnan(value) else value for value in scores.tolist()]

        scores = self.journal.ask("relevance", turn, [proposal.row.key for proposal in proposals], score)
        for proposal, value in zip(proposals, scores, strict=True):
            proposal.step["relevance"] = value
            if value is not None and value < self.min_relevance:
                proposal.step["rejected"] = "drifted"

    def _check_judge(self, turn: int, proposals: list[_Proposal]) -> None:
        if self.judge is None:
            return
        rows = [proposal.row for proposal in proposals]
        better = self._compare(
            "judgements", turn, rows, [proposal.text for proposal in proposals], [row.answer for row in rows]
        )
        for proposal, p in zip(proposals, better, strict=True):
            proposal.step["improvement"] = p
            if p is None:
                proposal.step["rejected"] = "judge_abstained"
            elif p <= 0.5:
                proposal.step["rejected"] = "not_improved"

    def _overall(self, rows: list[Row]) -> dict[str, float | None]:
        """p(last answer is better than the first): known from the one step where there was one, else asked for."""
        if self.judge is None:
            return {}
        once = {
            row.key: step.improvement for row in rows if len(row.before) == 1 for step in row.steps if step.accepted
        }
        more = [row for row in rows if len(row.before) > 1]
        better = self._compare(
            "last against first", 0, more, [row.answer for row in more], [row.first for row in more]
        )
        return {**once, **{row.key: p for row, p in zip(more, better, strict=True)}}

    def _write(self, stage: str, turn: int, rows: list[Row], requests: Sequence[Prompt]) -> list[str | None]:
        def write(asked: list[int]) -> list[str | None]:
            seed = _seed(self.seed, stage, turn, [rows[index].key for index in asked])
            return written(self.generator, [requests[index] for index in asked], self.sampling, seed)

        return self._ask(stage, turn, rows, write)

    def _compare(self, stage: str, turn: int, rows: list[Row], new: list[str], old: list[str]) -> list[float | None]:
        def compare(asked: list[int]) -> list[float | None]:
            assert self.judge is not None
            chosen = [rows[index] for index in asked]
            first, second = (_completions(chosen, [texts[index] for index in asked]) for texts in (new, old))
            return compared(self.judge, [row.prompt for row in chosen], first, second)

        return self._ask(stage, turn, rows, compare)

    def _ask(self, stage: str, turn: int, rows: list[Row], compute: Callable[[list[int]], Any]) -> list[Any]:
        self.bar.set_postfix_str(f"round {turn}, {stage}" if turn else stage)
        with Signed(f"the call for {stage}{f' in round {turn}' if turn else ''}", [row.prompt for row in rows]):
            return self.journal.ask(stage, turn, [row.key for row in rows], compute)


def written(generator: Any, prompts: Sequence[Prompt], sampling: dict[str, Any], seed: int) -> list[str | None]:
    """A text for each prompt; None where a single one got no answer, with a warning that says why.

    Raises:
        Unanswered, PromptTooLong: If none got one: then it is not the prompts.
        ValueError: If the generator does not give a text for each prompt.
    """
    if not callable(getattr(generator, "each", None)):
        texts = generator.generate(prompts, **{**sampling, "seed": seed})
        if len(texts) != len(prompts) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"The generator gave {texts!r:.200} where {len(prompts)} texts were asked for.")
        return texts
    found: list[str | None] = [None] * len(prompts)
    failures: list[Exception] = []
    requests = [Request(prompt, seed + index) for index, prompt in enumerate(prompts)]
    for index, answer in generator.each(requests, **sampling):
        if isinstance(answer, Answer):
            found[index] = answer.text
        else:
            failures.append(answer)
            logger.warning(f"No answer to {text_of(prompts[index])!r:.200}: {answer}")
    if failures and len(failures) == len(prompts):
        raise failures[0]
    return found


def compared(
    judge: PairwiseJudge, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]
) -> list[float | None]:
    """What a judge says, checked: p(first is better) in [0, 1] or None for each row.

    Raises:
        TypeError, ValueError: If it says anything else; the row is named.
    """
    found = checked_scores("The judge", judge.compare(list(prompts), list(first), list(second)), first)
    for row, p in enumerate(found):
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"The judge gave {p} for row {row}: p(first is better) lies in [0, 1].")
    return found


def _completions(rows: list[Row], texts: list[str]) -> list[Completion]:
    return [like_prompt(row.prompt, text) for row, text in zip(rows, texts, strict=True)]


def _last(prompt: Prompt) -> Prompt:
    return prompt if isinstance(prompt, str) else prompt[-1:]


def _same(text: str) -> str:
    return " ".join(text.split())


def _seed(seed: int, stage: str, turn: int, keys: list[str]) -> int:
    """A seed for each call: with one for all, a repeated prompt would get the same text in each batch."""
    digest = hashlib.sha256("/".join([str(seed), stage, str(turn), *keys]).encode()).digest()
    return int.from_bytes(digest[:4], "big")
