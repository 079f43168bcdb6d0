"""Grades from a judge that looks at one answer at a time, and preferences from grades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..data.store import Judgement, JudgementStore
from ..rewards.functions.judged import grade_request
from ..types import Completion, Message, Prompt, text_of
from .aspects import ASPECTS, Aspect, as_aspects, version_of
from .budget import Budget, BudgetUsedUp, CostEstimate
from .comparisons import Row, rows_of, several
from .fitting import characters_cut, fitting_limit
from .graded import GradedAnswer, grade_measures, read_votes
from .grades import outcome, weighted_mean
from .job import JudgementJob, Question, question_of
from .judge import JudgeLabeler
from .result import LabelResult
from .valued import Pairs, abstention, check_pairs, count_pairs, prefer

DIGITS = [str(digit) for digit in range(10)]
"""Grades as a judge's log-probabilities are read: 0 to 9 for 1 to 10, each one token."""
_UNFINISHED = "unfinished"


class ScoreLabeler(JudgeLabeler):
    """Grades answers from 1 to 10 by a language model that judges them, and makes preferences of the grades.

    Direct scoring (d-RLAIF, [2309.00267](https://huggingface.co/papers/2309.00267)), by one rubric or by several aspects, each
    asked for by itself, as UltraFeedback does ([2310.01377](https://huggingface.co/papers/2310.01377)). It asks what
    [`~rlhf_ext.rewards.functions.JudgeScore`] asks. n answers take n questions an aspect, where comparing all pairs takes
    n (n - 1), and no order can bias them; on answers of like quality a judge that compares sees finer differences.

    From a judge whose log-probabilities can be read, a grade is a distribution over the ten grades; otherwise it is the share
    of `votes` that it writes. A label is P(A > B) + P(A = B) / 2 for the weighted means of the two answers' grades, which are
    taken as independent over answers and aspects. A single written grade is taken at its word: then labels are certain.

    What is no grade is never counted as one: the answer is left out with the reason. Of several votes those that can be read
    count. It is a [`~rlhf_ext.types.PairwiseJudge`] as well ([`compare`]).

    Args:
        generator: The judge: a [`LocalGenerator`], an [`EndpointGenerator`] (which is probed first for what it can do), a
            [`ScriptedGenerator`].
        aspects (`str`, [`Aspect`] or a list of them, *optional*): A rubric in words, or aspects: names among
            [`~rlhf_ext.labelers.ASPECTS`] or your own. By default UltraFeedback's four, weighted alike.
        mode (`str`, *optional*, defaults to `"auto"`): `"logprobs"`, `"text"`, or what the generator can do.
        votes (`int`, *optional*, defaults to `1`): In text mode, how often each grade is asked for; more than one is sampled.
        temperature (`float`, *optional*, defaults to `0.7`): Of sampled votes.
        min_confidence (`float`, *optional*, defaults to `0.5`): Least max(p, 1 - p) for a label, in [0.5, 1].
        truncate (`bool`, *optional*, defaults to `False`): Whether the longest of request and answers is shortened until a
            question fits into the judge's window, for a [`LocalGenerator`]. The middle is left out, marked, alike in all of a row's questions;
            `characters_cut` says how much. By default what is too long is left out with the reason.
        model (`str`, *optional*): The judge's name in provenance and keys. By default the generator's.
        store (`str`, `Path` or [`~rlhf_ext.data.store.JudgementStore`], *optional*): Where judgements are kept: a file or a URL.
            By default one that is gone with the process: then a run that is stopped begins anew.
        budget ([`Budget`], *optional*): Hard limits and prices.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar.
        retry_failed (`bool`, *optional*, defaults to `False`): Whether what failed in an earlier run is asked again.
        seed (`int`, *optional*, defaults to `0`): Seed of sampled votes.

    Raises:
        ValueError: If a setting is out of range, an aspect is unknown, or votes cannot differ.
        NotImplementedError: If the endpoint lacks what the mode needs; the message says what.
        ConnectionError: If the endpoint cannot be reached.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import ScoreLabeler
    >>> judge = ScriptedGenerator(lambda prompt, sampling: "9" if 'Response: "4"' in prompt[0]["content"] else "2")
    >>> labeler = ScoreLabeler(judge, "Correct answers are better.")
    >>> [answer.value for answer in labeler.score([{"prompt": "2 + 2?", "responses": ["5", "4"]}])]
    [2.0, 9.0]
    >>> label = labeler.label([{"prompt": "2 + 2?", "responses": ["5", "4"]}]).preferences[0]
    >>> label["chosen"], label["margin"], label["preference_strength"]
    ('4', 7.0, 1.0)

    ```
    """

    def __init__(
        self,
        generator: Any,
        aspects: str | Aspect | Sequence[str | Aspect] = tuple(ASPECTS),
        *,
        mode: Literal["auto", "logprobs", "text"] = "auto",
        votes: int = 1,
        temperature: float = 0.7,
        min_confidence: float = 0.5,
        truncate: bool = False,
        model: str | None = None,
        store: str | Path | JudgementStore | None = None,
        budget: Budget | None = None,
        progress: bool = False,
        retry_failed: bool = False,
        seed: int = 0,
    ):
        self.aspects = as_aspects(aspects)
        self.weights = [aspect.weight for aspect in self.aspects]
        super().__init__(
            generator,
            mode=mode,
            votes=votes,
            temperature=temperature,
            min_confidence=min_confidence,
            truncate=truncate,
            model=model,
            store=store,
            budget=budget,
            progress=progress,
            retry_failed=retry_failed,
            seed=seed,
        )
        self.__name__ = f"{self.model}/{self.annotator}"  # how stores of revisions tell judges apart

    @property
    def annotator(self) -> str:
        """The aspects and their version, for provenance."""
        return f"{'+'.join(aspect.name for aspect in self.aspects)}@{version_of(self.aspects)}"

    def score(self, rows: Iterable[Mapping[str, Any]]) -> list[GradedAnswer]:
        """Grades of all answers in rows with a `prompt` and its `responses` (or `chosen` and `rejected`), in order.

        The same call on the same store goes on where it was stopped.

        Raises:
            ValueError: If a row has no prompt or answers; it is named.
        """
        found = self._fitted(rows_of(rows))
        return [answer for answers in self._grade(found)[0] for answer in answers]

    def label(self, rows: Iterable[Mapping[str, Any]], pairs: Pairs = "best_worst") -> LabelResult:
        """Preferences between the answers of each row; `margin` is the difference of their expected grades.

        It abstains on ties, below `min_confidence`, and where the higher mean grade is not also the likelier to be higher. A
        row whose answers are not all graded yet is unfinished: the best of some need not be the best of all.

        Args:
            rows (`Dataset` or `list[dict]`): With a `prompt` and its `responses`, text or messages. Other columns are kept.
            pairs (`str`, *optional*, defaults to `"best_worst"`): `"best_worst"`, `"all"`, or `"best_of_rest"`, the best with
                each of the others.

        Returns:
            [`LabelResult`].

        Raises:
            ValueError: If `pairs` is unknown, a row has no prompt or answers (it is named), or no row has two different ones.
        """
        check_pairs(pairs)
        differing, left_out = several(rows)
        found = self._fitted(differing)
        graded, job = self._grade(found)
        whole, unfinished = [], 0
        for row, answers in zip(found, graded, strict=True):
            if any(answer.reason == _UNFINISHED for answer in answers):
                unfinished += count_pairs(len(answers), pairs)
            else:
                whole.append((row, answers))
        result = prefer(whole, pairs, self._better, self.min_confidence, self._provenance, self.model)
        return replace(
            result,
            left_out=left_out + result.left_out,
            measures=result.measures
            | grade_measures(
                [answer for _, answers in whole for answer in answers],
                [aspect.name for aspect in self.aspects],
                self.truncate,
            ),
            unfinished=unfinished,
            spent=vars(self.store.spent(job.name)),
        )

    def compare(
        self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]
    ) -> list[float | None]:
        """p(first is better) for each row, None where it abstains or an answer has no grade; equal answers are a tie.

        Raises:
            BudgetUsedUp: If the budget does not reach.
        """
        rows = [Row(row, one[0], one[1:], {}) for row, one in enumerate(zip(prompts, first, second, strict=True))]
        open_rows = [row for row in rows if len({text_of(response).strip() for response in row.responses}) > 1]
        found: list[float | None] = [0.5] * len(rows)
        for row, (one, other) in zip(open_rows, self._grade(self._fitted(open_rows))[0], strict=True):
            if _UNFINISHED in (one.reason, other.reason):
                raise BudgetUsedUp("The judge's budget is used up before all answers were graded.")
            found[row.row] = None
            if one.value is not None and other.value is not None:
                p = self._better(one, other)
                abstains = abstention(p, one.value - other.value, self.min_confidence)
                found[row.row] = None if abstains else p
        return found

    def estimate(self, rows: Iterable[Mapping[str, Any]], sample: int = 16) -> CostEstimate:
        """What labelling `rows` will take, from `sample` of its questions, which are asked, kept and paid for."""
        found = self._fitted(several(rows)[0])
        return self._job(found).estimate(self._questions(found), self._choices(), sample, **self._sampling())

    def _better(self, first: GradedAnswer, second: GradedAnswer) -> float:
        return outcome(list(first.grades.values()), list(second.grades.values()), self.weights).p

    def _grade(self, rows: Sequence[Row]) -> tuple[list[list[GradedAnswer]], JudgementJob]:
        """Grades of the answers of each row, and the job that they are counted under."""
        job = self._job(rows)
        if not rows:
            return [], job
        questions = self._questions(rows)
        answers = job.run(questions, self._choices(), **self._sampling())
        word = iter([answers.get(question.key) for question in questions])
        graded = []
        for row in rows:
            by_aspect = {
                aspect.name: [[next(word) for _ in range(self.mode.votes)] for _ in row.responses]
                for aspect in self.aspects
            }
            graded.append(
                [
                    self._graded(row, response, {name: votes[place] for name, votes in by_aspect.items()})
                    for place, response in enumerate(row.responses)
                ]
            )
        return graded, job

    def _job(self, rows: Sequence[Row]) -> JudgementJob:
        return self._new_job([version_of(self.aspects)], [[row.prompt, list(row.responses)] for row in rows])

    def _questions(self, rows: Sequence[Row]) -> list[Question]:
        """For each row its aspects, for each of these its answers, and for each of these all votes.

        A row's questions stand together, so that a budget which ends leaves whole rows; in it those of an aspect do, which
        begin alike and which a local judge reads together.
        """
        parts = {"kind": "grade", "model": self._judge_id, "choices": self._choices(), "sampling": self._sampling()}
        return [
            question_of(request, self.seed, vote=vote, **parts)
            for row in rows
            for request in self._requests(row)
            for vote in range(self.mode.votes)
        ]

    def _choices(self) -> list[str] | None:
        return DIGITS if self.mode.reads_logprobs else None

    def _sampling(self) -> dict[str, Any]:
        if self.mode.reads_logprobs:
            return {}
        return {"max_new_tokens": 16, "temperature": self.mode.temperature}

    def _fitted(self, rows: list[Row]) -> list[Row]:
        """With `truncate`, rows with as much of their texts as all their questions have room for."""

        def limit(row: Row) -> int | None:
            def fits(limit: int | None) -> bool:
                return all(
                    self.generator.fits(question, self._choices(), **self._sampling())
                    for question in self._requests(replace(row, limit=limit))
                )

            return fitting_limit([row.prompt, *row.responses], fits)

        return [replace(row, limit=limit(row)) for row in rows] if self.truncate else rows

    def _requests(self, row: Row) -> list[list[Message]]:
        """What is asked about a row: for each aspect its answers."""
        digits = self.mode.reads_logprobs
        return [
            grade_request(row.prompt, response, aspect.rubric, digits, row.limit)
            for aspect in self.aspects
            for response in row.responses
        ]

    def _graded(self, row: Row, response: Completion, words: Mapping[str, Sequence[Judgement | None]]) -> GradedAnswer:
        grades, written = {}, {}
        for name, votes in words.items():
            if None in votes:
                return GradedAnswer(row.row, response, None, _UNFINISHED)
            read = read_votes([vote for vote in votes if vote is not None])
            if isinstance(read, str):
                return GradedAnswer(row.row, response, None, f"{read} (aspect {name!r})")
            grades[name], written[name] = read
        value = weighted_mean(list(grades.values()), self.weights)
        cut = characters_cut([row.prompt, response], row.limit)
        return GradedAnswer(row.row, response, value, None, grades, written, cut)
