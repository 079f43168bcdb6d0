"""Data sets from revisions: answers to learn from, and pairs to prefer by."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..data.preferences import prepare_preferences
from ..rewards.calling import like_prompt
from .steps import Revision, Revisions

_STRENGTH = "preference_strength"


def to_sft(revisions: Revisions, include_unobjected: bool = False) -> tuple[Dataset, Dataset]:
    """Prompts with their last revision, for supervised training, and what was left out.

    Args:
        revisions ([`Revisions`]):
            From [`critique_and_revise`].
        include_unobjected (`bool`, *optional*, defaults to `False`):
            Whether first answers to which no critique objected are taken too: a model that learns from mended answers alone
            may learn to answer as if every question were dangerous.

    Returns:
        `tuple[datasets.Dataset, datasets.Dataset]`: the rows (`prompt`, `completion`, `principles`, `source`, `model`), and
        those left out (`prompt`, `first`, `last`, `reason`): nothing was revised (why the rounds stopped, see
        [`~rlhf_ext.constitution.steps.STOPS`]), or the judge does not find the last answer better than the first
        (`"not_improved"`, `"judge_abstained"`).

    Example:

    ```python
    >>> from rlhf_ext.constitution import Revision, Revisions, RevisionStep, to_sft
    >>> step = RevisionStep(1, "kind", "style", "It is curt.", "revise", revision="Gladly: Paris.")
    >>> rows = Revisions((Revision("Capital of France?", "Look it up.", (step,), "rounds"),), source="mine")
    >>> to_sft(rows)[0]["completion"][0]
    'Gladly: Paris.'

    ```
    """
    kept, left_out = [], []
    for row in revisions:
        reason = _reason(row, revisions)
        if reason is None or (include_unobjected and not row.objected and row.first.strip()):
            kept.append(
                {"prompt": row.prompt, "completion": like_prompt(row.prompt, row.last), **_origin(row, revisions)}
            )
        else:
            left_out.append(_left_out(row, reason))
    columns = ("prompt", "completion", "principles", "source", "model")
    return _dataset(kept, columns), _dataset(left_out, _LEFT_OUT)


def to_preferences(revisions: Revisions) -> tuple[Dataset, Dataset]:
    """Pairs that prefer the last revision to the first answer, and what was left out.

    Args:
        revisions ([`Revisions`]):
            From [`critique_and_revise`].

    Returns:
        `tuple[datasets.Dataset, datasets.Dataset]`: the pairs (`prompt`, `chosen`, `rejected`, `principles`, `source`,
        `model`, and with a judge `preference_strength`, its p(last is better than first), and `annotator`), as
        [`~rlhf_ext.data.preferences.prepare_preferences`] takes them, and those left out, as in [`to_sft`], where the first
        answer is empty (`"first_is_empty"`) besides.

    Example:

    ```python
    >>> from rlhf_ext.constitution import Revision, Revisions, RevisionStep, to_preferences
    >>> step = RevisionStep(1, "kind", "style", "It is curt.", "revise", revision="Gladly: Paris.", improvement=0.9)
    >>> row = Revision("Capital of France?", "Look it up.", (step,), "rounds", improvement=0.9)
    >>> pairs, left_out = to_preferences(Revisions((row,), source="mine", judge="people"))
    >>> pairs["rejected"][0], pairs["preference_strength"][0], len(left_out)
    ('Look it up.', 0.9, 0)

    ```
    """
    kept, left_out = [], []
    for row in revisions:
        reason = _reason(row, revisions) or (None if row.first.strip() else "first_is_empty")
        if reason is not None:
            left_out.append(_left_out(row, reason))
            continue
        pair = {
            "prompt": row.prompt,
            "chosen": like_prompt(row.prompt, row.last),
            "rejected": like_prompt(row.prompt, row.first),
            **_origin(row, revisions),
        }
        if revisions.judge is not None and row.improvement is not None:
            pair |= {_STRENGTH: min(1.0, max(0.5, row.improvement)), "annotator": revisions.judge}
        kept.append(pair)
    columns = ["prompt", "chosen", "rejected", "principles", "source", "model"]
    columns += [_STRENGTH, "annotator"] if revisions.judge is not None else []
    pairs = _dataset(kept, columns)
    return prepare_preferences(pairs) if kept else pairs, _dataset(left_out, _LEFT_OUT)


def split_prompts(revisions: Revisions, share: float = 0.5, seed: int = 0) -> tuple[Revisions, Revisions]:
    """Two parts without a prompt in common: one to learn from, one for pairs.

    Half and half is the recipe of Hugging Face's constitutional models: no answer is both taught and preferred.

    Args:
        revisions ([`Revisions`]):
            From [`critique_and_revise`].
        share (`float`, *optional*, defaults to `0.5`):
            Share of the prompts in the first part, in [0, 1].
        seed (`int`, *optional*, defaults to `0`):
            Draws them.

    Returns:
        `tuple[Revisions, Revisions]`: both in the order they came in.

    Raises:
        ValueError: If `share` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` should be in [0, 1], got {share!r}.")
    prompts = list(dict.fromkeys(str(row.prompt) for row in revisions))
    random.Random(seed).shuffle(prompts)
    first = set(prompts[: round(share * len(prompts))])
    return revisions.where(lambda row: str(row.prompt) in first), revisions.where(
        lambda row: str(row.prompt) not in first
    )


_LEFT_OUT = ("prompt", "first", "last", "reason")


def _reason(row: Revision, revisions: Revisions) -> str | None:
    """Why a row teaches nothing; None where it does."""
    if not row.revised:
        return row.stopped if row.objected or row.stopped == "unanswered" else "no_objection"
    if revisions.judge is None:
        return None
    if row.improvement is None:
        return "judge_abstained"
    return None if row.improvement > 0.5 else "not_improved"


def _origin(row: Revision, revisions: Revisions) -> dict[str, Any]:
    return {"principles": row.principles, "source": revisions.source, "model": revisions.model}


def _left_out(row: Revision, reason: str | None) -> dict[str, Any]:
    return {"prompt": row.prompt, "first": row.first, "last": row.last, "reason": reason}


def _dataset(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Dataset:
    # By columns: without rows there are columns all the same.
    return Dataset.from_dict({column: [row[column] for row in rows] for column in columns})
