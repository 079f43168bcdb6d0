"""Feedback that was collected elsewhere: Argilla's and Label Studio's JSON exports as items and records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...types import Completion, Prompt
from .feedback import FeedbackStore
from .items import FeedbackItem
from .records import FeedbackRecord, to_row

TIES = ("tie", "both", "equal", "same", "about the same", "neither", "draw")
"""Choices that prefer neither answer, whatever their case."""


@dataclass(frozen=True)
class Imported:
    """What a foreign export held, checked and not stored yet.

    Args:
        items (`list[FeedbackItem]`): Questions; nobody is asked them again (`wanted=0`).
        records (`list[FeedbackRecord]`): Answers. Their keys come from the export: importing it again stores nothing twice.
    """

    items: list[FeedbackItem]
    records: list[FeedbackRecord]

    def store(self, store: FeedbackStore) -> int:
        """Stores all of it in one transaction; gives the number of records.

        Raises:
            ValueError: If the store has an item or an answer of the same name with other contents.
        """
        with store.database.writing("feedback") as connection:
            store.add_items_within(connection, self.items)
            if self.records:
                store.add_within(connection, [to_row(record) for record in self.records])
        return len(self.records)


@dataclass(frozen=True)
class Columns:
    """Where prompt and responses stand in a foreign record.

    Args:
        prompt (`str`): Field of the prompt.
        responses (`tuple[str, ...]`): Fields of the responses, one each, or of a list of them (Label Studio's `items`).
        scales (`dict[str, tuple[float, float]]`): For ratings: the ends of each rating question.
    """

    prompt: str
    responses: Sequence[str]
    scales: Mapping[str, tuple[float, float]]

    def item(self, fields: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[FeedbackItem, list[str]]:
        """The item, and how the record names each of its responses."""
        for name in (self.prompt, *self.responses):
            if name not in fields:
                raise ValueError(f"there is no field {name!r}; it has {sorted(fields)}.")
        names, texts = self._responses(fields)
        prompt: Prompt = fields[self.prompt]
        if len(texts) == 1:
            if not self.scales:
                raise ValueError("one response is to be rated: say `scales`, the ends of each rating question.")
            return FeedbackItem("rating", prompt, tuple(texts), scales=self.scales, wanted=0, columns=other), names
        kind = "comparison" if len(texts) == 2 else "ranking"
        return FeedbackItem(kind, prompt, tuple(texts), wanted=0, columns=other), names  # type: ignore[arg-type]

    def _responses(self, fields: Mapping[str, Any]) -> tuple[list[str], list[Completion]]:
        listed = fields[self.responses[0]] if len(self.responses) == 1 else None
        if isinstance(listed, list) and all(isinstance(one, dict) and "id" in one for one in listed):
            return [str(one["id"]) for one in listed], [one.get("body") or one.get("title") for one in listed]
        return list(self.responses), [fields[name] for name in self.responses]


def read_rows(source: str | Path | Iterable[Mapping[str, Any]], what: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Records of a `.json` or `.jsonl` file, or as they are given, each with how errors call it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or not a list of records.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"No such file: {path}. Give a JSON export of {what}.")
        text = path.read_text(encoding="utf-8-sig")
        try:
            source = (
                [json.loads(line) for line in text.splitlines() if line.strip()]
                if _is_lines(path)
                else json.loads(text)
            )
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no JSON: {error}.") from error
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise ValueError(f"A JSON export of {what} is a list of records, got {type(source).__name__}.")
    for index, row in enumerate(source):
        if not isinstance(row, Mapping):
            raise ValueError(f"record {index} of the export of {what} should be a dict, got {type(row).__name__}.")
        yield f"record {index}", row


def strength_of(choice: Any, names: Sequence[str], choices: Mapping[str, float] | None) -> float:
    """p(the first is better) that a choice says: by its name, by the response's, or one of the usual words for neither."""
    if choices is not None:
        if choice not in choices:
            raise ValueError(f"the choice {choice!r} is not in `choices`, which has {sorted(choices)}.")
        return choices[choice]
    if choice in names:
        return 1.0 - names.index(choice)
    if isinstance(choice, str) and choice.strip().lower() in TIES:
        return 0.5
    raise ValueError(
        f"the choice {choice!r} is none of {list(names)}: say `choices`, p(the first response is better) of each."
    )


def order_of(names: Sequence[str], ranks: Sequence[tuple[str, float]]) -> list[Any]:
    """A ranking of responses by name and rank, 1 is best, as groups of equals."""
    for name, _ in ranks:
        if name not in names:
            raise ValueError(f"the ranking names {name!r}, which is none of {list(names)}.")
    if missing := [name for name in names if name not in dict(ranks)]:
        raise ValueError(f"the ranking leaves out {missing}: it has to place all of {list(names)}.")
    groups: dict[float, list[int]] = {}
    for name, rank in ranks:
        groups.setdefault(rank, []).append(names.index(name))
    return [group if len(group) > 1 else group[0] for _, group in sorted(groups.items())]


def check_asked(question: str | None, answered: Mapping[str, str]) -> None:
    """Refuses a question that nobody answered, where others were: a name with a slip in it would import nothing, unsaid.

    Args:
        question (`str`, *optional*): The name that was given.
        answered (`dict[str, str]`): What was answered, by name: what it is called in an error.
    """
    if question is not None and answered and question not in answered:
        raise ValueError(f"nobody answered a question {question!r}; answered are {', '.join(answered.values())}.")


def _is_lines(path: Path) -> bool:
    return path.suffix == ".jsonl"
