"""The critic: the value of the state before each token, from a model of its own or a head on the policy.

It hangs on the policy as a submodule and answers inside the policy's forward (see `scoring.py`), so that DDP and FSDP see
one wrapped module and one optimizer. [`hidden`] takes it off for the time something must see the policy alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from .dropout import disable_dropout
from .one_base import critic_on
from .zero3 import copy_of, copy_weights, gathered

NAME = "value_model"
_HEAD_FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """A linear value head on the policy's own hidden states (a shared backbone): little memory, no second forward.

    It starts at zero, so the first advantages are the returns themselves.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.score = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def save(self, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
        """Writes the head; `state` is its `state_dict()` where that is in shards."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in (state or self.state_dict()).items()}, folder / _HEAD_FILE)

    def load(self, folder: Path) -> None:
        self.load_state_dict(load_file(folder / _HEAD_FILE))


class ValueModel(nn.Module):
    """A critic of its own: the backbone and head of a sequence-classification model, read at every token."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    @property
    def _base(self) -> PreTrainedModel:
        return self.model.get_base_model() if is_peft_model(self.model) else self.model

    def forward(self, **inputs: Any) -> torch.Tensor:
        """Values of shape `(B, L)`."""
        hidden = self._base.base_model(**inputs, use_cache=False).last_hidden_state
        head = self._base.score
        return head(hidden.to(next(head.parameters()).dtype)).squeeze(-1)

    def checkpoint_gradients(self, options: dict[str, Any] | None) -> None:
        """Gradient checkpointing, which the trainer turns on for the policy alone."""
        self._base.gradient_checkpointing_enable(options)
        if is_peft_model(self.model):
            self._base.enable_input_require_grads()

    def save(self, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
        """Writes the model; `state` is this module's `state_dict()` where that is in shards."""
        if state is not None:
            state = {key.removeprefix("model."): value for key, value in state.items()}
        self.model.save_pretrained(folder, state_dict=state)

    def load(self, folder: Path) -> None:
        if is_peft_model(self.model):
            self.model.load_adapter(str(folder), self.model.active_adapters[0], is_trainable=True)
            return
        saved = type(self.model).from_pretrained(folder, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())


Critic = ValueHead | ValueModel


def make_critic(
    value_model: Any, policy: Any, reward_model: Any, share_base: bool = False, **load_kwargs: Any
) -> Critic:
    """The critic for PPO.

    Args:
        value_model (`PreTrainedModel`, `str`, `"shared"` or `None`):
            A sequence-classification model with one label, a folder or hub name of one, `"shared"` for a head on the
            policy's backbone, or None: a copy of the reward model if there is one (2403.17031: values start where
            scores are), else a model made from the policy's weights with a head that starts at zero.
        policy (`PreTrainedModel` or `PeftModel`):
            The policy.
        reward_model (`PreTrainedModel` or `PeftModel`, *optional*):
            A reward model over the policy's vocabulary.
        share_base (`bool`, *optional*, defaults to `False`):
            Whether a critic that is not given is a LoRA adapter on the policy's base, see [`critic_on`].
        **load_kwargs:
            What the policy was loaded with. For a critic by name they hold too, but for what belongs to the policy's
            weights: `quantization_config`, `dtype`, and, where the names differ, `revision`.

    Returns:
        [`ValueHead`] or [`ValueModel`].

    Raises:
        FileNotFoundError: If there is no critic of that name.
        ValueError: If the critic has not one label, or reads another vocabulary than the policy.
    """
    base = base_of(policy)
    if value_model == "shared":
        width = base.config.get_text_config().hidden_size
        # OPT-350m's last states are narrower than its layers.
        head = ValueHead(getattr(base.get_output_embeddings(), "in_features", width))
        return head.to(device=base.device)
    if isinstance(value_model, str):
        own = {"quantization_config", "dtype", "torch_dtype", "device_map"}
        if value_model != base.config._name_or_path:
            own.add("revision")
        options = {name: value for name, value in load_kwargs.items() if name not in own}
        try:
            model = AutoModelForSequenceClassification.from_pretrained(value_model, num_labels=1, **options)
        except OSError as error:
            raise FileNotFoundError(
                f"`value_model` is {value_model!r}: not 'shared', no folder with a model, and the hub did not give it "
                f"({str(error).splitlines()[0]})"
            ) from error
    elif value_model is not None:
        model = value_model
    elif share_base:
        model = critic_on(policy, reward_model)
    elif reward_model is not None and _vocabulary(reward_model) == _vocabulary(policy):
        model = copy_of(reward_model)
        if is_peft_model(model):
            model = model.merge_and_unload()
    else:
        model = _from_policy(policy)
    if model.config.num_labels != 1:
        raise ValueError(f"A critic gives one value a token, but this one has num_labels={model.config.num_labels}.")
    if _vocabulary(model) != _vocabulary(policy):
        raise ValueError(
            f"The critic reads a vocabulary of {_vocabulary(model)} tokens and the policy writes one of "
            f"{_vocabulary(policy)}. Give a critic with the policy's tokenizer, or value_model='shared'."
        )
    disable_dropout(model)
    # An optimizer's small steps vanish in bf16 weights; under mixed precision the compute stays in bf16.
    model = model.float() if not is_peft_model(model) else model
    for name, parameter in model.named_parameters():
        if not is_peft_model(model) or "lora_" in name or "modules_to_save" in name:
            parameter.requires_grad_(True)
    return ValueModel(model).to(base.device)


def base_of(model: Any) -> Any:
    """A model without its adapter."""
    return model.get_base_model() if is_peft_model(model) else model


def same_tokens(tokenizer: Any, other: Any) -> bool:
    """Whether two tokenizers mean the same by the ids that both have; what was added to them later is not compared."""
    ours, theirs = (
        {id: token for token, id in one.get_vocab().items() if id not in one.added_tokens_decoder}
        for one in (tokenizer, other)
    )
    return all(theirs.get(id, token) == token for id, token in ours.items())


def check_critic(value_model: Any, others: Sequence[Any], tokenizer: Any) -> None:
    """Refuses a critic that is one of the other models itself, or whose folder has another tokenizer than the policy's.

    Args:
        value_model (`PreTrainedModel`, `str` or `None`):
            What the user gave.
        others (`Sequence[PreTrainedModel]`):
            Policy and reward models.
        tokenizer (`PreTrainedTokenizerBase`):
            The policy's.

    Raises:
        ValueError: If it is one.
    """
    if value_model is not None and any(value_model is other for other in others):
        raise ValueError(
            "`value_model` is the policy or a reward model itself, which would change as the critic learns: give a copy, or "
            "leave `value_model` out, which makes one."
        )
    if not isinstance(value_model, str) or not (Path(value_model) / "tokenizer_config.json").is_file():
        return
    if not same_tokens(tokenizer, AutoTokenizer.from_pretrained(value_model)):
        raise ValueError(
            f"The critic in {value_model} has another tokenizer than the policy: it would read other words than the policy "
            "wrote. Give a critic with the policy's tokenizer, or value_model='shared'."
        )


def hide_from_vllm(generation: Any, policy: nn.Module) -> None:
    """Keeps the critic's weights from a vLLM engine, which knows of none, when the policy's are sent to it.

    Args:
        generation (`VLLMGeneration`):
            TRL's engine, whose `sync_weights` sends all parameters of the policy.
        policy (`nn.Module`):
            The policy.
    """
    sync = generation.sync_weights

    def without_the_critic() -> None:
        with hidden(policy):
            sync()

    generation.sync_weights = without_the_critic


def _vocabulary(model: Any) -> int:
    return model.config.get_text_config().vocab_size


def _from_policy(policy: Any) -> PreTrainedModel:
    if getattr(base_of(policy), "is_quantized", False):
        raise ValueError(
            "The policy's weights are quantized, and a critic that learns in full cannot be made of them: set "
            "`share_base=True` (a LoRA critic on the same base) or `value_model='shared'`, or give a critic."
        )
    if is_peft_model(policy):
        policy = copy_of(policy).merge_and_unload()
    if type(policy.config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ValueError(
            f"transformers has no sequence classifier for {type(policy).__name__}, which a critic from the policy would be: "
            "give `value_model='shared'`, or a critic."
        )
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    copy_weights(policy.base_model, model.base_model)
    with gathered([model.score.weight]):
        nn.init.zeros_(model.score.weight)
    return model


@contextmanager
def hidden(policy: nn.Module) -> Iterator[None]:
    """Takes the critic off the policy for the time of a `with` block."""
    critic = policy._modules.pop(NAME, None)
    try:
        yield
    finally:
        if critic is not None:
            policy._modules[NAME] = critic
