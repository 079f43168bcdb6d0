"""The best of the answers that a labeler graded, as data for supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from ..rewards.calling import like_prompt
from .comparisons import rows_of
from .scoring import ScoreLabeler


def best_graded(
    labeler: ScoreLabeler, rows: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The best answer of each row by its grades, for TRL's `SFTTrainer`: best of n, with a judge for the reward.

    What [`ScoreLabeler.label`] has asked on the same store is not asked again. For rewards instead of grades see [`best_of_n`].

    Args:
        labeler ([`ScoreLabeler`]): The judge.
        rows (`Dataset` or `list[dict]`): With a `prompt` and its `responses`, text or messages. Other columns are kept.

    Returns:
        `tuple`: rows with `prompt`, `completion` (messages where the prompt is), its `score` in [1, 10] and, where the row says who
        wrote it, `model`, in order; of equal grades the first. Beside them the rows without, each with the reason: no answer
        has a grade, or the budget did not reach for all of them.

    Raises:
        ValueError: If a row has no prompt or answers; it is named.

    Example:

    ```python
    >>> from rlhf_ext import ScriptedGenerator
    >>> from rlhf_ext.labelers import ScoreLabeler, best_graded
    >>> judge = ScriptedGenerator(lambda prompt, sampling: "9" if 'Response: "4"' in prompt[0]["content"] else "2")
    >>> best_graded(ScoreLabeler(judge, "Correct."), [{"prompt": "2 + 2?", "responses": ["5", "4"]}])[0]
    [{'prompt': '2 + 2?', 'completion': '4', 'score': 9.0}]

    ```
    """
    rows = list(rows)
    graded = groupby(labeler.score(rows), key=lambda answer: answer.row)
    best: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for row, (_, group) in zip(rows_of(rows), graded, strict=True):
        answers = list(group)
        values = [answer.value for answer in answers if answer.value is not None]
        missing = [answer.reason for answer in answers if answer.reason is not None]
        if not values or "unfinished" in missing:
            reason = "unfinished" if "unfinished" in missing else missing[0]
            left_out.append(row.left_out(row.responses, reason))
            continue
        place = [answer.value for answer in answers].index(max(values))
        found = {
            "prompt": row.prompt,
            "completion": like_prompt(row.prompt, row.responses[place]),
            "score": max(values),
        }
        signed = {"label_model" if "model" in row.columns else "model": row.authors[place]} if row.authors else {}
        best.append({**found, **signed, **row.columns})
    return best, left_out
