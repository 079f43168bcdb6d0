"""Questions to a judge as a job: paid once, stopped and gone on with at any point, by several processes at a time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from ..data.store import Allowance, Judgement, JudgementStore
from ..generation import Request
from ..types import Prompt
from .budget import Budget, CostEstimate

_CLAIM = 32
"""Questions claimed at a time where each stands alone."""


@dataclass(frozen=True)
class Question:
    """One question to a judge.

    Args:
        key (`str`): What makes it this question: model, prompt, parameters, rubric, order and vote; see [`key_of`].
        prompt (`str` or `list[dict]`): Text or messages.
        seed (`int`): Its seed.
    """

    key: str
    prompt: Prompt
    seed: int


def key_of(**parts: Any) -> str:
    """A key from everything that an answer depends on; `parts` are plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def question_of(prompt: Prompt, seed: int, **parts: Any) -> Question:
    """A question with its key, and with a seed of its own."""
    key = key_of(prompt=prompt, seed=seed, **parts)
    return Question(key, prompt, int(key[:8], 16))


@dataclass
class JudgementJob:
    """Asks questions and keeps the answers.

    Args:
        generator: The judge: what has `each` (see [`~rlhf_ext.generation`]).
        store ([`~rlhf_ext.data.store.JudgementStore`]): Where answers are kept.
        name (`str`): The job: what it spends is counted under this name, over all its processes and runs.
        budget ([`Budget`], *optional*): Its limits and prices.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a bar.
        retry_failed (`bool`, *optional*, defaults to `False`): Whether questions that failed in an earlier run are asked again.
        poll (`float`, *optional*, defaults to `1.0`): Seconds between looks at what other processes have claimed.
        task (`str`, *optional*, defaults to `"judging"`): What the bar calls it.
    """

    generator: Any
    store: JudgementStore
    name: str
    budget: Budget = field(default_factory=Budget)
    progress: bool = False
    retry_failed: bool = False
    poll: float = 1.0
    task: str = "judging"

    def run(
        self, questions: Sequence[Question], choices: Sequence[str] | None = None, **sampling: Any
    ) -> dict[str, Judgement]:
        """Answers by key; those that the budget did not reach are not among them.

        Args:
            questions (`list[Question]`): What to ask; equal ones are asked once.
            choices (`list[str]`, *optional*): Whose log-probabilities are wanted, rather than text.
            **sampling: As generators take it.

        Raises:
            Exception: Whatever concerns the generator as a whole; what was answered until then is kept.
        """
        unique = {question.key: question for question in questions}
        keys = list(unique)
        if self.retry_failed:
            self.store.reopen_failures(keys)
            self.retry_failed = False  # once a run
        allowance = self._allowance(unique.values(), sampling.get("max_new_tokens", 256) if choices is None else 1)
        found = self.store.finished(keys)
        with tqdm(
            total=len(keys), initial=len(found), desc=self.task, unit="question", disable=not self.progress
        ) as bar:
            idle = 0
            # One look is not enough to stop: what another process finished or gave up between this one's reading of the
            # answers and of the claims is in neither. A second pass finds it.
            while len(found) < len(keys) and idle < 2:
                asked = self._pass(unique, found, allowance, bar, choices, sampling)
                found = self.store.finished(keys)
                bar.update(len(found) - bar.n)
                others = not asked and self._others_at_work(unique, found)
                idle = 0 if asked or others else idle + 1
                if others:
                    time.sleep(self.poll)
        return found

    def estimate(
        self, questions: Sequence[Question], choices: Sequence[str] | None = None, sample: int = 16, **sampling: Any
    ) -> CostEstimate:
        """What the job will take, from `sample` of its own questions, spread over all; they are asked, kept and counted.

        Raises:
            ValueError: If there are no questions, or none of the sample could be asked.
        """
        unique = list({question.key: question for question in questions}.values())
        if not unique:
            raise ValueError("There are no questions to estimate the cost of.")
        step = max(1, len(unique) // sample)
        answered = self.run(unique[::step][:sample], choices, **sampling)
        if not answered:
            raise ValueError("The budget does not reach for a single question.")
        return CostEstimate.of(len(unique), list(answered.values()))

    def _pass(
        self,
        unique: Mapping[str, Question],
        found: Mapping[str, Judgement],
        allowance: Allowance | None,
        bar: tqdm,
        choices: Sequence[str] | None,
        sampling: Mapping[str, Any],
    ) -> int:
        """Asks what is open, once; gives how many questions that were."""
        group, asked, keys = self.generator.group_size, [], list(unique)

        def claimed() -> Iterator[Request]:
            # Groups begin at the same places in every run: what is sampled together stays together.
            size = group if group > 1 else _CLAIM
            for start in range(0, len(keys), size):
                wanted = [key for key in keys[start : start + size] if key not in found]
                mine = self.store.claim(wanted, self.name, allowance) if wanted else []
                for key in mine:
                    asked.append(key)
                    yield Request(unique[key].prompt, unique[key].seed)

        done: dict[str, Judgement] = {}
        try:
            for index, answer in self.generator.each(claimed(), choices, **sampling):
                done[asked[index]] = self.budget.judgement(answer)
                if len(done) >= group:
                    self._keep(done, bar)
        finally:
            self._keep(done, bar)
            self.store.release()
        return len(asked)

    def _keep(self, done: dict[str, Judgement], bar: tqdm) -> None:
        if done:
            self.store.record(self.name, done)
            bar.update(len(done))
            done.clear()

    def _allowance(self, questions: Any, max_new_tokens: int) -> Allowance | None:
        budget = self.budget
        if budget.max_requests is None and budget.max_cost is None:
            return None
        attempts = 1 + getattr(self.generator, "max_retries", 0)
        requests = {one.key: attempts for one in questions}
        costs = {one.key: budget.most(one.prompt, max_new_tokens, attempts) for one in questions}
        return Allowance(budget.max_requests, budget.max_cost, requests, costs)

    def _others_at_work(self, unique: Mapping[str, Question], found: Mapping[str, Judgement]) -> bool:
        return bool(self.store.claimed([key for key in unique if key not in found]))
