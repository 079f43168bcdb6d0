"""Weights that DeepSpeed ZeRO-3 has parted among processes from the moment a model is made: how to read, copy and set them.

A parted parameter looks like an empty tensor, so that `load_state_dict`, `copy.deepcopy` and `nn.init` on it do nothing or
the wrong thing without a word.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled


@contextmanager
def gathered(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Makes parameters whole for a `with` block; what the first process makes of them holds for all."""
    if not is_deepspeed_zero3_enabled():
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(parameters), modifier_rank=0):
        yield


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Gives `target` the weights of `source`, a module with the same names."""
    if not is_deepspeed_zero3_enabled():
        target.load_state_dict(source.state_dict())
        return
    given = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        with gathered([given[name], parameter]), torch.no_grad():
            parameter.copy_(given[name])


def copy_of(model: Any) -> Any:
    """A second model with the same weights.

    Args:
        model (`PreTrainedModel` or `PeftModel`):
            The model.

    Returns:
        A model of the same class.

    Raises:
        ValueError: For a PEFT model under ZeRO-3, whose parts cannot be copied.
    """
    if not is_deepspeed_zero3_enabled():
        return copy.deepcopy(model)
    if is_peft_model(model):
        raise ValueError(
            "Under DeepSpeed ZeRO-3 a model with an adapter cannot be copied for reference or critic: give "
            "`value_model` (a folder, or 'shared') and `ref_model` yourself, or use ZeRO-2."
        )
    with torch.random.fork_rng():
        twin = type(model)._from_config(copy.deepcopy(model.config), dtype=model.dtype)
    copy_weights(model, twin)
    return twin
