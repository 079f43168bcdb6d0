"""Rows with several answers as comparisons of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..rewards.calling import like_prompt
from ..stats import Estimate, length_bias
from ..types import Completion, Prompt, text_of
from .fitting import characters_cut

RESPONSES = "responses"
CUT = "characters_cut"
_LABEL = {"chosen", "rejected", "preference_strength", "margin", "source", "annotator", "model", "reason", CUT}
_OWN = {"prompt", RESPONSES, *_LABEL}


@dataclass(frozen=True)
class Row:
    """A prompt, two or more answers to it that differ, and the other columns of their row."""

    row: int
    prompt: Prompt
    responses: Sequence[Completion]
    columns: Mapping[str, Any]
    limit: int | None = None
    """Characters of each text that a judge is shown; None is all."""

    def left_out(self, responses: Sequence[Completion], reason: str) -> dict[str, Any]:
        """Some of its answers as a row of what was left out."""
        return {**self.columns, "prompt": self.prompt, RESPONSES: list(responses), "reason": reason}


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, and the other columns of their row."""

    row: int
    prompt: Prompt
    first: Completion
    second: Completion
    columns: Mapping[str, Any]
    is_given: bool = False
    """Whether the row came with the first answer as `chosen`."""
    limit: int | None = None
    """Characters of each text that a judge is shown; None is all."""

    @property
    def characters_cut(self) -> int:
        """Characters of its texts that a judge is not shown."""
        return characters_cut([self.prompt, self.first, self.second], self.limit)

    def left_out(self, reason: str) -> dict[str, Any]:
        """As a row of what was left out."""
        return {**self.columns, "prompt": self.prompt, RESPONSES: [self.first, self.second], "reason": reason}

    def labelled(self, p: float, **provenance: Any) -> dict[str, Any]:
        """As a preference, where `p` is the probability that the first answer is better; answers become what the prompt is."""
        first, second = (like_prompt(self.prompt, answer) for answer in (self.first, self.second))
        chosen, rejected = (first, second) if p >= 0.5 else (second, first)
        strength = round(max(p, 1 - p), 6)
        pair = {"prompt": self.prompt, "chosen": chosen, "rejected": rejected, "preference_strength": strength}
        return {**pair, **provenance, **self.columns}


def responses_of(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Prompt, list[Any], dict[str, Any]]]:
    """Prompt, answers and other columns of each row: `responses`, or the `chosen` and `rejected` of preferences.

    Raises:
        ValueError: If there are no rows, or a row has no prompt or no answers; it is named.
    """
    found = []
    for index, row in enumerate(rows):
        prompt = row.get("prompt")
        if not prompt:
            raise ValueError(f"Row {index} has no `prompt`; it has {', '.join(row)}.")
        responses = row.get(RESPONSES)
        if responses is None and row.get("chosen") is not None and row.get("rejected") is not None:
            responses = [row["chosen"], row["rejected"]]
        if not isinstance(responses, Sequence) or isinstance(responses, str) or not responses:
            raise ValueError(
                f"Row {index} needs `{RESPONSES}`, a list of answers (or `chosen` and `rejected`), got {responses!r}. "
                "`sample_candidates` has models write some."
            )
        found.append((prompt, list(responses), {k: v for k, v in row.items() if k not in _OWN}))
    if not found:
        raise ValueError("There are no rows to label.")
    return found


def distinct(responses: Sequence[Completion]) -> list[Completion]:
    """Answers without repetitions; white space around them does not make two different."""
    found: dict[str, Completion] = {}
    for response in responses:
        found.setdefault(text_of(response).strip(), response)
    return list(found.values())


def several(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Row], list[dict[str, Any]]]:
    """Rows with the different answers in them, and what has no two, with the reason.

    Raises:
        ValueError: As in [`responses_of`]; or if no row has two different answers.
    """
    found: list[Row] = []
    left_out: list[dict[str, Any]] = []
    for index, (prompt, responses, columns) in enumerate(responses_of(rows)):
        row = Row(index, prompt, distinct(responses), columns)
        if len(row.responses) > 1:
            found.append(row)
        else:
            words = "all answers are equal" if len(responses) > 1 else "there is one answer only"
            left_out.append(row.left_out(responses, f"{words}: row {index}"))
    if not found:
        raise ValueError(f"No row has two different answers: {left_out[0]['reason']}, and so on.")
    return found, left_out


def comparisons_of(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Comparison], list[dict[str, Any]]]:
    """All pairs of different answers in each row, and rows that have none, with the reason.

    Raises:
        ValueError: As in [`several`].
    """
    rows = list(rows)
    given = {index for index, row in enumerate(rows) if row.get(RESPONSES) is None}
    found, left_out = several(rows)
    return [
        Comparison(row.row, row.prompt, one, other, row.columns, row.row in given)
        for row in found
        for one, other in combinations(row.responses, 2)
    ], left_out


def unsure(p: float, min_confidence: float) -> str | None:
    """Why p(first is better) makes no label, or None where it does."""
    confidence = max(p, 1 - p)
    if round(confidence, 6) == 0.5:  # as it would be written
        return "abstained, a tie: p is 0.5"
    if confidence < min_confidence:
        return f"abstained, not sure enough: {confidence:.3f} is under {min_confidence:g}"
    return None


def length_measure(judged: Sequence[tuple[Comparison, float]]) -> dict[str, Estimate]:
    """The length bias of pairs, each with p(first is better), as a measure of labels; nothing where no two lengths differ."""
    first = [len(text_of(pair.first)) for pair, _ in judged]
    second = [len(text_of(pair.second)) for pair, _ in judged]
    if first == second:
        return {}
    rows = [pair.row for pair, _ in judged]
    return {"length_bias": length_bias([p for _, p in judged], first, second, clusters=rows)}
