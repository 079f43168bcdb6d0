"""A rollout cut into minibatches."""

from __future__ import annotations

from typing import Any

import torch
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict


def minibatches(parts: list[dict[str, Any]], count: int, by_length: bool = False) -> list[dict[str, Any]]:
    """Draws the minibatches of a rollout anew.

    Args:
        parts (`list[dict]`):
            The rollout in any parts: tensors and lists with a row a completion, scalars, and None.
        count (`int`):
            How many minibatches.
        by_length (`bool`, *optional*, defaults to `False`):
            Whether completions of like length share a minibatch. Which minibatch comes when stays random.

    Returns:
        `list[dict]`.
    """
    whole = shuffle_sequence_dict({key: _join([part[key] for part in parts]) for key in parts[0]})
    if by_length:
        lengths = whole["prompt_mask"].sum(1) + whole["completion_mask"].sum(1)
        order = lengths.argsort(stable=True)
        whole = {key: _picked(value, order) for key, value in whole.items()}
    drawn = split_tensor_dict(whole, count)
    return [drawn[i] for i in torch.randperm(count).tolist()] if by_length else drawn


def _join(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return first if first.ndim == 0 else torch.cat(parts)
    return first if first is None else [item for part in parts for item in part]


def _picked(value: Any, order: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor):
        return value if value.ndim == 0 else value[order.to(value.device)]
    return value if value is None else [value[i] for i in order.tolist()]
