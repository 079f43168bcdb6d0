"""Labels of models and rewards, kept beside what people say of the same pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..provenance import provenance_of
from .feedback import FeedbackStore
from .items import FeedbackItem
from .records import FeedbackRecord, is_number, to_json, to_row


def record_judgements(store: FeedbackStore, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Stores preference rows of a labeler as records of kind `"judgement"`; the same rows again are stored once.

    Args:
        store ([`FeedbackStore`]): Where they go.
        rows (`list[dict]`): As [`~rlhf_ext.labelers.result.LabelResult`] has them in `preferences`: `prompt`, `chosen`, `rejected`,
            `preference_strength` in [0.5, 1] (1 if it is missing), and `annotator`, `model` and `source`. A row with `item`, the id
            of a comparison in the store, is a judgement of that one; otherwise an item of this pair is kept that nobody is asked.

    Returns:
        `list[int]`: ids of the records, in order.

    Raises:
        ValueError: If a row is bad, or names an item that is not there or of other responses; the message names the index. Then
            nothing is stored.

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackStore, record_judgements
    >>> store = FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")
    >>> row = {"prompt": "2+2?", "chosen": "4", "rejected": "5", "preference_strength": 0.9, "annotator": "helpful", "model": "m"}
    >>> len(record_judgements(store, [row])), len(record_judgements(store, [row, row]))
    (1, 2)
    >>> [(record.annotator, record.kind) for record in store.records()]
    [('m/helpful', 'judgement')]

    ```
    """
    named = {item.id: item for item in store.items([row["item"] for row in rows if row.get("item")])}
    items, records = [], []
    for index, row in enumerate(rows):
        try:
            item = _item(row, named)
            record = _record(row, item)
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {index}: {error}") from error
        items.append(item)
        records.append(record)
    if not records:
        return []
    with store.database.writing("feedback") as connection:
        store.add_items_within(connection, [item for item in items if item.id not in named])
        return store.add_within(connection, [to_row(record) for record in records])


def _item(row: Mapping[str, Any], named: Mapping[str, FeedbackItem]) -> FeedbackItem:
    for name in ("prompt", "chosen", "rejected"):
        if row.get(name) is None:
            raise ValueError(f"`{name}` is missing; the row has {sorted(map(str, row))}.")
    if row.get("item"):
        if row["item"] not in named:
            raise ValueError(f"there is no item {row['item']!r} in the store.")
        return named[row["item"]]
    # Which answer was chosen is the judgement, not the item: two judges who differ have the same item.
    pair = sorted((row["chosen"], row["rejected"]), key=lambda text: to_json(text, "the answer"))
    return FeedbackItem("comparison", row["prompt"], tuple(pair), wanted=0)


def _record(row: Mapping[str, Any], item: FeedbackItem) -> FeedbackRecord:
    strength = 1.0 if row.get("preference_strength") is None else row["preference_strength"]
    if not is_number(strength) or not 0.5 <= strength <= 1:
        raise ValueError(f"`preference_strength` should be in [0.5, 1], got {strength!r}.")
    sides = (row["chosen"], row["rejected"])
    if item.kind != "comparison" or sides not in (item.responses, item.responses[::-1]):
        raise ValueError(f"item {item.id!r} is not a comparison of these two answers.")
    first = strength if sides == item.responses else 1 - strength
    judge, model, source = (provenance_of(row, name) for name in ("annotator", "model", "source"))
    who = "/".join(str(part) for part in (model, judge) if part)
    if not who:
        raise ValueError("`annotator` and `model` are both missing: who judged?")
    if len(who) > 128:  # a long path of a model; the end tells more than the beginning
        who = f"...{who[-125:]}"
    value = {"strength": round(first, 12), **({"source": source} if source not in (None, "ai") else {})}
    key = hashlib.sha256(to_json([item.id, model, judge, value], "the judgement").encode()).hexdigest()
    models = (str(model),) if model else None
    return FeedbackRecord("judgement", item.id, who, value, source="ai", models=models, key=f"judgement {key[:64]}")
