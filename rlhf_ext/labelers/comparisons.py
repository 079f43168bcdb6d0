"""Rows with several answers as comparisons of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ..data.provenance import PROVENANCE, is_of_a_label
from ..rewards.calling import like_prompt
from ..types import Completion, Prompt, is_messages, text_of
from .fitting import characters_cut

RESPONSES, AUTHORS = "responses", "models"
CUT = "characters_cut"
_LABEL = {"chosen", "rejected", "preference_strength", "margin", "reason", CUT}
_OWN = {"prompt", RESPONSES, AUTHORS, "chosen_model", "rejected_model", *_LABEL}


@dataclass(frozen=True)
class Row:
    """A prompt, answers to it, and the other columns of their row."""

    row: int
    prompt: Prompt
    responses: Sequence[Completion]
    columns: Mapping[str, Any]
    given: float | None = None
    """p(the first answer is better) by the label that the row came with, where it came with one."""
    authors: Sequence[str | None] = ()
    """Which model wrote each answer, where the row says so."""
    limit: int | None = None
    """Characters of each text that a judge is shown; None is all."""

    def left_out(self, responses: Sequence[Completion], reason: str) -> dict[str, Any]:
        """Some of its answers as a row of what was left out."""
        row = {**self.columns, "prompt": self.prompt, RESPONSES: list(responses)}
        return {
            **row,
            **({AUTHORS: [self._author(one) for one in responses]} if self.authors else {}),
            "reason": reason,
        }

    def pair(self, first: Completion, second: Completion) -> Comparison:
        """Two of its answers."""
        authors = (self._author(first), self._author(second))
        return Comparison(self.row, self.prompt, first, second, self.columns, self.given, authors, self.limit)

    def _author(self, response: Completion) -> str | None:
        return self.authors[list(self.responses).index(response)] if self.authors else None


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, and the other columns of their row."""

    row: int
    prompt: Prompt
    first: Completion
    second: Completion
    columns: Mapping[str, Any]
    given: float | None = None
    """p(first is better) by the label that the row came with, where it came with one."""
    authors: tuple[str | None, str | None] = (None, None)
    """Which models wrote them, where the row says so."""
    limit: int | None = None
    """Characters of each text that a judge is shown; None is all."""

    @property
    def characters_cut(self) -> int:
        """Characters of its texts that a judge is not shown."""
        return characters_cut([self.prompt, self.first, self.second], self.limit)

    def left_out(self, reason: str) -> dict[str, Any]:
        """As a row of what was left out."""
        authors = () if self.authors == (None, None) else self.authors
        row = Row(self.row, self.prompt, (self.first, self.second), self.columns, authors=authors)
        return row.left_out(row.responses, reason)

    def labelled(self, p: float, **provenance: Any) -> dict[str, Any]:
        """As a preference, where `p` is the probability that the first answer is better; answers become what the prompt is.

        Provenance stands under `label_source` and the like where the rows have a `source` of their own.
        """
        order = (0, 1) if p >= 0.5 else (1, 0)
        answers = [like_prompt(self.prompt, answer) for answer in (self.first, self.second)]
        chosen, rejected = (answers[place] for place in order)
        strength = round(max(p, 1 - p), 6)
        pair = {"prompt": self.prompt, "chosen": chosen, "rejected": rejected, "preference_strength": strength}
        if self.authors != (None, None):
            provenance |= dict(zip(("chosen_model", "rejected_model"), (self.authors[n] for n in order), strict=True))
        named = {f"label_{name}" if name in self.columns else name: value for name, value in provenance.items()}
        return {**pair, **named, **self.columns}


def rows_of(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows as they are labelled: `responses` and perhaps their `models`, or `chosen` and `rejected` and perhaps theirs.

    Raises:
        ValueError: If there are no rows, or a row has no prompt, no answers, or another number of models than of answers; it
            is named.
    """
    found, rows = [], list(rows)
    # The same in all rows, so that a column of the result means one thing.
    own = {name for row in rows for name in PROVENANCE if row.get(name) is not None and not is_of_a_label(row, name)}
    for index, row in enumerate(rows):
        prompt = row.get("prompt")
        if not prompt:
            there = f"it has {', '.join(row)}" if "prompt" not in row else f"it is {prompt!r}"
            raise ValueError(f"Row {index} has no `prompt`; {there}.")
        responses, given, authors = row.get(RESPONSES), None, row.get(AUTHORS)
        if responses is None and row.get("chosen") is not None and row.get("rejected") is not None:
            responses, given = [row["chosen"], row["rejected"]], _strength(row.get("preference_strength"))
            authors = [row.get("chosen_model"), row.get("rejected_model")]
        if not isinstance(responses, Sequence) or isinstance(responses, str) or not responses:
            raise ValueError(
                f"Row {index} needs `{RESPONSES}`, a list of answers (or `chosen` and `rejected`), got {responses!r}. "
                "`sample_candidates` has models write some."
            )
        for place, response in enumerate(responses):
            if not isinstance(response, str) and not is_messages(response):
                raise ValueError(
                    f"Row {index}: answer {place} of `{RESPONSES}` should be text or messages, got {response!r}."
                )
        if authors is not None and (isinstance(authors, str) or len(authors) != len(responses)):
            raise ValueError(
                f"Row {index} has {len(responses)} answers; `{AUTHORS}` should name as many, got {authors!r}."
            )
        authors = list(authors) if authors is not None and any(authors) else []
        former = {*PROVENANCE, *(f"label_{name}" for name in PROVENANCE if name in row)}
        columns = {name: value for name, value in row.items() if name not in _OWN | former}
        columns |= {name: None if is_of_a_label(row, name) else row.get(name) for name in PROVENANCE if name in own}
        found.append(Row(index, prompt, list(responses), columns, given, authors))
    if not found:
        raise ValueError("There are no rows to label.")
    return found


def _strength(given: Any) -> float:
    """p(chosen is better) as a row came with it; a choice without one is certain."""
    return given if isinstance(given, float) and 0.5 <= given <= 1 else 1.0


def several(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Row], list[dict[str, Any]]]:
    """Rows with the different answers in them, and what has no two, with the reason.

    White space around them does not make two answers different; of equal ones the first stays.

    Raises:
        ValueError: As in [`rows_of`]; or if no row has two different answers.
    """
    found: list[Row] = []
    left_out: list[dict[str, Any]] = []
    for row in rows_of(rows):
        firsts: dict[str, int] = {}
        for place, response in enumerate(row.responses):
            firsts.setdefault(text_of(response).strip(), place)
        if len(firsts) > 1:
            kept = list(firsts.values())
            authors = [row.authors[place] for place in kept] if row.authors else []
            found.append(replace(row, responses=[row.responses[place] for place in kept], authors=authors))
        else:
            words = "all answers are equal" if len(row.responses) > 1 else "there is one answer only"
            left_out.append(row.left_out(row.responses, f"{words}: row {row.row}"))
    if not found:
        raise ValueError(f"No row has two different answers: {left_out[0]['reason']}, and so on.")
    return found, left_out


def comparisons_of(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Comparison], list[dict[str, Any]]]:
    """All pairs of different answers in each row, and rows that have none, with the reason.

    Raises:
        ValueError: As in [`several`].
    """
    found, left_out = several(rows)
    return [row.pair(*answers) for row in found for answers in combinations(row.responses, 2)], left_out


def unsure(p: float, min_confidence: float) -> str | None:
    """Why p(first is better) makes no label, or None where it does."""
    confidence = max(p, 1 - p)
    if round(confidence, 6) == 0.5:  # as it would be written
        return "abstained, a tie: p is 0.5"
    if confidence < min_confidence:
        return f"abstained, not sure enough: {confidence:.3f} is under {min_confidence:g}"
    return None
