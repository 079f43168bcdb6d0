"""Votes and ratings out of the feedback store: each person's own, and those of judges beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import combinations

from ...data.store import FeedbackItem, FeedbackRecord, FeedbackStore
from ...data.store.grouping import Which, by_item
from ...data.store.records import places
from ...types import text_of
from .answers import SAME_MODEL, UNKNOWN_MODEL, Answers, Rating, Unknown, Vote, is_name, refuse_nameless

_KINDS = ("comparison", "judgement", "ranking", "rating")


def answers_from_store(
    store: FeedbackStore,
    *,
    exclude: Collection[str] = (),
    gold: bool = False,
    flagged: bool = False,
    unknown: Unknown = "refuse",
) -> Answers:
    """What holds of everything that was said in a store, person by person.

    Comparisons and judgements are a vote each, a ranking is one for each of its pairs, a rating one number a scale. What was
    taken back or corrected is not counted, nor what was skipped, nor an answer whose author flagged the item: how many of each
    is in `left_out`.

    Args:
        store ([`~rlhf_ext.data.store.FeedbackStore`]):
            Where answers come from.
        exclude (`list[str]`, *optional*):
            Annotators who are left out, such as [`~rlhf_ext.data.store.failed_annotators`].
        gold (`bool`, *optional*, defaults to `False`):
            Whether gold items count: they were chosen to be easy, and would move the figures.
        flagged (`bool`, *optional*, defaults to `False`):
            Whether answers count that came with a flag.
        unknown (`str`, *optional*, defaults to `"refuse"`):
            Items that do not say which models wrote their responses are refused, or left out and counted (`"leave_out"`).

    Returns:
        [`Answers`].

    Raises:
        ValueError: If models are unknown (their number is said), or nothing was answered.

    Example:
    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore
    >>> from rlhf_ext.evaluation.human import answers_from_store

    >>> store = FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")
    >>> item = FeedbackItem("comparison", "2+2?", ("4", "5"), models=("ppo", "sft"))
    >>> _ = store.add_items([item])
    >>> _ = store.add([FeedbackRecord("comparison", item.id, "ann", {"strength": 0.83})])
    >>> [(vote.first, vote.second, vote.p) for vote in answers_from_store(store).votes]
    [('ppo', 'sft', 0.83)]

    ```
    """
    found = Answers(left_out=_not_answers(store))
    flags = set() if flagged else {(one.item, one.annotator) for one in store.records(kinds=["flag"])}
    which = Which(("human", "ai"), 1, (), gold, Counter())
    nameless, items = [], 0
    for item, records in by_item(store, _KINDS, which):
        items += 1
        if not item.models or not all(map(is_name, item.models)):
            nameless.append(f"item {item.id!r}")
            found.left_out[UNKNOWN_MODEL] += len(records)
            continue
        for record in records:
            if record.annotator in exclude:
                found.left_out["their annotator is left out"] += 1
            elif (item.id, record.annotator) in flags:
                found.left_out["flagged by their annotator"] += 1
            elif record.kind == "rating":
                found.ratings.extend(_ratings(item, record))
            else:
                found.votes.extend(_votes(item, record, found.left_out))
    refuse_nameless(nameless, items, "items", unknown, "give `models` in the rows of --items")
    if which.left_out["gold item"]:
        found.left_out["gold items"] = which.left_out["gold item"]
    if not found.votes and not found.ratings:
        why = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise ValueError(f"There is no answer in the store to rank models by{f' ({why})' if why else ''}.")
    return found


def _not_answers(store: FeedbackStore) -> Counter[str]:
    taken_back = sum(1 for _ in store.records(kinds=["retraction"], current=False))
    skipped = sum(1 for _ in store.records(kinds=["skip"]))
    return Counter({name: count for name, count in (("taken back", taken_back), ("skipped", skipped)) if count})


def _votes(item: FeedbackItem, record: FeedbackRecord, left_out: Counter[str]) -> Iterator[Vote]:
    lengths = [len(text_of(response)) for response in item.responses]
    place = {response: at for at, response in enumerate(record.shown_order or ())}
    for first, second, p in _pairs(record):
        if item.models[first] == item.models[second]:
            left_out[SAME_MODEL] += 1
            continue
        yield Vote(
            item.id,
            record.annotator,
            item.models[first],
            item.models[second],
            p,
            record.source,
            f"{item.id} {first} {second}",
            record.kind,
            (lengths[first], lengths[second]),
            place[first] < place[second] if first in place and second in place else None,
        )


def _pairs(record: FeedbackRecord) -> Iterator[tuple[int, int, float]]:
    """Pairs of responses, and p(the first is better)."""
    if record.kind != "ranking":
        yield 0, 1, record.value["strength"]
        return
    rank = {response: at for at, group in enumerate(places(record.value["order"])) for response in group}
    for first, second in combinations(sorted(rank), 2):
        yield first, second, 0.5 if rank[first] == rank[second] else float(rank[first] < rank[second])


def _ratings(item: FeedbackItem, record: FeedbackRecord) -> Iterator[Rating]:
    response = record.value.get("response") or 0
    for name, value in record.value["scales"].items():
        low, high = item.scales[name]
        # One name with other ends is another scale: their means would mix units.
        scale = f"{name} ({low:g} to {high:g})"
        yield Rating(item.id, record.annotator, item.models[response], scale, value, f"{item.id} {response}")
