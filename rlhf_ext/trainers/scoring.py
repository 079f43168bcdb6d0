"""TRL's fused forward of a policy or reference, made to give more and to do less.

More: the critic's values with the log-probabilities, in one forward. Less: no logits for the prompt. And right: positions
that left padding does not shift, without which GPT-2 and OPT would be scored on other positions than they wrote at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import nn
from transformers.utils import ModelOutput

from .critic import NAME, Critic, ValueHead

FORWARD_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What TRL's scoring of a rollout takes beside its ids, for models that see images."""


@dataclass
class ScoredOutput(ModelOutput):
    """What TRL reads of a policy's fused forward, and the critic's values.

    No field may be called `values`: DDP takes the output apart as a dict.
    """

    log_probs: torch.FloatTensor | None = None
    entropy: torch.FloatTensor | None = None
    aux_loss: torch.FloatTensor | None = None
    token_values: torch.FloatTensor | None = None


class ScoringHooks:
    """Lets TRL's fused forward of a model do less and give more: two keywords beside `fused_lm_head=True`.

    `keep_last=n` keeps the last n positions for the LM head (the labels must be cut alike): those of a prompt would be
    computed for nothing. `with_values=True` gives a [`ScoredOutput`], whose `token_values` are aligned with
    `log_probs`: the value of the state before each token.

    Args:
        model (`PreTrainedModel` or `PeftModel`):
            The model, after TRL's trainer has patched it.
        critic ([`ValueHead`] or [`ValueModel`], *optional*):
            The critic, which becomes a submodule of the model.
    """

    def __init__(self, model: Any, critic: Critic | None = None):
        self.critic: Any = critic
        self._with_values, self._keep = False, 0
        self._hidden_states: Any = None
        if critic is not None:
            model.add_module(NAME, critic)
        model.register_forward_pre_hook(self._before, with_kwargs=True)
        model.register_forward_hook(self._after, with_kwargs=True)
        base = model.get_base_model() if is_peft_model(model) else model
        base.base_model.register_forward_hook(self._on_backbone)

    def _before(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        self._with_values, self._keep = kwargs.pop("with_values", False), kwargs.pop("keep_last", 0)
        return args, kwargs

    def _on_backbone(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._keep:
            output.last_hidden_state = output.last_hidden_state[:, -self._keep :]
        if self._with_values:
            self._hidden_states = output.last_hidden_state
        return output

    def _after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        if not self._with_values:
            return None
        if isinstance(self.critic, ValueHead):
            values = self.critic.score(self._hidden_states.to(self.critic.score.weight.dtype)).squeeze(-1)
        else:
            names = ("input_ids", "attention_mask", "position_ids")
            values = self.critic(**{name: kwargs[name] for name in names if name in kwargs})[:, -self._keep :]
        self._hidden_states, self._with_values, self._keep = None, False, 0
        return ScoredOutput(
            log_probs=output.log_probs,
            entropy=output.entropy,
            aux_loss=output.get("aux_loss"),
            token_values=values[:, :-1].float(),
        )


class Scorer:
    """Calls a model with what TRL leaves out: positions that left padding does not shift, no logits for the prompt, and
    the critic's values."""

    def __init__(self, model, with_values: bool):
        self.model, self.with_values = model, with_values
        self.values: list[torch.Tensor] = []

    def __call__(self, **inputs):
        mask = inputs.get("attention_mask")
        if mask is not None and "pixel_values" not in inputs and "mm_token_type_ids" not in inputs:
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        # Nothing is asked of the prompt: one position before the first label is where its prediction stands.
        scored = (inputs["labels"] != -100).any(dim=0).nonzero()
        keep = inputs["labels"].size(1) - int(scored[0]) + 1 if len(scored) else 0
        if 0 < keep < inputs["labels"].size(1):
            inputs["labels"] = inputs["labels"][:, -keep:]
            inputs["keep_last"] = keep
        if self.with_values:
            inputs["with_values"] = True
        outputs = self.model(**inputs)
        if self.with_values:
            self.values.append(outputs.token_values)
        return outputs
