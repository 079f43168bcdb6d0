"""Caches of keys and values: whether rows can be taken out of one and put together, and how."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer


def cache_name(model: Any) -> str:
    """What the model's forward calls its cache; renamed in transformers 5.24, models that bring their own code keep the old name."""
    base = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), model)  # inside PEFT's
    return "cache" if "cache" in inspect.signature(base.forward).parameters else "past_key_values"


def cache_of(output: Any) -> Any:
    """The cache that a forward pass gave back."""
    return next(output[name] for name in ("cache", "past_key_values") if name in output)


def is_plain(cache: Any) -> bool:
    """Whether it is one of keys and values of all positions, of which rows can be taken."""
    layers = getattr(cache, "layers", [])
    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in layers)


def join(first: Any, second: Any) -> None:
    """Puts the rows of a plain cache below those of another, whose ends stand side by side: the shorter is padded in front."""
    for ours, theirs in zip(first.layers, second.layers, strict=True):
        length = max(ours.keys.shape[-2], theirs.keys.shape[-2])
        for name in ("keys", "values"):
            parts = [getattr(layer, name) for layer in (ours, theirs)]
            filled = [pad(part, (0, 0, length - part.shape[-2], 0)) for part in parts]
            setattr(ours, name, torch.cat(filled))


def keep(cache: Any, rows: torch.Tensor, skip: int) -> None:
    """Keeps some rows of a plain cache, without their first `skip` positions."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[rows, :, skip:], layer.values[rows, :, skip:]
