"""What was said, as rows that TRL trains on: preferences, scores, demonstrations, thumbs. All of them stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any, Literal, get_args

from .feedback import FeedbackStore
from .grouping import Which, by_item, chat, row_of
from .items import FeedbackItem
from .preferring import Strength, disagree, preference_of
from .records import FeedbackRecord, places

_Pair = tuple[int, int, float]


def preferences(
    store: FeedbackStore,
    *,
    strength: Strength = "mean",
    ties: Literal["drop", "keep"] = "drop",
    disagreement: Literal["keep", "drop"] = "keep",
    min_strength: float = 0.5,
    min_annotators: int = 1,
    sources: Collection[str] = ("human",),
    exclude: Collection[str] = (),
    gold: bool = False,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams preference rows: one for each comparison, one for each pair of a ranking.

    Answers are made one strength as [`~rlhf_ext.data.store.preferring.preference_of`] says; a ranking tells an order and no
    strength, so its pairs are counted as votes whatever `strength` is. Pairs of one ranking are not independent: keep them in one
    part of a split, by `item` (Ouyang et al., arXiv 2203.02155, train them in one batch).

    Args:
        store ([`FeedbackStore`]): Where answers come from.
        strength (`str`, *optional*, defaults to `"mean"`): `"mean"` of the sliders, or `"votes"`.
        ties (`str`, *optional*, defaults to `"drop"`): Rows whose sides are even are dropped, or kept with a strength of 0.5 and
            the item's first response as `chosen`.
        disagreement (`str`, *optional*, defaults to `"keep"`): Rows where somebody prefers the other side are kept, with the
            strength that follows, or dropped.
        min_strength (`float`, *optional*, defaults to `0.5`): Rows below it are dropped.
        min_annotators (`int`, *optional*, defaults to `1`): Items with fewer people are dropped.
        sources (`list[str]`, *optional*, defaults to `("human",)`): Also `"ai"` for judgements of models.
        exclude (`list[str]`, *optional*): Annotators who are left out.
        gold (`bool`, *optional*, defaults to `False`): Whether gold items are exported.
        as_messages (`bool`, *optional*, defaults to `False`): Plain texts as messages too, for stores that hold both.
        left_out (`Counter`, *optional*): Counts what was dropped, by reason.

    Yields:
        `dict`: `prompt`, `chosen`, `rejected`, `preference_strength` in [0.5, 1] = p(chosen is better), `chosen_model`,
        `rejected_model`, and where the row comes from: `item`, `category`, `prompt_version`, `source`, `annotator` (all of them),
        `annotators` (how many), with the item's own columns.

    Raises:
        ValueError: If an option is not one of those above; while it streams, if a record does not fit its item (both are named).

    Example:

    ```python
    >>> import tempfile
    >>> from rlhf_ext.data.store import FeedbackItem, FeedbackRecord, FeedbackStore, preferences
    >>> store = FeedbackStore(tempfile.mkdtemp() + "/feedback.sqlite")
    >>> item = FeedbackItem("comparison", "2+2?", ("4", "5"))
    >>> _ = store.add_items([item])
    >>> _ = store.add([FeedbackRecord("comparison", item.id, "ann", {"strength": 0.9})])
    >>> [(row["chosen"], row["preference_strength"]) for row in preferences(store)]
    [('4', 0.9)]

    ```
    """
    _check("strength", strength, get_args(Strength))
    _check("ties", ties, ("drop", "keep"))
    _check("disagreement", disagreement, ("keep", "drop"))
    if not 0.5 <= min_strength <= 1:
        raise ValueError(f"`min_strength` should be in [0.5, 1], got {min_strength}.")
    missed: Counter[str] = Counter() if left_out is None else left_out
    which = Which(sources, min_annotators, exclude, gold, missed)

    def stream() -> Iterator[dict[str, Any]]:
        for item, records in by_item(store, ("comparison", "judgement", "ranking"), which):
            prompt, responses = chat(item, as_messages)
            for first, second, p, split in _pairs(item, records, strength):
                better, worse = (first, second) if p >= 0.5 else (second, first)
                sure = max(p, 1 - p)
                if reason := _why_not(sure, split, ties, disagreement, min_strength):
                    missed[reason] += 1
                    continue
                yield row_of(
                    item,
                    records,
                    prompt=prompt,
                    chosen=responses[better],
                    rejected=responses[worse],
                    preference_strength=sure,
                    chosen_model=_model(item, better),
                    rejected_model=_model(item, worse),
                )

    return stream()


def ratings(
    store: FeedbackStore,
    *,
    min_annotators: int = 1,
    sources: Collection[str] = ("human",),
    exclude: Collection[str] = (),
    gold: bool = False,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams scores of rated responses. Arguments are those of [`preferences`].

    Yields:
        `dict`: `prompt`, `completion`, `scores` (the mean of each scale, in its own units), `score` (the mean over scales, each
        brought to [0, 1] by its ends), `model`, and where the row comes from.
    """
    which = Which(sources, min_annotators, exclude, gold, Counter() if left_out is None else left_out)

    def stream() -> Iterator[dict[str, Any]]:
        for item, records in by_item(store, ("rating",), which):
            scores = {name: fmean(record.value["scales"][name] for record in records) for name in item.scales}
            prompt, responses = chat(item, as_messages)
            told = {"scores": scores, "score": _unit(item, scores), "model": _model(item, 0)}
            yield row_of(item, records, prompt=prompt, completion=responses[0], **told)

    return stream()


def demonstrations(
    store: FeedbackStore,
    *,
    min_strength: float = 0.5,
    min_score: float = 0.75,
    min_annotators: int = 1,
    sources: Collection[str] = ("human",),
    exclude: Collection[str] = (),
    gold: bool = False,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams the best response of each item, for supervised fine-tuning; items without a single best one are left out.

    Args:
        min_strength (`float`, *optional*, defaults to `0.5`): How sure a comparison is to be; even ones are left out.
        min_score (`float`, *optional*, defaults to `0.75`): The score in [0, 1] that a rated response needs (as of [`ratings`]).

    The others are those of [`preferences`].

    Yields:
        `dict`: `prompt`, `completion`, `model`, and where the row comes from.
    """
    missed: Counter[str] = Counter() if left_out is None else left_out
    which = Which(sources, min_annotators, exclude, gold, missed)

    def stream() -> Iterator[dict[str, Any]]:
        for item, records in by_item(store, ("comparison", "judgement", "ranking", "rating"), which):
            best = _best(item, records, min_strength, min_score)
            if best is None:
                missed["no best response"] += 1
                continue
            prompt, responses = chat(item, as_messages)
            yield row_of(item, records, prompt=prompt, completion=responses[best], model=_model(item, best))

    return stream()


def thumbs(
    store: FeedbackStore,
    *,
    min_annotators: int = 1,
    sources: Collection[str] = ("human",),
    exclude: Collection[str] = (),
    gold: bool = False,
    as_messages: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Streams thumbs as TRL's unpaired preferences (KTO). Arguments are those of [`preferences`].

    Yields:
        `dict`: `prompt`, `completion`, `label` (True where more thumbs are up than down; even ones are left out), `model`, and where
        the row comes from.
    """
    missed: Counter[str] = Counter() if left_out is None else left_out
    which = Which(sources, min_annotators, exclude, gold, missed)

    def stream() -> Iterator[dict[str, Any]]:
        for item, records in by_item(store, ("thumb",), which):
            prompt, responses = chat(item, as_messages)
            of_response: dict[int, list[FeedbackRecord]] = defaultdict(list)
            for record in records:
                of_response[record.value.get("response") or 0].append(record)
            for index, said in sorted(of_response.items()):
                up = sum(1 if record.value["up"] else -1 for record in said)
                if up == 0:
                    missed["tie"] += 1
                    continue
                told = {"label": up > 0, "model": _model(item, index)}
                yield row_of(item, said, prompt=prompt, completion=responses[index], **told)

    return stream()


def _pairs(
    item: FeedbackItem, records: Sequence[FeedbackRecord], strength: Strength
) -> Iterator[tuple[int, int, float, bool]]:
    """Pairs of responses: p(the first is better), and whether people differ."""
    if item.kind == "comparison":
        strengths = [record.value["strength"] for record in records if "strength" in record.value]
        if strengths:
            yield 0, 1, preference_of(strengths, strength), disagree(strengths)
        return
    ranks = [_ranks(record) for record in records if record.kind == "ranking"]
    if not ranks:
        return
    for first, second in combinations(range(len(item.responses)), 2):
        votes = [0.5 if rank[first] == rank[second] else float(rank[first] < rank[second]) for rank in ranks]
        yield first, second, preference_of(votes, "votes"), disagree(votes)


def _why_not(sure: float, split: bool, ties: str, disagreement: str, min_strength: float) -> str | None:
    if sure == 0.5 and ties == "drop":
        return "tie"
    if split and disagreement == "drop":
        return "disagreement"
    return "too weak" if sure < min_strength else None


def _best(item: FeedbackItem, records: list[FeedbackRecord], min_strength: float, min_score: float) -> int | None:
    if item.kind == "rating":
        scores = {name: fmean(record.value["scales"][name] for record in records) for name in item.scales}
        return 0 if _unit(item, scores) >= min_score else None
    if item.kind == "comparison":
        [(_, _, p, _)] = _pairs(item, records, "mean")
        return None if p == 0.5 or max(p, 1 - p) < min_strength else int(p < 0.5)
    ranks = [_ranks(record) for record in records]
    means = [fmean(rank[index] for rank in ranks) for index in range(len(item.responses))]
    return means.index(min(means)) if means.count(min(means)) == 1 else None


def _ranks(record: FeedbackRecord) -> dict[int, float]:
    """Rank of each response, the mean of their places for equals."""
    ranks: dict[int, float] = {}
    before = 0
    for group in places(record.value["order"]):
        ranks |= dict.fromkeys(group, before + (len(group) - 1) / 2)
        before += len(group)
    return ranks


def _model(item: FeedbackItem, index: int) -> str | None:
    return item.models[index] if item.models else None


def _unit(item: FeedbackItem, scores: dict[str, float]) -> float:
    return fmean((scores[name] - low) / (high - low) for name, (low, high) in item.scales.items())


def _check(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"`{name}` should be one of {', '.join(map(repr, allowed))}, got {value!r}.")
