"""Label Studio's JSON export: tasks with their annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .foreign import Columns, Imported, check_asked, order_of, read_rows, strength_of
from .items import FeedbackItem
from .records import FeedbackRecord, Kind, to_json


def read_label_studio(
    source: str | Path | Iterable[Mapping[str, Any]],
    *,
    question: str | None = None,
    prompt: str = "prompt",
    responses: Sequence[str] = ("answer1", "answer2"),
    choices: Mapping[str, float] | None = None,
    scales: Mapping[str, tuple[float, float]] | None = None,
) -> Imported:
    """Reads what people answered in Label Studio, from its JSON export (not JSON-MIN, which leaves out who and how).

    The kind follows from the number of responses: one is rated (`Rating`), two are compared (`Pairwise`, or `Choices`), more are
    ranked (`Ranker`, whose list without a category counts; what lies in other buckets comes after it, all equal). Texts
    (`TextArea`) become records of their own. A cancelled annotation is a skip; predictions of models are left.

    Args:
        source (`str`, `Path` or `list[dict]`): The exported file, or its tasks.
        question (`str`, *optional*): Name of the tag that holds the preference, where there are several or it is a `Choices`. By
            default every `Pairwise` and `Ranker` is one.
        prompt (`str`, *optional*, defaults to `"prompt"`), responses (`list[str]`, *optional*): Names in the tasks' `data`; one
            name may stand for a list of `{"id", "body"}`, as `Ranker` shows it.
        choices (`dict[str, float]`, *optional*): For `Choices`: p(the first response is better) of each choice. By default one is
            `left` or `right`, the name of a response, or a word for neither such as "tie".
        scales (`dict[str, tuple[float, float]]`, *optional*): For ratings: the ends of each `Rating`, by its `name`.

    Returns:
        [`Imported`]: items and records, to be stored with `.store(store)`. Annotators are the user's email, or id.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If something in it is not what it should be; the message names the record and the field. If answers are
            there, and none says which response is better.

    Example:

    ```python
    >>> from rlhf_ext.data.store import read_label_studio
    >>> task = {
    ...     "id": 1,
    ...     "data": {"prompt": "2+2?", "answer1": "4", "answer2": "5"},
    ...     "annotations": [
    ...         {"completed_by": 7, "lead_time": 3.5, "result": [{"from_name": "pw", "type": "pairwise", "value": {"selected": "left"}}]}
    ...     ],
    ... }
    >>> [(one.annotator, one.value, one.seconds) for one in read_label_studio([task]).records]
    [('7', {'strength': 1.0}, 3.5)]

    ```
    """
    columns = Columns(prompt, responses, scales or {})
    items: list[FeedbackItem] = []
    records: list[FeedbackRecord] = []
    tags: dict[str, str] = {}
    for where, task in read_rows(source, "Label Studio"):
        try:
            if "annotations" not in task:
                raise ValueError("there are no `annotations`: export as JSON, not as JSON-MIN.")
            item, names = columns.item(task.get("data") or {}, {"label_studio_id": task.get("id")})
            items.append(item)
            for annotation in task["annotations"]:
                records += _answers(item, names, annotation, question, choices)
                tags |= _tags(annotation)
        except (KeyError, TypeError, ValueError) as error:
            said = f"there is no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{where}: {said}") from error
    check_asked(question, tags)
    if tags and not any(record.kind in ("comparison", "ranking", "rating") for record in records):
        raise ValueError(
            "no annotation says which response is better: say `question`, the name of the tag that does; there are "
            f"{', '.join(tags.values())}."
        )
    return Imported(items, records)


def _tags(annotation: Mapping[str, Any]) -> dict[str, str]:
    """Tags that an annotation answers, texts apart, with their type."""
    if annotation.get("was_cancelled"):
        return {}
    results = [one for one in annotation.get("result") or [] if one["type"] != "textarea"]
    return {one["from_name"]: f"{one['from_name']!r} ({one['type']})" for one in results}


def _answers(
    item: FeedbackItem,
    names: Sequence[str],
    annotation: Mapping[str, Any],
    question: str | None,
    choices: Mapping[str, float] | None,
) -> Iterator[FeedbackRecord]:
    if annotation.get("was_cancelled"):
        yield _record("skip", item, annotation, {"reason": "cancelled in Label Studio"})
        return
    scores: dict[str, Any] = {}
    for number, result in enumerate(annotation.get("result") or []):
        value = result["value"]
        if result["type"] == "rating":
            scores[result["from_name"]] = value["rating"]
        elif result["type"] == "textarea":
            text = value["text"] if isinstance(value["text"], str) else "\n".join(value["text"])
            if text.strip():
                yield _record("text", item, annotation, {"text": text}, number)
        elif result["from_name"] == question if question else result["type"] in ("pairwise", "ranker"):
            yield _preference(item, names, annotation, result, choices)
    if item.kind == "rating" and annotation.get("result"):
        rating = {"scales": {name: scores[name] for name in item.scales}}
        item.check_scales(rating)
        yield _record("rating", item, annotation, rating)


def _preference(
    item: FeedbackItem,
    names: Sequence[str],
    annotation: Mapping[str, Any],
    result: Mapping[str, Any],
    choices: Mapping[str, float] | None,
) -> FeedbackRecord:
    value = result["value"]
    wanted = "ranking" if result["type"] == "ranker" else "comparison"
    if item.kind != wanted:
        raise ValueError(
            f"a {result['type']} of {len(names)} responses is no {item.kind}; say which `responses` it has."
        )
    if result["type"] == "ranker":
        return _record("ranking", item, annotation, {"order": order_of(names, _ranks(value["ranker"]))})
    chosen = value["selected"] if result["type"] == "pairwise" else value["choices"]
    if isinstance(chosen, list):
        if len(chosen) != 1:
            raise ValueError(f"one choice was expected, got {chosen}.")
        chosen = chosen[0]
    if choices is None and chosen in ("left", "right"):
        chosen = names[chosen == "right"]
    return _record("comparison", item, annotation, {"strength": strength_of(chosen, names, choices)})


def _ranks(ranker: Any) -> list[tuple[str, float]]:
    """Names with ranks: a list as it is; of buckets the one without a category, `_`, then the others, all equal."""
    if isinstance(ranker, list):
        return [(str(name), float(place)) for place, name in enumerate(ranker)]
    ranked = [(str(name), float(place)) for place, name in enumerate(ranker.get("_", []))]
    rest = [str(name) for bucket, names in ranker.items() if bucket != "_" for name in names]
    return ranked + [(name, float(len(ranked))) for name in rest]


def _record(
    kind: Kind, item: FeedbackItem, annotation: Mapping[str, Any], value: Mapping[str, Any], number: int = 0
) -> FeedbackRecord:
    by = annotation["completed_by"]
    user = str((by.get("email") or by["id"]) if isinstance(by, Mapping) else by)
    said = to_json([item.id, annotation.get("id"), user, kind, number, value], "the answer")
    created = annotation.get("created_at")
    return FeedbackRecord(
        kind,
        item.id,
        user,
        value,
        models=item.models or None,
        seconds=annotation.get("lead_time"),
        key=f"label studio {hashlib.sha256(said.encode()).hexdigest()}",
        created=datetime.fromisoformat(created).astimezone(UTC) if created else datetime.now(UTC),
    )
