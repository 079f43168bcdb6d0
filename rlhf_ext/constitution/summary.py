"""What revision did, beside making answers less harmful."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..rewards.calling import like_prompt, score_rows
from ..rewards.refusal import Refusal
from ..stats import Estimate, Scores, paired_difference, wilson
from ..types import PairwiseJudge, RewardFunction
from .rounds import compared
from .steps import Revision, Revisions


@dataclass(frozen=True)
class RevisionSummary:
    """Figures of a [`Revisions`], each with its 95 % interval; None where there is nothing to tell it from.

    Attributes:
        revised (`Estimate`): Share of prompts whose answer was revised.
        turned_down (`Estimate`, *optional*): Share of the prompts with a judged revision where the judge of the rounds found
            one worse (p < 0.5) than what it revised.
        refusals (`Estimate`, *optional*): Change in the share of answers that refuse, last against first, over all prompts.
        over_refusals (`Estimate`, *optional*): The same over the harmless prompts, which ought to be answered.
        words (`Estimate`): Change in the length of an answer, in words.
        length_ratio (`Estimate`, *optional*): Change in the logarithm of the length (0.69: twice as long), over answers that
            have words.
        helpfulness (`Estimate`, *optional*): The judge's p(last answer is better than the first), over revised prompts; 0.5
            is no change.
        worse (`Estimate`, *optional*): Share of the prompts that the judge compared where the last answer is worse (p < 0.5).
        scores (`dict[str, Estimate]`): Change by each scorer, in its unit, over rows where it applies to both answers.
        unreadable (`Estimate`, *optional*): Share of critiques without a verdict that could be read, which count as objections:
            where it is high, the model is no critic.
        objections (`dict[str, Estimate]`): Share of critiques that objected, by category.
        stopped (`dict[str, int]`): Prompts by why their rounds ended.
    """

    revised: Estimate
    turned_down: Estimate | None
    refusals: Estimate | None
    over_refusals: Estimate | None
    words: Estimate | None
    length_ratio: Estimate | None
    helpfulness: Estimate | None
    worse: Estimate | None
    unreadable: Estimate | None
    scores: dict[str, Estimate] = field(default_factory=dict)
    objections: dict[str, Estimate] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {name: _plain(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        lines = [f"{words}: {value}" for name, words in _WORDS.items() if (value := getattr(self, name)) is not None]
        lines += [f"change in {name}: {value}" for name, value in self.scores.items()]
        lines += [f"critiques that object, {name}: {value}" for name, value in self.objections.items()]
        return "\n".join([*lines, "stopped: " + ", ".join(f"{name} {n}" for name, n in self.stopped.items())])


def summarise(
    revisions: Revisions,
    judge: PairwiseJudge | None = None,
    harmless: Sequence[bool] | None = None,
    scorers: Mapping[str, RewardFunction] | None = None,
    refusal: RewardFunction | None = None,
) -> RevisionSummary:
    """Reports what revision cost: refusals, length, helpfulness, and answers that it made worse.

    Constitutional training of small models buys harmlessness with helpfulness
    ([2504.04918](https://huggingface.co/papers/2504.04918)): these figures belong beside every figure for harm. Rows of
    the same prompt are resampled together, so that their intervals are as wide as they ought to be; the shares are Wilson's
    and take rows to be independent.

    Args:
        revisions ([`Revisions`]):
            From [`critique_and_revise`].
        judge ([`~rlhf_ext.types.PairwiseJudge`], *optional*):
            Says which answer is more helpful: asked once, about the rows that were revised. Better not the judge of the
            rounds, which has let through only what it likes.
        harmless (`Sequence[bool]`, *optional*):
            For each row whether its prompt ought to be answered.
        scorers (`dict[str, RewardFunction]`, *optional*):
            More to compare before and after, such as `{"harm": ...}`.
        refusal ([`~rlhf_ext.types.RewardFunction`], *optional*):
            1 where an answer refuses; [`~rlhf_ext.rewards.refusal.Refusal`] by default.

    Returns:
        [`RevisionSummary`]

    Raises:
        ValueError: If there are no rows, or `harmless` has another length.

    Example:

    ```python
    >>> from rlhf_ext.constitution import Revision, Revisions, RevisionStep, summarise
    >>> step = RevisionStep(1, "kind", "style", "It is curt.", "revise", revision="Gladly: it is Paris.")
    >>> row = Revision("Capital of France?", "Look it up.", (step,), "rounds")
    >>> summary = summarise(Revisions((row,) * 4, source="mine"))
    >>> summary.words.value, summary.refusals.value, summary.stopped
    (1.0, 0.0, {'rounds': 4})

    ```
    """
    rows = list(revisions)
    if not rows:
        raise ValueError("There are no revisions to summarise.")
    if harmless is not None and len(harmless) != len(rows):
        raise ValueError(f"`harmless` should say yes or no for each of {len(rows)} rows, got {len(harmless)}.")
    asked = [False] * len(rows) if harmless is None else harmless
    refuses: Any = refusal or Refusal()
    before, after = [len(row.first.split()) for row in rows], [len(row.last.split()) for row in rows]
    logs = [[math.log(length) if length else None for length in lengths] for lengths in (before, after)]
    helpful, worse = _helpfulness(rows, judge)
    return RevisionSummary(
        revised=wilson(sum(row.revised for row in rows), len(rows)),
        turned_down=_turned_down(rows),
        refusals=_change(rows, refuses),
        over_refusals=_change([row for row, counts in zip(rows, asked, strict=True) if counts], refuses),
        words=_paired(rows, before, after),
        length_ratio=_paired(rows, *logs),
        helpfulness=helpful,
        worse=worse,
        unreadable=_unreadable(rows),
        scores={name: value for name, fn in (scorers or {}).items() if (value := _change(rows, fn)) is not None},
        objections=_objections(rows),
        stopped=dict(Counter(row.stopped for row in rows).most_common()),
    )


_WORDS = {
    "revised": "prompts revised",
    "turned_down": "prompts with a revision that the judge of the rounds finds worse",
    "refusals": "change in refusals",
    "over_refusals": "change in refusals of harmless prompts",
    "words": "change in words an answer",
    "length_ratio": "change in the logarithm of the length",
    "helpfulness": "p(last answer is better than the first)",
    "worse": "answers made worse",
    "unreadable": "critiques without a readable verdict",
}


def _change(rows: list[Revision], scorer: RewardFunction) -> Estimate | None:
    """Mean change of a score, last answer against first; what was not revised is scored once."""
    if not rows:
        return None
    revised = [row for row in rows if row.revised]
    first = score_rows(
        scorer, [row.prompt for row in rows], [like_prompt(row.prompt, row.first) for row in rows]
    ).tolist()
    last = list(first)
    if revised:
        texts = [like_prompt(row.prompt, row.last) for row in revised]
        scores = iter(score_rows(scorer, [row.prompt for row in revised], texts).tolist())
        last = [next(scores) if row.revised else score for row, score in zip(rows, first, strict=True)]
    return _paired(rows, first, last)


def _paired(rows: list[Revision], before: Scores, after: Scores) -> Estimate | None:
    known = [
        b is not None and a is not None and b == b and a == a for b, a in zip(before, after, strict=True)
    ]  # no NaN
    return paired_difference(before, after, clusters=[str(row.prompt) for row in rows]) if any(known) else None


def _helpfulness(rows: list[Revision], judge: PairwiseJudge | None) -> tuple[Estimate | None, Estimate | None]:
    revised = [row for row in rows if row.revised]
    if judge is None or not revised:
        return None, None
    last, first = ([like_prompt(row.prompt, getattr(row, name)) for row in revised] for name in ("last", "first"))
    better = compared(judge, [row.prompt for row in revised], last, first)
    known = [p for p in better if p is not None]
    if not known:
        return None, None
    # Against 0: the mean itself, its interval from whole prompts.
    return _paired(revised, [0.0] * len(revised), better), wilson(sum(p < 0.5 for p in known), len(known))


def _turned_down(rows: list[Revision]) -> Estimate | None:
    judged = [[step.improvement for step in row.steps if step.improvement is not None] for row in rows]
    judged = [judgements for judgements in judged if judgements]
    return wilson(sum(min(judgements) < 0.5 for judgements in judged), len(judged)) if judged else None


def _unreadable(rows: list[Revision]) -> Estimate | None:
    verdicts = [step.verdict for row in rows for step in row.steps]
    return wilson(verdicts.count("unreadable"), len(verdicts)) if verdicts else None


def _objections(rows: list[Revision]) -> dict[str, Estimate]:
    objected: dict[str, list[bool]] = {}
    for row in rows:
        for step in row.steps:
            objected.setdefault(step.category, []).append(step.verdict != "keep")
    return {category: wilson(sum(found), len(found)) for category, found in objected.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_dict()
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value
