"""The members of an ensemble: loaded, as few times as can be, and put on a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from .model import RewardModel
from .shared_trunk import AdaptersOnOneBase, HeadsOnOneBase, MembersOnOneBase, base_of

READING = ("batch_size", "max_length", "progress", "chat_template_kwargs")
"""Options of [`RewardModel`] that say how texts are read."""


def load_members(
    members: Sequence[str | Path | RewardModel | nn.Module] | MembersOnOneBase,
    tokenizer: PreTrainedTokenizerBase | None,
    reading: dict[str, Any],
    model_kwargs: dict[str, Any],
) -> list[tuple[Any, list[int]]]:
    """What scores, with the places of the members that it stands for. Adapter folders with one base become one.

    Raises:
        ValueError, FileNotFoundError: As in [`RewardModel`] and `AdaptersOnOneBase.from_folders`.
    """
    if isinstance(members, MembersOnOneBase):
        return [(members, list(range(len(members.names))))]
    on_base: dict[str, list[int]] = defaultdict(list)
    for place, member in enumerate(members):
        base = base_of(member) if isinstance(member, str | Path) else None
        on_base[base or f"member {place}"].append(place)  # one that is no adapter stands alone
    parts: list[tuple[Any, list[int]]] = []
    for places in on_base.values():
        first = members[places[0]]
        if len(places) > 1:
            folders = [str(members[place]) for place in places]
            parts.append((AdaptersOnOneBase.from_folders(folders, tokenizer, reading, **model_kwargs), places))
        elif isinstance(first, RewardModel):
            parts.append((first, places))
        else:
            parts.append((RewardModel(first, tokenizer, **reading, **model_kwargs), places))
    return parts


def names_of(parts: Sequence[tuple[Any, list[int]]]) -> list[str]:
    """The members' names in their order."""
    named = {
        place: name
        for part, places in parts
        for place, name in zip(places, getattr(part, "names", None) or [part.__name__], strict=True)
    }
    return [named[place] for place in sorted(named)]


def load_heads(
    model: str | Path | nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    reading: dict[str, Any],
    model_kwargs: dict[str, Any],
) -> HeadsOnOneBase:
    """The labels of one sequence classifier, a model or where it lies."""
    if isinstance(model, str | Path):
        model = AutoModelForSequenceClassification.from_pretrained(str(model), **{"dtype": "auto", **model_kwargs})
    return HeadsOnOneBase(model, tokenizer, **reading)


def scale_of(scores: torch.Tensor, name: str) -> tuple[float, float]:
    """Mean and standard deviation of a member's scores of reference texts.

    Raises:
        ValueError: If there are fewer than two, or they are all alike.
    """
    if len(scores) < 2:
        raise ValueError(f"A scale needs at least two reference texts, got {len(scores)}.")
    spread = float(scores.std())
    if spread <= 1e-6 * max(1.0, float(scores.abs().max())):
        raise ValueError(
            f"Member {name} gives all {len(scores)} reference texts the same score, {float(scores[0]):g}: it has no scale. "
            "Give more varied texts, or leave the member out."
        )
    return float(scores.mean()), spread
