"""TRL's reward trainer, plus graded preferences: `preference_strength` as soft label, margin or weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import trl
from torch.nn.functional import logsigmoid
from transformers.utils import logging

from .._compat import check_seams
from ..data.preferences import STRENGTH
from .callbacks import FiniteLoss
from .model_card import RewardCard
from .pair_columns import (
    WithPairColumns,
    check_strength,
    check_strength_config,
    columns_in,
    strength_loss_field,
    unused_strength,
)

logger = logging.get_logger(__name__)
check_seams(trl.RewardTrainer)

STRENGTH_LOSSES = ("none", "soft_label", "margin", "scaled_bt")


@dataclass
class RewardConfig(trl.RewardConfig):
    r"""
    Configuration of [`RewardTrainer`]: TRL's `RewardConfig` and how to read `preference_strength`.

    Parameters:
        strength_loss (`str`, *optional*, defaults to `"none"`):
            What `preference_strength` p = p(chosen is better) does to the Bradley-Terry loss on d = r(chosen) -
            r(rejected):

            - `"none"`: nothing (a warning says so if the column is there).
            - `"soft_label"`: cross-entropy with p as the label, `-p log s(d) - (1 - p) log s(-d)`.
            - `"margin"`: `-log s(d - m)` with m = `strength_scale` (2p - 1), Llama 2's margin
              ([2307.09288](https://huggingface.co/papers/2307.09288), section 3.2.2).
            - `"scaled_bt"`: `-m log s(d)` with the same m, HelpSteer2-Preference's scaled Bradley-Terry
              ([2410.01257](https://huggingface.co/papers/2410.01257)); a pair at 0.5 counts nothing.
        strength_scale (`float`, *optional*, defaults to `1.0`):
            The m of a certain pair (p = 1), in reward units for `"margin"`, a factor for `"scaled_bt"`.
    """

    strength_loss: str = strength_loss_field(STRENGTH_LOSSES)
    strength_scale: float = field(
        default=1.0, metadata={"help": "The margin or factor of a certain pair, for 'margin' and 'scaled_bt'."}
    )

    def __post_init__(self):
        super().__post_init__()
        check_strength_config(self, STRENGTH_LOSSES)


class RewardTrainer(FiniteLoss, RewardCard, trl.RewardTrainer):
    """
    TRL's `RewardTrainer`, reading `preference_strength` if [`RewardConfig`] says how.

    Signature and behaviour are TRL's; where the data has no `preference_strength` or `strength_loss` is `"none"`, so
    is every number. TRL's own `margin` column works as before, and beside the strength.

    Args:
        model, args, train_dataset, ...:
            As in TRL.

    Raises:
        ValueError: If a strength lies outside [0.5, 1] or is NaN, or `strength_loss="margin"` meets a `margin` column.

    Example:

    ```python
    from rlhf_ext import RewardConfig, RewardTrainer

    trainer = RewardTrainer(
        model="Qwen/Qwen3-0.6B",
        args=RewardConfig(strength_loss="soft_label"),
        train_dataset=preferences,  # prompt, chosen, rejected, preference_strength
    )
    trainer.train()
    ```
    """

    data_collator: Any
    _signature_columns: Any

    def __init__(self, model=None, args: trl.RewardConfig | None = None, *positional: Any, **kwargs: Any):
        super().__init__(model, args, *positional, **kwargs)
        mode = getattr(self.args, "strength_loss", "none")
        present = columns_in((STRENGTH,), self.train_dataset, self.eval_dataset)
        if present and mode == "none":
            logger.warning(unused_strength("RewardConfig", STRENGTH_LOSSES))
        self._strength_loss = mode if present else "none"
        if self._strength_loss == "margin" and columns_in(("margin",), self.train_dataset):
            raise ValueError(
                "The data has a `margin` column and `strength_loss='margin'` would make another. Drop the column, or "
                "choose 'soft_label' or 'scaled_bt'."
            )
        if self._strength_loss != "none":
            self.data_collator = WithPairColumns(self.data_collator, (STRENGTH,))

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if STRENGTH not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, STRENGTH]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        strength = inputs.pop(STRENGTH, None)
        if strength is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        check_strength(strength)
        scale = self.args.strength_scale * (2 * strength - 1)
        if self._strength_loss == "margin":
            inputs["margin"] = scale
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        if self._strength_loss != "margin":
            chosen, rejected = torch.chunk(outputs.logits.squeeze(-1), chunks=2)
            difference = chosen - rejected
            if self._strength_loss == "soft_label":
                # -p log s(d) - (1-p) log s(-d) = -log s(d) + (1-p) d
                loss = loss + ((1 - strength) * difference).mean()
            else:
                margin = inputs.get("margin", 0.0)
                loss = loss - ((scale - 1) * logsigmoid(difference - margin)).mean()
        return (loss, outputs) if return_outputs else loss
