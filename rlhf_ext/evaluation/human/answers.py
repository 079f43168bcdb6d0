"""What people and judges said of models' answers: a vote a comparison, a rating a scale."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.provenance import provenance_of
from ...types import text_of

Unknown = Literal["refuse", "leave_out"]

SAME_MODEL = "both answers are of the same model"
UNKNOWN_MODEL = "who wrote an answer is unknown"


@dataclass(frozen=True)
class Vote:
    """One word on two models' answers to one prompt.

    Args:
        item (`str`):
            What was asked: votes on one item are not independent.
        annotator (`str`):
            Who said it.
        first (`str`), second (`str`):
            The models that wrote the two answers.
        p (`float`):
            p(the first is better) in [0, 1], 0.5 for a tie.
        source (`Literal["human", "ai"]`, *optional*, defaults to `"human"`):
            A person or a judge.
        unit (`str`, *optional*):
            The pair of answers itself, the same for all who judged it, the same way round; by default the item.
        kind (`str`, *optional*, defaults to `"comparison"`):
            `"comparison"`, `"judgement"`, or `"ranking"` for a pair of one.
        lengths (`tuple[int, int]`, *optional*):
            Of the two answers, in characters.
        first_shown (`bool`, *optional*):
            Whether the first answer was shown first (on the left); `None` where that is not known.
    """

    item: str
    annotator: str
    first: str
    second: str
    p: float
    source: Literal["human", "ai"] = "human"
    unit: str = ""
    kind: str = "comparison"
    lengths: tuple[int, int] | None = None
    first_shown: bool | None = None

    @property
    def side(self) -> float:
        """1 where the first is preferred, 0 where the second is, 0.5 for a tie."""
        return (1 + (self.p > 0.5) - (self.p < 0.5)) / 2


@dataclass(frozen=True)
class Rating:
    """One number on one scale (`"helpfulness (1 to 5)"`) for one answer, by one person."""

    item: str
    annotator: str
    model: str
    scale: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Answers:
    """Votes and ratings, and how much was not counted.

    Args:
        votes (`list[Vote]`), ratings (`list[Rating]`):
            What counts.
        left_out (`dict[str, int]`):
            What does not, by reason.
    """

    votes: list[Vote] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def answers_from_rows(rows: Iterable[Mapping[str, Any]], unknown: Unknown = "refuse") -> Answers:
    """Votes of preference rows: exports of the feedback store, or what a labeler gives.

    Args:
        rows (`Dataset` or `list[dict]`):
            `chosen_model` and `rejected_model`, `preference_strength` in [0.5, 1] (1 if it is missing; 0.5 is a tie), and if
            there, `item` (else the prompt tells what belongs together), `annotator`, `source`, and `chosen` and `rejected` for
            their lengths. A row that a labeler left out, with a `reason` in place of a label, is counted as left out. Rows of
            several annotators, as an export has them, are one vote each: from the store itself each person has one.
        unknown (`str`, *optional*, defaults to `"refuse"`):
            Rows that do not say which models wrote their answers are refused, or left out and counted (`"leave_out"`).

    Returns:
        [`Answers`].

    Raises:
        ValueError: If a strength is not in [0.5, 1] (the row is named), models are unknown (their number is said), or there is
            no row at all.

    Example:
    ```python
    >>> from rlhf_ext.evaluation.human import answers_from_rows

    >>> rows = [{"prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_model": "ppo", "rejected_model": "sft"},
    ...         {"prompt": "3+3?", "reason": "abstained, the orders disagree: p(first shown) 0.9 and 0.8"}]
    >>> answers = answers_from_rows(rows)
    >>> answers.votes[0].first, answers.votes[0].p, dict(answers.left_out)
    ('ppo', 1.0, {'abstained, the orders disagree': 1})

    ```
    """
    found, nameless, total = Answers(), [], 0
    for number, row in enumerate(rows):
        total += 1
        if row.get("reason") is not None and row.get("chosen_model") is None:
            found.left_out[str(row["reason"]).split(":")[0]] += 1
            continue
        models = (row.get("chosen_model"), row.get("rejected_model"))
        if not all(map(is_name, models)):
            nameless.append(f"row {number}")
        elif models[0] == models[1]:
            found.left_out[SAME_MODEL] += 1
        else:
            found.votes.append(_vote(number, row, *models))
    if not total:
        raise ValueError("There are no rows to rank models by.")
    refuse_nameless(nameless, total, "rows", unknown, "give `chosen_model` and `rejected_model` in them")
    if nameless:
        found.left_out[UNKNOWN_MODEL] += len(nameless)
    return found


def is_name(model: Any) -> bool:
    """Whether it names a model: text with something in it."""
    return isinstance(model, str) and bool(model.strip())


def refuse_nameless(names: list[str], total: int, what: str, unknown: Unknown, way_out: str) -> None:
    """Refuses answers of unknown models, unless they are to be left out.

    Raises:
        ValueError: That says how many there are, names the first, and says the way out.
    """
    if unknown not in ("refuse", "leave_out"):
        raise ValueError(f"`unknown` must be 'refuse' or 'leave_out', got {unknown!r}.")
    if names and unknown == "refuse":
        raise ValueError(
            f"{len(names)} of {total} {what} do not say which models wrote the answers, {names[0]} the first: {way_out}, or "
            "leave them out (unknown='leave_out', --unknown leave_out)."
        )


def _vote(number: int, row: Mapping[str, Any], chosen: Any, rejected: Any) -> Vote:
    strength = 1.0 if row.get("preference_strength") is None else row["preference_strength"]
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0.5 <= strength <= 1:
        raise ValueError(f"row {number}: `preference_strength` should be in [0.5, 1], got {strength!r}.")
    sides = [(chosen, row.get("chosen"), float(strength)), (rejected, row.get("rejected"), round(1 - strength, 12))]
    # Who is first must not depend on who won: judges of one pair have it the same way round.
    sides.sort(key=lambda side: (side[0], json.dumps(side[1])))
    texts: list[Any] = [side[1] for side in sides]
    item = str(row.get("item") or _hash(row.get("prompt", number)))
    by_ai = provenance_of(row, "source") == "ai"
    return Vote(
        item,
        str(provenance_of(row, "annotator") or provenance_of(row, "model") or "unknown"),
        sides[0][0],
        sides[1][0],
        sides[0][2],
        "ai" if by_ai else "human",
        f"{item} {_hash(texts)}",
        "judgement" if by_ai else "comparison",
        None if None in texts else (len(text_of(texts[0])), len(text_of(texts[1]))),
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]
