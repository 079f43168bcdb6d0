"""Answers by item, streamed: what exports are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

from ...types import Completion, Message, Prompt
from .database import sa
from .feedback import FeedbackStore
from .items import FeedbackItem, ItemKind, from_stored
from .records import FeedbackRecord, check_value, from_row
from .schema import ITEMS, RECORDS, is_current


@dataclass(frozen=True)
class Which:
    """Which answers count.

    Args:
        sources (`tuple[str, ...]`): `"human"`, `"ai"` or both.
        min_annotators (`int`): Items with fewer are left out.
        exclude (`set[str]`): Annotators whose answers are left out, such as those of
            [`~rlhf_ext.data.store.failed_annotators`].
        gold (`bool`): Whether gold items are taken too.
        left_out (`Counter`): Counts the items that are left out, by reason.
    """

    sources: Collection[str]
    min_annotators: int
    exclude: Collection[str]
    gold: bool
    left_out: Counter[str]

    def __post_init__(self) -> None:
        if self.min_annotators < 1:
            raise ValueError(f"`min_annotators` should be at least 1, got {self.min_annotators}.")
        if not self.sources or not set(self.sources) <= {"human", "ai"} or isinstance(self.sources, str):
            raise ValueError(f"`sources` should be of 'human' and 'ai', got {self.sources!r}.")
        if isinstance(self.exclude, str):
            raise ValueError(f"`exclude` should be a list of annotators, got {self.exclude!r}.")


def by_item(
    store: FeedbackStore, kinds: Collection[str], which: Which
) -> Iterator[tuple[FeedbackItem, list[FeedbackRecord]]]:
    """Streams items with what holds of each annotator: one record a person and response, the latest.

    Raises:
        ValueError: If a record is no answer to its item, as one that was added by hand may be; it is named.
    """
    query = (
        sa.select(RECORDS, ITEMS.c.content, ITEMS.c.wanted, ITEMS.c.priority)
        .join(ITEMS, ITEMS.c.id == RECORDS.c.item)
        .where(RECORDS.c.kind.in_(list(kinds)), RECORDS.c.source.in_(list(which.sources)), is_current())
        .order_by(RECORDS.c.item, RECORDS.c.id)
    )
    with store.database.reading() as connection:
        if homeless := connection.scalar(_homeless(kinds, which.sources)):
            which.left_out["answer to an item that is not in the store"] += homeless
        rows = connection.execution_options(yield_per=1000).execute(query)
        for _, group in groupby(rows, lambda row: row.item):
            found = list(group)
            item = from_stored(_Named(found[0]))
            if item.gold is not None and not which.gold:
                which.left_out["gold item"] += 1
                continue
            said = {(row.annotator, _response(row)): row for row in found if row.annotator not in which.exclude}
            if len({annotator for annotator, _ in said}) < which.min_annotators:
                which.left_out["too few annotators"] += 1
                continue
            yield item, [_fitting(item, from_row(row)) for row in said.values()]


def _homeless(kinds: Collection[str], sources: Collection[str]) -> Any:
    """Counts answers to items that are not in the store, which no export can hold."""
    there = sa.exists().where(ITEMS.c.id == RECORDS.c.item).correlate(RECORDS)
    query = sa.select(sa.func.count()).select_from(RECORDS).where(~there, is_current())
    return query.where(RECORDS.c.kind.in_(list(kinds)), RECORDS.c.source.in_(list(sources)))


def _fitting(item: FeedbackItem, record: FeedbackRecord) -> FeedbackRecord:
    """The record, if it is an answer to this item."""
    kind = "comparison" if record.kind == "judgement" else record.kind
    if kind not in get_args(ItemKind):
        return record
    try:
        if kind != item.kind:
            raise ValueError(f"it is a {record.kind}, and the item a {item.kind}.")
        check_value(record.kind, record.value, len(item.responses))
        item.check_scales(record.value)
    except ValueError as error:
        raise ValueError(
            f"Record {record.id} does not fit its item {item.id!r}: {error} Take it back: add a retraction that replaces it."
        ) from None
    return record


def chat(item: FeedbackItem, as_messages: bool) -> tuple[Prompt, list[Completion]]:
    """Prompt and responses of one kind, text or messages, as TRL wants them."""
    texts = [item.prompt, *item.responses]
    if not as_messages and all(isinstance(text, str) for text in texts):
        return item.prompt, list(item.responses)
    prompt: list[Message] = (
        item.prompt if isinstance(item.prompt, list) else [{"role": "user", "content": item.prompt}]
    )
    return prompt, [
        one if isinstance(one, list) else [{"role": "assistant", "content": one}] for one in item.responses
    ]


def row_of(item: FeedbackItem, records: list[FeedbackRecord], **values: Any) -> dict[str, Any]:
    """A row of an export: its values, where they come from, and the item's own columns where no name is taken."""
    people = sorted({record.annotator for record in records})
    row = {
        **values,
        "item": item.id,
        "category": item.category,
        "prompt_version": item.prompt_version,
        "source": "+".join(sorted({record.source for record in records})),
        "annotator": ", ".join(people),
        "annotators": len(people),
    }
    return {**row, **{name: value for name, value in item.columns.items() if name not in row}}


def _response(row: Any) -> Any:
    return from_row(row).value.get("response") if row.kind in ("rating", "thumb", "flag", "text") else None


class _Named:
    """A joined row as a row of the table of items."""

    def __init__(self, row: Any):
        self.id, self.content, self.wanted, self.priority = row.item, row.content, row.wanted, row.priority
