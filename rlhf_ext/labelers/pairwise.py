"""Preferences from a judge that compares two answers, in both orders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..data.store import Judgement, JudgementStore
from ..stats import Estimate, position_bias, wilson
from ..types import Completion, Prompt, text_of
from .budget import Budget, BudgetUsedUp, CostEstimate
from .comparisons import Comparison, comparisons_of, unsure
from .job import JudgementJob, Question
from .judge import JudgeLabeler, check_confidence, read_text
from .measures import Judged, pair_measures
from .pair_questions import UNFINISHED, PairQuestions
from .result import LabelResult
from .rubric import PairRubric, as_rubric, read_choice
from .verdict import Verdict


class PairwiseLabeler(JudgeLabeler):
    """Labels pairs of answers by a language model that judges them, and says nothing where it cannot be trusted to.

    Each pair is judged in both orders. From a judge whose log-probabilities can be read a label is p(better) over the answer
    tokens, averaged over both orders (RLAIF, [2309.00267](https://huggingface.co/papers/2309.00267)); otherwise it is the
    share of `votes` that it writes. It abstains where the two orders disagree, or p is not sure enough. What it abstains on
    and what failed is given back with the reason, never as a label.

    It is a [`~rlhf_ext.types.PairwiseJudge`] as well ([`compare`]), for win rates and constitutions.

    Args:
        generator: The judge: a [`LocalGenerator`], an [`EndpointGenerator`] (which is probed first for what it can do), a
            [`ScriptedGenerator`].
        rubric (`str` or [`PairRubric`], *optional*, defaults to `"assistant"`): What makes an answer better: the name of one of
            [`~rlhf_ext.labelers.rubric.RUBRICS`], criteria in words, or a rubric.
        mode (`str`, *optional*, defaults to `"auto"`): `"logprobs"`, `"text"`, or what the generator can do.
        votes (`int`, *optional*, defaults to `1`): In text mode, how often each order is asked; more than one is sampled.
        temperature (`float`, *optional*, defaults to `0.7`): Of sampled votes.
        reasoning (`bool`, *optional*, defaults to `False`): Whether the judge compares in words before it chooses.
        max_reasoning_tokens (`int`, *optional*, defaults to `256`): Room for these words.
        on_disagreement (`str`, *optional*, defaults to `"abstain"`): `"abstain"` or `"average"` where the orders disagree.
        min_confidence (`float`, *optional*, defaults to `0.5`): Least max(p, 1 - p) for a label, in [0.5, 1].
        clamp (`float`, *optional*, defaults to `1.0`): The most that p, or 1 - p, can be, in (0.5, 1]: a judge that reasons first
            is surer than it is right (0.6 in [2212.08073](https://huggingface.co/papers/2212.08073)).
        truncate (`bool`, *optional*, defaults to `False`): Whether the longest of request and answers is shortened until a
            question fits into the judge's window, for a [`LocalGenerator`]. The middle is left out, marked, alike in both orders;
            `characters_cut` says how much. By default what is too long is left out with the reason.
        model (`str`, *optional*): The judge's name in provenance and keys. By default the generator's.
        store (`str`, `Path` or [`~rlhf_ext.data.store.JudgementStore`], *optional*): Where judgements are kept: a file or a URL.
            By default one that is gone with the process: then a run that is stopped begins anew.
        budget ([`Budget`], *optional*): Hard limits and prices.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar.
        seed (`int`, *optional*, defaults to `0`): Seed of sampled votes.

    Raises:
        ValueError: If a setting is out of range, the rubric is unknown, or votes cannot differ.
        NotImplementedError: If the endpoint lacks what the mode needs; the message says what.
        ConnectionError: If the endpoint cannot be reached.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import PairwiseLabeler
    >>> judge = ScriptedGenerator([], choice_probs=lambda prompt, choices: [0.9, 0.1] if "Answer 1: \\"4" in prompt[0]["content"] else [0.2, 0.8])
    >>> labeler = PairwiseLabeler(judge, "Correct answers are better.")
    >>> labeler.label([{"prompt": "2 + 2?", "responses": ["5", "4"]}]).preferences[0]["preference_strength"]
    0.85

    ```
    """

    def __init__(
        self,
        generator: Any,
        rubric: str | PairRubric = "assistant",
        *,
        mode: Literal["auto", "logprobs", "text"] = "auto",
        votes: int = 1,
        temperature: float = 0.7,
        reasoning: bool = False,
        max_reasoning_tokens: int = 256,
        on_disagreement: Literal["abstain", "average"] = "abstain",
        min_confidence: float = 0.5,
        clamp: float = 1.0,
        truncate: bool = False,
        model: str | None = None,
        store: str | Path | JudgementStore | None = None,
        budget: Budget | None = None,
        progress: bool = False,
        retry_failed: bool = False,
        seed: int = 0,
    ):
        if on_disagreement not in ("abstain", "average"):
            raise ValueError(f"`on_disagreement` should be 'abstain' or 'average', got {on_disagreement!r}.")
        if not 0.5 < clamp <= 1 or check_confidence(min_confidence) > clamp:
            raise ValueError(f"`clamp` should be in (0.5, 1] and at least `min_confidence`, got {clamp}.")
        self.rubric = as_rubric(rubric)
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
        self.reasoning = reasoning
        self._questions = PairQuestions(
            self._judge_id, self.mode, reasoning, max_reasoning_tokens, seed, self.rubric_of
        )
        self.on_disagreement, self.clamp = on_disagreement, clamp
        self.__name__ = f"{self.model}/{self.annotator}"  # how stores of revisions tell judges apart

    @property
    def annotator(self) -> str:
        """The rubric and its version, for provenance."""
        return f"{self.rubric.name}@{self.rubric.version}"

    def label(self, rows: Iterable[Mapping[str, Any]]) -> LabelResult:
        """Preferences from rows with a `prompt` and its `responses` (or `chosen` and `rejected`, to be judged anew).

        All pairs of different answers in a row are compared. The same call on the same store goes on where it was stopped.

        Args:
            rows (`Dataset` or `list[dict]`): Text or messages. Rows may say which models wrote the answers (`models`, or
                `chosen_model` and `rejected_model`). Other columns are kept.

        Returns:
            [`LabelResult`].

        Raises:
            ValueError: If a row has no prompt or answers (it is named), or no row has two different ones.
        """
        found, left_out = comparisons_of(rows)
        pairs = self._fitted(found)
        verdicts, job = self._judge(pairs)
        preferences = []
        for pair, verdict in zip(pairs, verdicts, strict=True):
            if verdict.reason == UNFINISHED:
                continue
            if reason := self._abstains(verdict):
                left_out.append(pair.left_out(reason))
            else:
                preferences.append(pair.labelled(verdict.p, **self._provenance(pair)))
        unfinished = sum(verdict.reason == UNFINISHED for verdict in verdicts)
        spent = vars(self.store.spent(job.name))
        return LabelResult(preferences, left_out, self._measures(pairs, verdicts), unfinished, spent)

    def compare(
        self, prompts: Sequence[Prompt], first: Sequence[Completion], second: Sequence[Completion]
    ) -> list[float | None]:
        """p(first is better) for each row, None where it abstains; equal answers are a tie.

        A judge that finds two answers even makes no label of them. Here that is 0.5, as win rates count it, where the orders
        are averaged (`on_disagreement="average"`); otherwise it abstains.

        Raises:
            BudgetUsedUp: If the budget does not reach.
        """
        pairs = [Comparison(row, *answers, {}) for row, answers in enumerate(zip(prompts, first, second, strict=True))]
        open_pairs = [pair for pair in pairs if text_of(pair.first).strip() != text_of(pair.second).strip()]
        found: list[float | None] = [0.5] * len(pairs)
        verdicts, _ = self._judge(self._fitted(open_pairs))
        for pair, verdict in zip(open_pairs, verdicts, strict=True):
            if verdict.reason == UNFINISHED:
                raise BudgetUsedUp("The judge's budget is used up before all answers were compared.")
            even = verdict.shown is not None and round(verdict.p, 6) == 0.5
            if even and self.on_disagreement == "average":
                continue
            found[pair.row] = None if self._abstains(verdict) else verdict.p
        return found

    def estimate(self, rows: Iterable[Mapping[str, Any]], sample: int = 16) -> CostEstimate:
        """What labelling `rows` will take, from `sample` of its questions, which are asked, kept and paid for.

        With `reasoning` and log-probabilities it is the words that are counted; the choices after them cost little beside.
        """
        pairs = self._fitted(comparisons_of(rows)[0])
        ask, job = self._questions, self._job(pairs)
        step = ask.steps[0]
        return job.estimate(_asked(ask.of(pairs, step)), ask.choices(step), sample, **ask.sampling(step))

    def rubric_of(self, pair: Comparison) -> PairRubric:
        """The rubric for a pair; the same for all here."""
        return self.rubric

    def _fitted(self, pairs: list[Comparison]) -> list[Comparison]:
        return self._questions.fitted(pairs, self.generator) if self.truncate else pairs

    def _job(self, pairs: Sequence[Comparison]) -> JudgementJob:
        versions = sorted({self.rubric_of(pair).version for pair in pairs})
        data = [[pair.prompt, pair.first, pair.second] for pair in pairs]
        return self._new_job([versions, self.reasoning], data)

    def _judge(self, pairs: Sequence[Comparison]) -> tuple[list[Verdict], JudgementJob]:
        job, ask = self._job(pairs), self._questions
        given: list[Judgement | str] | None = None
        for step in ask.steps if pairs else ():
            questions = ask.of(pairs, step, given)
            answers = job.run(_asked(questions), ask.choices(step), **ask.sampling(step))
            given = [one if isinstance(one, str) else answers.get(one.key, UNFINISHED) for one in questions]
        per_pair = 2 * self.mode.votes
        return [self._verdict((given or [])[n * per_pair : (n + 1) * per_pair]) for n in range(len(pairs))], job

    def _verdict(self, given: Sequence[Judgement | str]) -> Verdict:
        """What the answers about one pair came to, those of both orders; or the first reason why one is missing."""
        answers = [one for one in given if isinstance(one, Judgement)]
        if len(answers) < len(given):
            return Verdict(reason=next(one for one in given if isinstance(one, str)))
        votes = [self._read(one) for one in answers]
        read = [vote if isinstance(vote, float) else None for vote in votes]
        shown = []
        for start in (0, self.mode.votes):
            order = [vote for vote in read[start : start + self.mode.votes] if vote is not None]
            if not order:
                return Verdict(reason=next(vote for vote in votes[start:] if isinstance(vote, str)))
            shown.append(self._clamped(sum(order) / len(order)))
        for_first = [vote if vote is None or place < self.mode.votes else 1 - vote for place, vote in enumerate(read)]
        return Verdict((shown[0], shown[1]), votes=tuple(for_first) if self.mode.votes > 1 else ())

    def _read(self, judgement: Judgement) -> float | str:
        """p(the answer shown first is better), or why it is not known."""
        if judgement.result is not None and "logprobs" in judgement.result:
            return self._clamped(math.exp(judgement.result["logprobs"][0]))
        return read_text(judgement, lambda text: read_choice(text, self.reasoning))

    def _clamped(self, p: float) -> float:
        return min(max(p, 1 - self.clamp), self.clamp)

    def _abstains(self, verdict: Verdict) -> str | None:
        if verdict.shown is None:
            return verdict.reason
        if self.on_disagreement == "abstain" and not verdict.orders_agree:
            return f"abstained, the orders disagree: p(first shown) {verdict.shown[0]:.3f} and {verdict.shown[1]:.3f}"
        return unsure(verdict.p, self.min_confidence)

    def _measures(self, pairs: Sequence[Comparison], verdicts: Sequence[Verdict]) -> dict[str, Estimate]:
        judged = [(pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.shown is not None]
        if not judged:
            return {}
        forward, backward = zip(*(verdict.shown for _, verdict in judged if verdict.shown is not None), strict=True)
        found = {
            "orders_agree": wilson(sum(verdict.orders_agree for _, verdict in judged), len(judged)),
            "position_bias": position_bias(forward, backward, [pair.row for pair, _ in judged]),
        }
        if self.truncate:
            found["truncated"] = wilson(sum(pair.characters_cut > 0 for pair, _ in judged), len(judged))
        said = [Judged(pair, one.p, self._abstains(one) is None, one.votes) for pair, one in judged]
        return pair_measures(said, self.model) | found


def _asked(questions: Sequence[Question | str]) -> list[Question]:
    return [one for one in questions if isinstance(one, Question)]
