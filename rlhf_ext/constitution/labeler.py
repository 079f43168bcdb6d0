"""The judge of constitutional AI as a labeler of preferences."""

from __future__ import annotations

from typing import Any

from ..labelers.comparisons import Comparison
from ..labelers.pairwise import PairwiseLabeler
from ..labelers.rubric import PairRubric
from ..types import text_of
from .comparing import pair_question
from .principles import Constitution


class ConstitutionalLabeler(PairwiseLabeler):
    """Labels pairs by which answer follows a constitution better: the second half of constitutional AI.

    As in Bai et al. ([2212.08073](https://huggingface.co/papers/2212.08073), section 4.1): one principle is drawn for each
    prompt, and p is clamped to 40-60 %, since a judge that reasons first is surer than it is right. Everything else
    (both orders, abstaining, store, budget) is [`PairwiseLabeler`]'s.

    Args:
        generator: The judge.
        constitution ([`Constitution`], *optional*): The principles; [`Constitution.default`] by default.
        one_principle (`bool`, *optional*, defaults to `True`): Whether a principle is drawn; if not, the judge sees all of them.
        clamp (`float`, *optional*, defaults to `0.6`): The most that p can be.
        **options: As for [`PairwiseLabeler`], but `rubric`.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.constitution import ConstitutionalLabeler
    >>> judge = ScriptedGenerator(lambda prompt, sampling: "2" if 'Answer 1: "Look' in prompt[0]["content"] else "1")
    >>> labeler = ConstitutionalLabeler(judge)
    >>> labeler.label([{"prompt": "Capital of France?", "responses": ["Look it up.", "Paris."]}]).preferences[0]["chosen"]
    'Paris.'

    ```
    """

    def __init__(
        self,
        generator: Any,
        constitution: Constitution | None = None,
        *,
        one_principle: bool = True,
        clamp: float = 0.6,
        **options: Any,
    ):
        self.constitution = Constitution.default() if constitution is None else constitution
        self.one_principle = one_principle
        rubric = PairRubric("The constitution.", self.constitution.name, pair_question(self.constitution))
        super().__init__(generator, rubric, clamp=clamp, **options)

    def rubric_of(self, pair: Comparison) -> PairRubric:
        """The principle drawn for the prompt, as a rubric."""
        if not self.one_principle:
            return self.rubric
        principle = self.constitution.drawn(text_of(pair.prompt), 0, self.seed)
        return PairRubric(principle.name, self.constitution.name, pair_question(self.constitution, principle))
