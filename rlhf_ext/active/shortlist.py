"""The best of a stream, in memory that does not grow with it, and a batch made of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .batches import check_count, quota_counts
from .design import Design
from .pool import PoolRow
from .spread import deduplicate, k_center, k_means_plus_plus

_OTHERS = None
"""The group of all categories without a quota."""
_NAMED = 20
"""Of those, at most as many are named in a warning."""


@dataclass(frozen=True)
class BatchRule:
    """How a batch is made of the prompts of the highest utility.

    Args:
        diversify (`str`, *optional*):
            `"k_center"` or `"k_means++"`: the batch is spread over the embeddings of a shortlist. By default the best are taken.
            (`d_optimal` spreads by itself.)
        shortlist (`int`, *optional*, defaults to `8`):
            Prompts that are kept for each one to be chosen, where the batch is spread or thinned.
        max_similarity (`float`, *optional*):
            Largest cosine of the embeddings of two prompts in the batch, in [-1, 1]. By default there is no limit.
        quotas (`dict[str, float]`, *optional*):
            Share of the batch for each category, in (0, 1]; what is left is for all others. Places that a category cannot fill go
            to the best of the rest.
        category (`str`, *optional*, defaults to `"category"`):
            The column that `quotas` speak of.

    Raises:
        ValueError: If one of these does not hold.

    Example:

    ```python
    >>> from rlhf_ext.active import BatchRule
    >>> BatchRule(diversify="k_center", quotas={"code": 0.3}).shortlist
    8

    ```
    """

    diversify: Literal["k_center", "k_means++"] | None = None
    shortlist: int = 8
    max_similarity: float | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)
    category: str = "category"

    def __post_init__(self) -> None:
        if self.diversify not in (None, "k_center", "k_means++"):
            raise ValueError(f"`diversify` should be 'k_center' or 'k_means++', got {self.diversify!r}.")
        check_count("shortlist", self.shortlist)
        if self.max_similarity is not None and not -1 <= self.max_similarity <= 1:
            raise ValueError(f"`max_similarity` should be in [-1, 1], got {self.max_similarity}.")
        quota_counts(self.quotas, 1)

    @property
    def needs_embeddings(self) -> bool:
        """Whether it compares prompts."""
        return self.diversify is not None or self.max_similarity is not None


@dataclass
class Entry:
    """A prompt that may be chosen.

    Args:
        row ([`PoolRow`]): What it is.
        utility (`float`): What its strategy says; what it adds to the batch once it is chosen by a [`Design`].
        pair (`tuple[int, int]`): Places of the responses to ask about.
        features (array of shape `(n, d)`, *optional*): Of its responses.
        scores (array of shape `(n,)`, *optional*): Their mean rewards.
        tie (`float`, *optional*, defaults to `0.0`): Decides between equal utilities, the lower first.
    """

    row: PoolRow
    utility: float
    pair: tuple[int, int]
    features: NDArray[Any] | None = None
    scores: Floats | None = None
    tie: float = 0.0


class Shortlist:
    """Keeps the prompts of the highest utility of a stream, as many as the batch may need, and chooses the batch.

    Args:
        budget (`int`): Prompts in the batch.
        rule ([`BatchRule`]): How it is made.
        seed (`int`): Of ties and draws.
        designed (`bool`): Whether a [`Design`] makes it.
    """

    def __init__(self, budget: int, rule: BatchRule, seed: int, designed: bool):
        self.budget, self.rule = budget, rule
        spreads = designed or rule.needs_embeddings
        self.capacity = budget * (rule.shortlist if spreads else 1)
        self._groups: dict[Any, list[Entry]] = {name: [] for name in (*rule.quotas, _OTHERS)}
        self._others: dict[Any, None] = {}  # the first categories without a quota
        self._ties, self._rng = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, entries: list[Entry]) -> None:
        """Takes in a block of the stream; what can no longer be chosen is let go.

        Raises:
            ValueError: If there are quotas, and a row has no category, or a list as one.
        """
        for entry in entries:
            if self.rule.quotas and self.rule.category not in entry.row.columns:
                raise ValueError(
                    f"Row {entry.row.index} has no column {self.rule.category!r}, which the quotas speak of; it has "
                    f"{', '.join(entry.row.columns) or 'no others'}."
                )
            entry.tie = self._ties.random()  # one a row: how the stream is cut does not count
            name = entry.row.columns.get(self.rule.category) if self.rule.quotas else _OTHERS
            if not isinstance(name, Hashable):
                raise ValueError(
                    f"Row {entry.row.index} has {name!r:.80} in the column {self.rule.category!r}, which the quotas speak of: "
                    "one category is needed."
                )
            if name not in self.rule.quotas and len(self._others) < _NAMED:
                self._others[name] = None
            self._groups[name if name in self.rule.quotas else _OTHERS].append(entry)
        for name, group in self._groups.items():
            if len(group) > 2 * self.capacity:  # now and then: each is sorted in about once
                self._groups[name] = self._best(group, self.capacity)

    def unmet(self) -> str:
        """A sentence where there are quotas for categories that no prompt has; else empty."""
        nobody = [name for name in self.rule.quotas if not self._groups[name]]
        if not nobody:
            return ""
        there = [name for name in (*self.rule.quotas, *self._others) if name not in nobody]
        return (
            f"No prompt that can be asked about is of the category {', '.join(map(repr, nobody))}, which has a quota: its places "
            f"go to others. There are {', '.join(map(repr, there))}."
        )

    def choose(self, design: Design | None) -> list[Entry]:
        """The batch, by category, each in the order in which it was chosen."""
        groups = {name: self._best(group, self.capacity) for name, group in self._groups.items()}
        if self.rule.max_similarity is not None:
            groups = self._thinned(groups, self.rule.max_similarity)
        chosen: list[Entry] = []
        for name, count in quota_counts(self.rule.quotas, self.budget).items():
            chosen += self._batch(groups[name], count, chosen, design)
        taken = {entry.row.index for entry in chosen}
        rest = [entry for group in groups.values() for entry in group if entry.row.index not in taken]
        return chosen + self._batch(rest, self.budget - len(chosen), chosen, design)

    def _best(self, entries: list[Entry], k: int) -> list[Entry]:
        return sorted(entries, key=lambda entry: (-entry.utility, entry.tie))[:k]

    def _thinned(self, groups: dict[Any, list[Entry]], max_similarity: float) -> dict[Any, list[Entry]]:
        everything = [entry for group in groups.values() for entry in group]
        if not everything:
            return groups
        kept = deduplicate(_vectors(everything), max_similarity, [entry.utility for entry in everything])
        stays = {everything[place].row.index for place in kept}
        return {name: [entry for entry in group if entry.row.index in stays] for name, group in groups.items()}

    def _batch(self, entries: list[Entry], count: int, before: list[Entry], design: Design | None) -> list[Entry]:
        """`count` of some entries, or all of them, with those `before` in mind."""
        count = min(count, len(entries))
        if count == 0:
            return []
        if design is not None:
            return _designed(entries, count, design)
        if self.rule.diversify is None:
            return self._best(entries, count)
        utilities = np.array([entry.utility for entry in entries])
        points = _vectors(entries)
        taken = _vectors(before) if before else None
        if self.rule.diversify == "k_center":
            places = k_center(points, count, taken, start=int(utilities.argmax()))
        else:
            places = k_means_plus_plus(points, count, utilities - utilities.min(), taken, self._rng)
        return [entries[place] for place in places]


def _vectors(entries: list[Entry]) -> NDArray[Any]:
    """One embedding a prompt: the mean of its responses'."""
    return np.stack([entry.features.mean(axis=0) for entry in entries if entry.features is not None])


def _designed(entries: list[Entry], count: int, design: Design) -> list[Entry]:
    """Chosen by a design, which takes them in; utilities become what each adds."""
    width = max(len(entry.features) for entry in entries if entry.features is not None)
    dimensions = len(design.covariance)
    features = np.zeros((len(entries), width, dimensions))
    scores, present = np.zeros((len(entries), width)), np.zeros((len(entries), width), dtype=bool)
    for place, entry in enumerate(entries):
        assert entry.features is not None and entry.scores is not None
        n = len(entry.features)
        features[place, :n], scores[place, :n] = entry.features, np.nan_to_num(entry.scores)
        present[place, :n] = np.isfinite(entry.scores)
    places, found = design.choose(features, count, scores, present)
    return [
        Entry(entries[place].row, float(utility), (int(pair[0]), int(pair[1])), entries[place].features)
        for place, utility, pair in zip(places, *found, strict=True)
    ]
