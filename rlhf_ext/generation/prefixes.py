"""Forward passes of rows that begin alike: what they have in common is computed once.

A judge is asked about many answers with the same rubric, and about each pair in both orders: most of what it reads, it has
read before. Two levels are shared: the beginning of all rows, and that of rows that go on together.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from .caches import cache_name, cache_of, is_plain

LEAST = 16
"""Tokens that must be in common to be worth a forward pass of their own."""


def common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows begin with."""
    ordered = [tuple(row) for row in rows]
    first, last = min(ordered), max(ordered)  # what the outermost two share in the order of a dictionary, all share
    low, high = 0, min(len(first), len(last))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == last[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class Group:
    """Rows that go on together from a longer common beginning.

    Args:
        rows (`list[int]`): Their indices.
        begun (`int`): Ids that are read once for all of them; for a row alone, those that all rows of a plan have in common.
        read (`int`): Ids that the group reads beyond these.
    """

    rows: list[int]
    begun: int
    read: int


def plan(rows: Sequence[Sequence[int]], tail: int, most: int) -> tuple[int, list[Group]]:
    """What to read once: how many ids all rows begin with, and groups of rows that go on together, so that least is read.

    Args:
        rows (`list[list[int]]`): Ids, all different.
        tail (`int`): Ids at the end of each row that it must read itself, at least 1.
        most (`int`): Rows that can be read together.

    Returns:
        `tuple`: 0 and each row alone where sharing would save less than a quarter of the ids.
    """
    total = sum(map(len, rows))
    alone = [Group([index], 0, len(row)) for index, row in enumerate(rows)]
    if len(rows) < 2:
        return 0, alone
    common = max(0, min(common_length(rows), min(map(len, rows)) - tail))
    groups = _grouped(rows, common, tail, most)
    read = common + sum(group.read for group in groups)
    return (common, groups) if common and read <= 0.75 * total else (0, alone)


def _grouped(rows: Sequence[Sequence[int]], common: int, tail: int, most: int) -> list[Group]:
    """The best division of the sorted rows into runs: rows that share much stand side by side."""
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    shared = [common_length([rows[one], rows[other]]) for one, other in pairwise(order)]
    # What the first n rows read at least, and the group that they end with.
    best: list[tuple[int, Group]] = [(0, Group([], 0, 0))]
    for end, last in enumerate(order, start=1):
        begun, whole = len(rows[last]) - tail, len(rows[last])
        found = best[end - 1][0] + whole - common, Group([last], common, whole - common)
        for start in range(end - 2, max(-1, end - 1 - most), -1):
            begun = min(begun, shared[start], len(rows[order[start]]) - tail)
            if begun < common + LEAST:
                break
            whole += len(rows[order[start]])
            read = begun - common + whole - (end - start) * begun
            if best[start][0] + read < found[0]:
                found = best[start][0] + read, Group(order[start:end], begun, read)
        best.append(found)
    groups, end = [], len(order)
    while end:
        groups.append(best[end][1])
        end -= len(groups[-1].rows)
    return groups[::-1]


@dataclass
class _State:
    """Keys and values of what was read so far, one row a batch row."""

    cache: Any
    mask: torch.Tensor
    lengths: torch.Tensor


class PrefixReader:
    """Reads rows of ids with a causal model, what they have in common only once.

    Args:
        model (`PreTrainedModel` or `PeftModel`): The model.
    """

    def __init__(self, model: Any):
        self.model = model
        self._cache_name = cache_name(model)
        self.is_plain: bool | None = (
            None  # not known before the first pass: whether the cache is one of keys and values
        )

    def begin(self, ids: Sequence[int]) -> _State | None:
        """Reads what all rows begin with; None where this model's cache cannot be shared."""
        if self.is_plain is False:
            return None
        empty = torch.zeros(1, 0, dtype=torch.long, device=self.model.device)
        state, _ = self._read(
            _State(None, empty, torch.zeros(1, dtype=torch.long, device=self.model.device)), [ids], 1
        )
        if self.is_plain is None:
            self.is_plain = is_plain(state.cache)
        return state if self.is_plain else None

    def last_logits(
        self, start: _State, rows: Sequence[Sequence[int]], groups: Sequence[Group], count: int
    ) -> list[torch.Tensor]:
        """For each row of `groups`, in their order, the logits of at least its last `count` ids, up to its end.

        Args:
            start (`_State`): What all rows begin with, see [`begin`].
            rows (`list[list[int]]`): Ids.
            groups (`list[Group]`): What to read of them, see [`plan`].
            count (`int`): Logits needed.
        """
        common, longest = int(start.lengths[0]), max(group.begun for group in groups)
        # A row alone goes on in the first pass as far as the others do: there would be padding in its place.
        begun = [
            group.begun if len(group.rows) > 1 else max(common, min(longest, len(rows[group.rows[0]]) - count))
            for group in groups
        ]
        state = self._repeated(start, [0] * len(groups))
        if longest > common:
            firsts = [rows[group.rows[0]][common:end] for group, end in zip(groups, begun, strict=True)]
            state, _ = self._read(state, firsts, 1)
        state = self._repeated(state, [place for place, group in enumerate(groups) for _ in group.rows])
        rest = [rows[index][end:] for group, end in zip(groups, begun, strict=True) for index in group.rows]
        lengths = [len(row) for row in rest]
        _, logits = self._read(state, rest, max(lengths) - min(lengths) + count)
        return [row[: len(row) - max(lengths) + length] for row, length in zip(logits, lengths, strict=True)]

    def _repeated(self, state: _State, places: list[int]) -> _State:
        cache = copy.deepcopy(state.cache)
        chosen = torch.tensor(places, device=state.mask.device)
        cache.batch_select_indices(chosen)
        return _State(cache, state.mask[chosen], state.lengths[chosen])

    def _read(self, state: _State, rows: Sequence[Sequence[int]], keep: int) -> tuple[_State, torch.Tensor]:
        """Goes on with `rows`, padded on the right: what stands in the gaps is masked, positions go on where they stopped."""
        device = state.mask.device
        ids = pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, 0).to(device)
        added = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True, 0).to(device)
        mask = torch.cat([state.mask, added], dim=1)
        positions = state.lengths[:, None] + torch.arange(ids.shape[1], device=device)
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=keep,
            **{self._cache_name: state.cache},
        )
        return _State(cache_of(output), mask, state.lengths + added.sum(dim=1)), output.logits
