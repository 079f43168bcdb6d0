"""TRL's fused forward of a policy or reference, made to give more and to do less.

More: the critic's values with the log-probabilities, in one forward. Less: on a CPU, no logits where there is no label. And
right: positions that left padding does not shift, without which GPT-2 and OPT would be scored on other positions than they
wrote at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import nn
from torch.nn.functional import pad
from transformers.utils import ModelOutput

from .critic import NAME, Critic, ValueHead

_HANDLES = "_rlhf_ext_scoring_hooks"

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
    """Lets TRL's fused forward (`fused_lm_head=True`) of a model do less and give more.

    Less: only positions with a label reach the LM head. TRL does so on a GPU by itself; on a CPU it projects every position
    of prompts and padding as well, which was over half of a supervised step of SmolLM2.
    More: `with_values=True` gives a [`ScoredOutput`], whose `token_values` `(B, L)` are the values of the states after each
    token: entry i belongs to the state in which `log_probs[:, i]` was chosen, and the last to the end.

    Args:
        model (`PreTrainedModel` or `PeftModel`):
            The model, after TRL's trainer has patched it.
        critic ([`ValueHead`] or [`ValueModel`], *optional*):
            The critic, which becomes a submodule of the model.
    """

    def __init__(self, model: Any, critic: Critic | None = None):
        self.critic: Any = critic
        self.policy_rests = False
        """Whether the values' loss stops at a head on the policy, and does not reach the policy."""
        self._with_values = False
        self._labelled: torch.Tensor | None = None  # (B, L - 1), where only these positions go through the LM head
        self._hidden_states: Any = None
        if critic is not None:
            model.add_module(NAME, critic)
        base = model.get_base_model() if is_peft_model(model) else model
        for handle in getattr(base, _HANDLES, []):
            handle.remove()  # those of an earlier trainer on the same model: two would each take what the other left
        handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
            base.base_model.register_forward_hook(self._on_backbone),
        ]
        setattr(base, _HANDLES, handles)

    def _before(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        self._with_values, self._labelled = kwargs.pop("with_values", False), None
        labels = kwargs.get("labels")
        if kwargs.get("fused_lm_head") and labels is not None and labels.device.type == "cpu" and _is_plain(module):
            labelled = labels[:, 1:] != -100
            if labelled.any():
                self._labelled = labelled
                kwargs["labels"] = pad(labels[:, 1:][labelled], (1, 0), value=-100)[None]  # TRL drops the first label
        return args, kwargs

    def _on_backbone(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._with_values:
            self._hidden_states = output.last_hidden_state
        if self._labelled is not None:
            states = output.last_hidden_state[:, :-1][self._labelled]
            output.last_hidden_state = pad(states, (0, 0, 0, 1))[None]  # and the last state
        return output

    def _after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        if self._labelled is not None:
            output = type(output)(**{name: _spread(value, self._labelled) for name, value in output.items()})
        if self._with_values:
            output = ScoredOutput(
                log_probs=output.log_probs,
                entropy=output.entropy,
                aux_loss=output.get("aux_loss"),
                token_values=self._values(kwargs).float(),
            )
        self._hidden_states, self._with_values, self._labelled = None, False, None
        return output

    def _values(self, inputs: dict[str, Any]) -> Any:
        if isinstance(self.critic, ValueHead):
            states = self._hidden_states.detach() if self.policy_rests else self._hidden_states
            return self.critic.score(states.to(self.critic.score.weight.dtype)).squeeze(-1)
        names = ("input_ids", "attention_mask", "position_ids")
        return self.critic(**{name: inputs[name] for name in names if name in inputs})


def _is_plain(model: Any) -> bool:
    """Whether a model reads the ids it is given, and no virtual tokens (PEFT's prompt learning) before them."""
    return not (is_peft_model(model) and model.active_peft_config.is_prompt_learning)


def _spread(value: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """One number a labelled position, `(1, N)`, back in `(B, L - 1)`, with 0 elsewhere; scalars stay as they are."""
    return value if value.ndim == 0 else value.new_zeros(places.shape).masked_scatter(places, value)


class Scorer:
    """Calls a model with what TRL leaves out, and without what it need not see.

    Out: columns that are padding in every row, which a minibatch of a rollout has many of. In: positions that left padding
    does not shift, and the critic's values. What comes back has the width that was asked for.
    """

    def __init__(self, model, with_values: bool):
        self.model, self.with_values = model, with_values
        self.values: list[torch.Tensor] = []

    def __call__(self, **inputs):
        mask = inputs.get("attention_mask")
        if mask is None or any(name in inputs for name in FORWARD_KEYS):
            return self._call(inputs)
        columns = mask.any(dim=0).nonzero()
        if not len(columns):
            return self._call(inputs)
        first, last = int(columns[0]), int(columns[-1]) + 1
        for name in ("input_ids", "attention_mask", "labels"):
            inputs[name] = inputs[name][:, first:last]
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        outputs = self._call(inputs)
        margins = (first, mask.size(1) - last)
        for name in ("log_probs", "entropy", "token_values"):
            if outputs.get(name) is not None:
                outputs[name] = pad(outputs[name], margins)
        if self.with_values:
            self.values[-1] = outputs.token_values
        return outputs

    def _call(self, inputs: dict[str, Any]) -> Any:
        if self.with_values:
            inputs["with_values"] = True
        outputs = self.model(**inputs)
        if self.with_values:
            self.values.append(outputs.token_values)
        return outputs
