"""Argilla's JSON export, of version 2 (`dataset.records.to_json`) and version 1 (`FeedbackRecord`s)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .foreign import Columns, Imported, check_asked, order_of, read_rows, strength_of
from .items import FeedbackItem
from .records import FeedbackRecord, Kind, to_json


def read_argilla(
    source: str | Path | Iterable[Mapping[str, Any]],
    *,
    question: str | None = None,
    prompt: str = "prompt",
    responses: Sequence[str] = ("response1", "response2"),
    choices: Mapping[str, float] | None = None,
    scales: Mapping[str, tuple[float, float]] | None = None,
    texts: Sequence[str] = (),
) -> Imported:
    """Reads what people answered in Argilla.

    The kind follows from the number of responses: one is rated, two are compared (a label or a ranking question), more are ranked.
    Suggestions of models are left; drafts and discarded responses are left too, and a discarded one is kept as a skip.

    Args:
        source (`str`, `Path` or `list[dict]`): A file of `dataset.records.to_json(path)`, or its records.
        question (`str`, *optional*): Name of the label or ranking question. Not for ratings.
        prompt (`str`, *optional*, defaults to `"prompt"`), responses (`list[str]`, *optional*): Names of the fields.
        choices (`dict[str, float]`, *optional*): For a label question: p(the first response is better) of each label. By default a
            label is the name of a response's field, or a word for neither such as "tie".
        scales (`dict[str, tuple[float, float]]`, *optional*): For ratings: the ends of each rating question, by its name.
        texts (`list[str]`, *optional*): Names of text questions, whose answers become records of kind text.

    Returns:
        [`Imported`]: items and records, to be stored with `.store(store)`. Annotators are Argilla's user ids. When
        somebody answered is not in its export: the records are of now.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If something in it is not what it should be; the message names the record and the field. If answers are
            there, and none to `question`.

    Example:

    ```python
    >>> from rlhf_ext.data.store import read_argilla
    >>> record = {
    ...     "id": "1",
    ...     "fields": {"prompt": "2+2?", "response1": "4", "response2": "5"},
    ...     "responses": {"better": [{"value": "response1", "user_id": "u1"}]},
    ... }
    >>> found = read_argilla([record], question="better")
    >>> [(one.annotator, one.value) for one in found.records]
    [('u1', {'strength': 1.0})]

    ```
    """
    columns = Columns(prompt, responses, scales or {})
    items: list[FeedbackItem] = []
    records: list[FeedbackRecord] = []
    answered: dict[str, str] = {}
    for where, row in read_rows(source, "Argilla"):
        try:
            other = {"argilla_id": str(row.get("id")), **(row.get("metadata") or {})}
            item, names = columns.item(row.get("fields") or {}, other)
            items.append(item)
            for user, answers, status in _by_user(row.get("responses") or {}):
                if status == "discarded":
                    records.append(_record("skip", item, user, {"reason": "discarded in Argilla"}))
                elif status == "submitted":
                    answered |= {name: repr(name) for name in answers}
                    records += _answers(item, names, user, answers, question, choices, texts)
        except (KeyError, TypeError, ValueError) as error:
            said = f"there is no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{where}: {said}") from error
    check_asked(question, answered)
    return Imported(items, records)


def _by_user(responses: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Who answered what, and its status. Version 2 lists answers by question; version 1 lists users."""
    if isinstance(responses, Mapping):
        users: dict[str, dict[str, Any]] = {}
        states: dict[str, str] = {}
        for name, given in responses.items():
            for one in given:
                users.setdefault(str(one["user_id"]), {})[name] = one["value"]
                states[str(one["user_id"])] = one.get("status") or "submitted"  # some releases of version 2 say it
        for user, answers in users.items():
            yield user, answers, states[user]
        return
    for one in responses:
        values = {name: answer["value"] for name, answer in (one.get("values") or {}).items()}
        yield str(one["user_id"]), values, one.get("status", "submitted")


def _answers(
    item: FeedbackItem,
    names: Sequence[str],
    user: str,
    answers: Mapping[str, Any],
    question: str | None,
    choices: Mapping[str, float] | None,
    texts: Sequence[str],
) -> Iterator[FeedbackRecord]:
    if item.kind == "rating":
        if missing := sorted(set(item.scales) - set(answers)):
            raise ValueError(f"user {user} gave no answer to {missing}.")
        value: dict[str, Any] = {"scales": {name: answers[name] for name in item.scales}}
        item.check_scales(value)
        yield _record("rating", item, user, value)
    elif question is None:
        raise ValueError("several responses are compared or ranked: say `question`, the name of that question.")
    elif question in answers:
        yield _preference(item, names, user, answers[question], choices)
    for name in texts:
        if isinstance(answers.get(name), str) and answers[name].strip():
            yield _record("text", item, user, {"text": answers[name]}, name)


def _preference(
    item: FeedbackItem, names: Sequence[str], user: str, answer: Any, choices: Mapping[str, float] | None
) -> FeedbackRecord:
    if isinstance(answer, list):  # a ranking question: [{"value": name, "rank": 1}, ...]
        order = order_of(names, [(one["value"], one["rank"]) for one in answer])
        if item.kind == "ranking":
            return _record("ranking", item, user, {"order": order})
        strength = 0.5 if len(order) == 1 else 1.0 - order[0]
        return _record("comparison", item, user, {"strength": strength})
    if item.kind == "ranking":
        raise ValueError(f"{len(names)} responses need a ranking question, and the answer is {answer!r}.")
    return _record("comparison", item, user, {"strength": strength_of(answer, names, choices)})


def _record(kind: Kind, item: FeedbackItem, user: str, value: Mapping[str, Any], question: str = "") -> FeedbackRecord:
    said = to_json([item.id, user, kind, question, value], "the answer")
    key = f"argilla {hashlib.sha256(said.encode()).hexdigest()}"
    return FeedbackRecord(kind, item.id, user, value, models=item.models or None, key=key)
