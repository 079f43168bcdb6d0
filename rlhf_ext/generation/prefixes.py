"""Forward passes of rows that begin alike: what they have in common is computed once.

A judge is asked about many answers with the same rubric, and about each pair in both orders: most of what it reads, it has
read before. Two levels are shared: the beginning of all rows, and that of rows that go on together.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

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


def plan(rows: Sequence[Sequence[int]], tail: int) -> tuple[int, list[list[int]]]:
    """What to read once: how many ids all rows begin with, and rows that go on together, as groups of indices.

    Args:
        rows (`list[list[int]]`): Ids, all different.
        tail (`int`): Ids at the end of each row that it must read itself, at least 1.

    Returns:
        `tuple`: 0 and each row alone where sharing would save less than a quarter of the ids.
    """
    alone = [[index] for index in range(len(rows))]
    if len(rows) < 2:
        return 0, alone
    common = max(0, min(common_length(rows), min(map(len, rows)) - tail))
    groups: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda i: tuple(rows[i])):
        if groups and _shared(rows, [*groups[-1], index], tail) >= common + LEAST:
            groups[-1].append(index)
        else:
            groups.append([index])
    read = common
    for group in groups:
        begun = _shared(rows, group, tail) if len(group) > 1 else common
        read += begun - common + sum(len(rows[i]) - begun for i in group)
    return (common, groups) if common and read <= 0.75 * sum(map(len, rows)) else (0, alone)


def _shared(rows: Sequence[Sequence[int]], group: Sequence[int], tail: int) -> int:
    return min(common_length([rows[i] for i in group]), min(len(rows[i]) for i in group) - tail)


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
        base = next(
            (module for module in model.modules() if isinstance(module, PreTrainedModel)), model
        )  # inside PEFT's
        # Renamed in transformers 5.24; models that bring their own code keep the old name.
        self._cache_name = "cache" if "cache" in inspect.signature(base.forward).parameters else "past_key_values"
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
            layers = getattr(state.cache, "layers", [])
            self.is_plain = type(state.cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in layers)
        return state if self.is_plain else None

    def last_logits(
        self, start: _State, rows: Sequence[Sequence[int]], groups: Sequence[Sequence[int]], count: int
    ) -> list[torch.Tensor]:
        """For each row of `groups`, in their order, the logits of at least its last `count` ids, up to its end.

        Args:
            start (`_State`): What all rows begin with, see [`begin`].
            rows (`list[list[int]]`): Ids.
            groups (`list[list[int]]`): Indices of rows to read, those with a longer common beginning together.
            count (`int`): Logits needed.
        """
        common = int(start.lengths[0])
        firsts = [_shared(rows, group, count) for group in groups]
        state = self._repeated(start, [0] * len(groups))
        if max(firsts) > common:
            state, _ = self._read(
                state, [rows[group[0]][common:end] for group, end in zip(groups, firsts, strict=True)], 1
            )
        state = self._repeated(state, [place for place, group in enumerate(groups) for _ in group])
        rest = [rows[i][end:] for group, end in zip(groups, firsts, strict=True) for i in group]
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
        cache = next(output[name] for name in ("cache", "past_key_values") if name in output)
        return _State(cache, mask, state.lengths + added.sum(dim=1)), output.logits
