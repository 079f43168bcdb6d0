"""Critic and reward adapters on the policy's own base: four models of RLHF for the memory of one.

A LoRA policy leaves its base frozen, and so do a LoRA critic and a LoRA reward model. They can therefore stand on the same
weights: module trees of their own, whose base parameters are the policy's very tensors. (Switching adapters within one tree would
not do: gradient checkpointing runs a forward again in the backward pass, when another adapter is on.)
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ..rewards.model import RewardModel, check_reward_folder

HEADS = ("score", "classifier")


def classifier_on(policy: Any, head_dtype: torch.dtype) -> Any:
    """A sequence-classification model with one label whose backbone is the policy's, tensor for tensor.

    Args:
        policy (`PeftModel`):
            The policy. Neither it nor its adapter is changed.
        head_dtype (`torch.dtype`):
            Of the new head, which is zero.

    Returns:
        `PreTrainedModel`: frozen.

    Raises:
        ValueError: If the architecture's classifier has no linear head.
    """
    shared = {id(tensor): tensor for tensor in policy.parameters() if not tensor.requires_grad}
    shared |= {id(tensor): tensor for tensor in policy.buffers()}
    causal = copy.deepcopy(policy, shared).unload()
    backbone = causal.base_model
    backbone._forward_hooks.clear()  # those of a trainer of the policy
    config = copy.deepcopy(causal.config)
    config.num_labels = 1
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, backbone)
    head = next((name for name in HEADS if isinstance(getattr(model, name, None), nn.Linear)), None)
    if head is None:
        raise ValueError(
            f"{type(model).__name__} has no linear head named {' or '.join(HEADS)}: `share_base` does not know how to put "
            "a critic on it. Leave it off."
        )
    width = getattr(model, head).in_features
    new = nn.Linear(width, 1, bias=getattr(model, head).bias is not None, device=policy.device, dtype=head_dtype)
    for parameter in new.parameters():
        nn.init.zeros_(parameter)
    setattr(model, head, new)
    return model.requires_grad_(False).eval()


def critic_on(policy: Any, reward: Any = None) -> Any:
    """A LoRA critic on the policy's base, with LoRA settings as the policy's or, given one, a reward adapter's weights.

    Args:
        policy (`PeftModel`):
            The policy.
        reward (`PeftModel`, *optional*):
            A reward model from [`RewardOnBase`], from which the critic starts.

    Returns:
        `PeftModel`: adapter and head trainable.
    """
    from peft import PeftModel, get_peft_model

    if isinstance(reward, PeftModel):
        settings = copy.deepcopy(reward.active_peft_config)
    else:
        settings = copy.deepcopy(policy.active_peft_config)
    settings.task_type, settings.modules_to_save, settings.inference_mode = "SEQ_CLS", None, False
    model = get_peft_model(classifier_on(policy, torch.float32), settings)
    if isinstance(reward, PeftModel):
        weights = {name: value for name, value in reward.state_dict().items() if _is_own(name)}
        model.load_state_dict(weights, strict=False)
    return model


def _is_own(name: str) -> bool:
    return "lora_" in name or "modules_to_save" in name


class RewardOnBase:
    """A reward adapter's folder, until there is a policy to put it on."""

    def __init__(self, folder: str, tokenizer: Any, batch_size: int):
        check_reward_folder(folder)
        self.folder, self.tokenizer, self.batch_size = folder, tokenizer, batch_size
        self.__name__ = Path(folder).name

    @classmethod
    def can_take(cls, reward: Any) -> bool:
        """Whether a reward is the folder of an adapter."""
        return isinstance(reward, str | Path) and (Path(reward) / "adapter_config.json").is_file()

    def on(self, policy: Any) -> RewardModel:
        """The reward model on the policy's base.

        Raises:
            ValueError: If the adapter was trained on another base.
        """
        from peft import PeftModel

        trained_on = json.loads((Path(self.folder) / "adapter_config.json").read_text())["base_model_name_or_path"]
        base = policy.get_base_model().config._name_or_path
        if trained_on != base:
            raise ValueError(
                f"The reward adapter {self.folder} was trained on {trained_on}, the policy stands on {base}: they cannot share "
                "a base. Set `share_base=False`."
            )
        model = PeftModel.from_pretrained(classifier_on(policy, policy.dtype), self.folder)
        tokenizer = self.tokenizer or AutoTokenizer.from_pretrained(self.folder)
        reward = RewardModel(model.to(policy.device), tokenizer, self.batch_size)
        reward.__name__ = self.__name__
        return reward

    def __call__(self, **_: Any) -> list[float | None]:
        raise RuntimeError(f"The reward adapter {self.folder} is not on a base yet.")
