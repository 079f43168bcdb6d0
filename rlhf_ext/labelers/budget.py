"""What labels may cost, known before it is spent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..data.store import Judgement
from ..generation import Answer, Unanswered
from ..stats import Estimate, bootstrap_mean
from ..types import Prompt


class BudgetUsedUp(RuntimeError):
    """The budget does not reach for all that was asked; what was answered is kept, and a larger one goes on with the rest."""


@dataclass(frozen=True)
class Budget:
    """Hard limits for a job, over all its processes and runs: nothing is sent that could break them.

    What one more question may take at most is set aside before it is sent: all its retries, a token for each byte of the
    prompt, and the longest answer. So a job may end a few questions short of a limit, never past it.

    What it does not hold for: an endpoint is probed for what it can do when a labeler is made, before there is a job to count
    it for. That is five requests of at most 20 tokens in and 32 out, and their retries.

    Args:
        max_requests (`int`, *optional*): Requests that may be sent, retries included.
        max_cost (`float`, *optional*): Money that may be spent, in the unit of the prices.
        input_price (`float`, *optional*, defaults to `0.0`), output_price (`float`, *optional*, defaults to `0.0`): Price of a
            million tokens read and written.

    Raises:
        ValueError: If a limit or price is negative or not finite, or there is a cost limit without prices.
    """

    max_requests: int | None = None
    max_cost: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise ValueError(f"`{name}` should be a number of at least 0, got {value!r}.")
        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise ValueError(
                "`max_cost` needs `input_price` and `output_price` (for a million tokens), or nothing costs anything."
            )

    def most(self, prompt: Prompt, max_new_tokens: int, attempts: int) -> float:
        """What a question may cost at most: a token is a byte at least, and templates add some."""
        read = len(json.dumps(prompt, ensure_ascii=False).encode()) + 64
        return attempts * self.cost(read, max_new_tokens)

    def less(self, spent: Mapping[str, float]) -> Budget:
        """What is left after `spent` (`requests`, `cost`, as in [`LabelResult`]), for more work on the same money."""
        requests = None if self.max_requests is None else max(0, self.max_requests - int(spent["requests"]))
        cost = None if self.max_cost is None else max(0.0, self.max_cost - spent["cost"])
        return replace(self, max_requests=requests, max_cost=cost)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """What tokens cost."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    def judgement(self, answer: Answer | Exception) -> Judgement:
        """An answer as it is kept, with what it cost."""
        if isinstance(answer, Answer):
            cost = self.cost(answer.input_tokens, answer.output_tokens)
            result: Mapping[str, Any] = (
                {"text": answer.text} if answer.logprobs is None else {"logprobs": answer.logprobs}
            )
            return Judgement(dict(result), None, answer.attempts, answer.input_tokens, answer.output_tokens, cost)
        if not isinstance(answer, Unanswered):  # it was never sent
            return Judgement(None, str(answer), 0)
        tokens = (answer.input_tokens, answer.output_tokens)
        return Judgement(None, str(answer), answer.attempts, *tokens, self.cost(*tokens))


@dataclass(frozen=True)
class CostEstimate:
    """What a job will take, from a sample of its own questions.

    Args:
        questions (`int`): All questions of the job.
        asked (`int`): Those of them that were asked for the estimate or before; their answers are kept.
        requests ([`~rlhf_ext.stats.Estimate`]), input_tokens (`Estimate`), output_tokens (`Estimate`), cost (`Estimate`): Totals
            for the whole job.
    """

    questions: int
    asked: int
    requests: Estimate
    input_tokens: Estimate
    output_tokens: Estimate
    cost: Estimate

    @classmethod
    def of(cls, questions: int, judgements: Sequence[Judgement]) -> CostEstimate:
        """Extrapolates from what some of `questions` questions took."""

        def total(name: str) -> Estimate:
            mean = bootstrap_mean([float(getattr(one, name)) for one in judgements])
            low, high = (max(0.0, end) for end in (mean.low, mean.high))
            return Estimate(questions * mean.value, questions * low, questions * high, mean.n)

        names = ("requests", "input_tokens", "output_tokens", "cost")
        return cls(questions, len(judgements), *(total(name) for name in names))

    def __str__(self) -> str:
        tokens = f"{self.input_tokens.value:,.0f} tokens in and {self.output_tokens.value:,.0f} out"
        text = f"{self.questions:,} questions, about {self.requests.value:,.0f} requests, {tokens}"
        return f"{text}, cost {self.cost}" if self.cost.value else text
