"""Dropout off, also where a model keeps its rate as a number."""

from __future__ import annotations

from torch import nn
from trl.trainer.utils import disable_dropout_in_model


def disable_dropout(model: nn.Module) -> None:
    """Turns all dropout of a model off, for good.

    TRL's own function sets its `nn.Dropout` layers to 0. OPT and others have none: they hand a number of theirs to
    `torch.nn.functional.dropout` (or skip layers by it), and would give another log-probability at each pass.
    """
    disable_dropout_in_model(model)
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
