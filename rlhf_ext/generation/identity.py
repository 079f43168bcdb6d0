"""What tells the answers of one model from those of another, for keys and provenance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from .endpoint import EndpointGenerator
from .local import LocalGenerator

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def identity(generator: Any, name: str) -> str:
    """What tells a model's answers from another's: its name, and for a local model its weights and chat template as well.

    Two checkpoints often share a name, and answers of one must not be taken for those of the other. Of each tensor the
    hash takes some values and the sum of all bits, which any one changed weight changes. What the chat template is told belongs to it.
    """
    told = getattr(generator, "chat_template_kwargs", None)
    if told:
        name = f"{name} {json.dumps(told, sort_keys=True, default=str)}"
    if not isinstance(generator, LocalGenerator):
        return name
    template = generator.tokenizer.chat_template
    reads = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:6] if template else ""
    return f"{name}#{weights_of(generator.model)}{reads}"


def weights_of(model: torch.nn.Module) -> str:
    """A hash of a model's weights, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        flat = value.detach().reshape(-1)
        sample = flat[:: max(1, len(flat) // 16)][:32].float().cpu()
        total = int(flat.contiguous().view(_BITS[flat.element_size()]).sum(dtype=torch.int64))
        digest.update(f"{key} {tuple(value.shape)} {total}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:12]


def model_name(generator: Any) -> str:
    """The model's name for provenance and keys."""
    if isinstance(generator, EndpointGenerator):
        return generator.model
    if isinstance(generator, LocalGenerator):
        name = str(generator.model.config._name_or_path or type(generator.model).__name__)
        return Path(name).name if Path(name).is_dir() else name
    return type(generator).__name__
