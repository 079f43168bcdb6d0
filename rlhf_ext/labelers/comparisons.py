"""Rows with several answers as comparisons of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..types import Completion, Prompt, text_of

RESPONSES = "responses"
_OWN = {"prompt", RESPONSES, "chosen", "rejected", "preference_strength", "source", "annotator", "model", "reason"}


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, and the other columns of their row."""

    row: int
    prompt: Prompt
    first: Completion
    second: Completion
    columns: Mapping[str, Any]

    def left_out(self, reason: str) -> dict[str, Any]:
        """As a row of what was left out."""
        return {**self.columns, "prompt": self.prompt, RESPONSES: [self.first, self.second], "reason": reason}

    def labelled(self, p: float, **provenance: Any) -> dict[str, Any]:
        """As a preference, where `p` is the probability that the first answer is better."""
        chosen, rejected = (self.first, self.second) if p >= 0.5 else (self.second, self.first)
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
                f"Row {index} needs `{RESPONSES}`, a list of answers (or `chosen` and `rejected`), got {responses!r}."
            )
        found.append((prompt, list(responses), {k: v for k, v in row.items() if k not in _OWN}))
    if not found:
        raise ValueError("There are no rows to label.")
    return found


def distinct(responses: Sequence[Completion]) -> list[Completion]:
    """Answers without repetitions; white space around them does not make two different."""
    return list({text_of(response).strip(): response for response in reversed(responses)}.values())[::-1]


def comparisons_of(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Comparison], list[dict[str, Any]]]:
    """All pairs of different answers in each row, and rows that have none, with the reason.

    Raises:
        ValueError: As in [`responses_of`]; or if no row has two different answers.
    """
    pairs: list[Comparison] = []
    left_out: list[dict[str, Any]] = []
    for index, (prompt, responses, columns) in enumerate(responses_of(rows)):
        different = distinct(responses)
        if len(different) < 2:
            words = "all answers are equal" if len(responses) > 1 else "there is one answer only"
            left_out.append({**columns, "prompt": prompt, RESPONSES: responses, "reason": f"{words}: row {index}"})
        pairs += [Comparison(index, prompt, one, other, columns) for one, other in combinations(different, 2)]
    if not pairs:
        raise ValueError(f"No row has two different answers: {left_out[0]['reason']}, and so on.")
    return pairs, left_out
