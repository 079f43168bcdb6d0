"""TRL's DPO trainer, plus graded preferences: per-pair soft labels, offsets (ODPO) and weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from torch.nn.functional import softplus
from transformers import PreTrainedModel, TrainingArguments
from transformers.utils import logging

from .._compat import attributes_set, check_seams
from ..data.preferences import STRENGTH
from .callbacks import FiniteLoss
from .model_card import DPOCard
from .pair_columns import (
    WithPairColumns,
    check_strength,
    check_strength_config,
    columns_in,
    strength_loss_field,
    unused_strength,
)

logger = logging.get_logger(__name__)
check_seams(trl.DPOTrainer)

STRENGTH_LOSSES = ("none", "soft_label", "margin", "weight")
PAIR_COLUMNS = (STRENGTH, "margin", "weight")


@dataclass
class DPOConfig(trl.DPOConfig):
    r"""
    Configuration of [`DPOTrainer`]: TRL's `DPOConfig` and how to read `preference_strength`.

    Parameters:
        strength_loss (`str`, *optional*, defaults to `"none"`):
            What `preference_strength` p = p(chosen is better) does to the DPO loss on z = beta (log-ratio of chosen -
            log-ratio of rejected):

            - `"none"`: nothing (a warning says so if the column is there).
            - `"soft_label"`: `-p log s(z) - (1 - p) log s(-z)`, cDPO's loss with a label for each pair.
            - `"margin"`: an offset `-log s(z - m)`, m = `strength_scale` (2p - 1), as in ODPO
              ([2402.10571](https://huggingface.co/papers/2402.10571)).
            - `"weight"`: each pair's loss times m.
        strength_scale (`float`, *optional*, defaults to `1.0`):
            The m of a certain pair (p = 1).

    The columns `margin` (ODPO's offset) and `weight` (a factor on the pair's loss) are used where the data has them.
    """

    strength_loss: str = strength_loss_field(STRENGTH_LOSSES)
    strength_scale: float = field(
        default=1.0, metadata={"help": "The offset or factor of a certain pair, for 'margin' and 'weight'."}
    )

    def __post_init__(self):
        super().__post_init__()
        check_strength_config(self, STRENGTH_LOSSES)


class DPOTrainer(FiniteLoss, DPOCard, trl.DPOTrainer):
    """
    TRL's `DPOTrainer`, reading `preference_strength`, `margin` and `weight` for each pair.

    Signature and behaviour are TRL's; data without those columns gives TRL's numbers to the last bit. One thing more:
    an in-memory model that was never saved is its own reference (TRL would look for a checkpoint by an empty name).

    The per-pair columns are defined for `loss_type="sigmoid"`, the DPO loss; another loss is refused by name.

    Args:
        model, ref_model, args, train_dataset, ...:
            As in TRL.

    Raises:
        TypeError: If the arguments are given where `ref_model` stands, the second place.
        ValueError: If a strength lies outside [0.5, 1], or per-pair columns meet a loss they are not defined for.

    Example:

    ```python
    from rlhf_ext import DPOConfig, DPOTrainer

    trainer = DPOTrainer(
        model="Qwen/Qwen3-0.6B",
        args=DPOConfig(strength_loss="soft_label"),
        train_dataset=preferences,  # prompt, chosen, rejected, preference_strength
    )
    trainer.train()
    ```
    """

    data_collator: Any
    _signature_columns: Any

    def __init__(
        self,
        model=None,
        ref_model: PreTrainedModel | None = None,
        args: trl.DPOConfig | None = None,
        *positional: Any,
        **kwargs: Any,
    ):
        if isinstance(ref_model, TrainingArguments):
            raise TypeError(
                f"The second argument is `ref_model`, as in TRL, and this is a {type(ref_model).__name__}: pass it as `args=`."
            )
        if ref_model is None and _has_no_checkpoint(model) and kwargs.get("peft_config") is None:
            ref_model = copy.deepcopy(model)
        super().__init__(model, ref_model, args, *positional, **kwargs)
        mode = getattr(self.args, "strength_loss", "none")
        present = columns_in(PAIR_COLUMNS, self.train_dataset, self.eval_dataset)
        if STRENGTH in present and mode == "none":
            logger.warning(unused_strength("DPOConfig", STRENGTH_LOSSES))
            present = tuple(column for column in present if column != STRENGTH)
        self._pair_columns = present
        if present:
            self._check_pair_loss(present)
            self.data_collator = WithPairColumns(self.data_collator, present)

    def _check_pair_loss(self, columns: tuple[str, ...]) -> None:
        odd = {
            "loss_type": (self.loss_types, ["sigmoid"]),
            "f_divergence_type": (str(self.f_divergence_type), "reverse_kl"),
            "ld_alpha": (self.ld_alpha, None),
            "label_smoothing": (self.label_smoothing, 0.0),
            "use_weighting": (self.use_weighting, False),
        }
        for name, (value, needed) in odd.items():
            if value != needed:
                raise ValueError(
                    f"The per-pair columns {list(columns)} are defined for the sigmoid DPO loss: `{name}` must be "
                    f"{needed!r}, got {value!r}. Change it, or drop the columns from the data set."
                )

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        new = [column for column in PAIR_COLUMNS if column not in self._signature_columns]
        self._signature_columns = [*self._signature_columns, *new]

    def _compute_loss(self, model, inputs, return_outputs):
        pair = {column: inputs.pop(column) for column in PAIR_COLUMNS if column in inputs}
        if not pair:
            return super()._compute_loss(model, inputs, return_outputs)
        label, offset, weight = self._pair_terms(pair, inputs["input_ids"])
        # The reference log-probs are given to TRL as if precomputed: the offset goes in through them, since
        # z - m = beta (log-ratio of chosen - m / beta - log-ratio of rejected).
        if self.precompute_ref_logps:
            reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference[0] + offset / self.beta, reference[1]
        recorded = _Recorded(model)
        with attributes_set(self, precompute_ref_logps=True):
            output = super()._compute_loss(recorded, inputs, return_outputs)
        loss, *rest = output if return_outputs else (output,)
        chosen, rejected = recorded.outputs.log_probs.sum(dim=1).chunk(2)
        z = self.beta * ((chosen - inputs["ref_chosen_logps"]) - (rejected - inputs["ref_rejected_logps"]))
        # From mean(-log s(z)) to mean(weight (-log s(z) + (1 - label) z)); softplus(-z) is -log s(z).
        loss = loss + ((weight - 1) * softplus(-z) + weight * (1 - label) * z).mean()
        return (loss, *rest) if return_outputs else loss

    def _pair_terms(self, pair: dict[str, torch.Tensor], ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Label p, offset m and weight of each pair, each of shape `(pairs,)`."""
        ones = torch.ones(len(ids) // 2, device=ids.device)
        label, offset, weight = ones, pair.get("margin", 0 * ones), pair.get("weight", ones)
        if STRENGTH in pair:
            check_strength(pair[STRENGTH])
            scale = self.args.strength_scale * (2 * pair[STRENGTH] - 1)
            if self.args.strength_loss == "soft_label":
                label = pair[STRENGTH]
            elif self.args.strength_loss == "margin":
                offset = offset + scale
            else:
                weight = weight * scale
        return label, offset, weight


class _Recorded:
    """Calls a model and keeps its last outputs: TRL's loss gives back a scalar, and z is needed for each pair."""

    def __init__(self, model):
        self.model = model
        self.outputs: Any = None

    def __call__(self, **inputs):
        self.outputs = self.model(**inputs)
        return self.outputs


def _has_no_checkpoint(model: Any) -> bool:
    return isinstance(model, PreTrainedModel) and not is_peft_model(model) and not model.config._name_or_path
