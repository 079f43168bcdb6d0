"""Several reward models on one base, whose common layers run once for all of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..types import Completion, Prompt
from .model import RewardModel, check_reward_folder, load_reward_model

logger = logging.get_logger(__name__)

_HEADS = ("score", "classifier")


class MembersOnOneBase:
    """Reward models that share a base and differ from some layer upwards: adapters, or heads.

    The layers below the first one in which they differ (the trunk) see the same input for each member, so they run once a
    batch. The members' own layers and heads follow through the model's own forward, in which the trunk gives back what it
    gave before: masks, positions and rotary embeddings are the model's. On the first batch the members are also run one by
    one; should an architecture not take to it, a warning says so and they are run one by one from then on.

    Args:
        reader ([`RewardModel`]):
            The model with its tokenizer, batch size and length.
        names (`Sequence[str]`):
            The members' names, for errors and logs.
        trunk (`Sequence[nn.Module]`):
            The layers that all members have in common, in order; may be empty.
    """

    def __init__(self, reader: RewardModel, names: Sequence[str], trunk: Sequence[nn.Module]):
        self.reader, self.names, self.trunk = reader, list(names), list(trunk)
        self._is_checked = not self.trunk
        if not self.trunk:
            logger.warning(
                f"The {len(names)} members on {reader.__name__} have no layer in common, so that scoring takes "
                f"{len(names)} forward passes. Adapters that share them adapt the last layers alone "
                "(`LoraConfig(layers_to_transform=[...])`, as `train_reward_ensemble` does)."
            )

    def select(self, member: int) -> None:
        """Makes the model be member number `member`."""
        raise NotImplementedError

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Completion]) -> torch.Tensor:
        """Rewards by each member: `torch.Tensor` of shape `(K, n)`, float32 on CPU."""
        return self.reader._in_batches(prompts, responses, self._forward, leading=(len(self.names),))

    def to(self, device: torch.device | str) -> MembersOnOneBase:
        """Moves the model, as `nn.Module.to` does."""
        self.reader.to(device)
        return self

    def _forward(self, ids: list[list[int]]) -> torch.Tensor:
        with run_once(self.trunk):
            scores = self._one_by_one(ids)
        if not self._is_checked:
            alone = self._one_by_one(ids)
            self._is_checked = True
            if not torch.allclose(scores, alone, rtol=1e-3, atol=1e-5, equal_nan=True):
                logger.warning(
                    f"{type(self.reader.model).__name__} does not give the same scores when its first {len(self.trunk)} layers "
                    "run once for all members, so the members are run one by one, which takes longer."
                )
                self.trunk, scores = [], alone
        return scores

    def _one_by_one(self, ids: list[list[int]]) -> torch.Tensor:
        rows = []
        for member in range(len(self.names)):
            self.select(member)
            rows.append(self.reader._forward(ids))
        return torch.stack(rows)


class AdaptersOnOneBase(MembersOnOneBase):
    """The adapters of a PEFT model, each with its own head.

    Args:
        model (`PeftModel`):
            A sequence-classification model with one label and one adapter a member.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The tokenizer of all members; that of the base by default.
        names (`Sequence[str]`, *optional*):
            The members' names; the adapters' names by default.
        **options:
            `batch_size`, `max_length` and `progress` of [`RewardModel`].
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase | None = None,
        names: Sequence[str] | None = None,
        **options: Any,
    ):
        self.adapters = list(model.peft_config)
        super().__init__(RewardModel(model, tokenizer, **options), names or self.adapters, _unadapted_layers(model))

    @classmethod
    def from_folders(
        cls,
        folders: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | None = None,
        options: dict[str, Any] | None = None,
        **model_kwargs: Any,
    ) -> AdaptersOnOneBase:
        """Loads the base once and the adapters of all `folders` on it.

        Raises:
            ValueError: If an adapter has no reward head, or its tokenizer reads text in another way than the first one's.
        """
        for folder in folders:
            check_reward_folder(folder)
        if tokenizer is None:
            tokenizer = _common_tokenizer(folders, model_kwargs)
        model = cast(Any, load_reward_model(folders[0], **model_kwargs))
        for number, folder in enumerate(folders[1:], start=1):
            model.load_adapter(folder, adapter_name=f"member_{number}")
        return cls(model, tokenizer, [Path(folder).name for folder in folders], **(options or {}))

    def select(self, member: int) -> None:
        self.reader.model.set_adapter(self.adapters[member], inference_mode=True)


class HeadsOnOneBase(MembersOnOneBase):
    """The labels of a sequence-classification model, each the head of a member. The given model is not changed.

    Args:
        model (`PreTrainedModel`):
            A model with K labels and a linear head.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer.
        **options:
            `batch_size`, `max_length` and `progress` of [`RewardModel`].

    Raises:
        ValueError: If its head is not linear.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any):
        tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        model = copy.deepcopy(model, tensors)  # a tree of its own on the same tensors
        name = next((name for name in _HEADS if isinstance(getattr(model, name, None), nn.Linear)), None)
        if name is None:
            raise ValueError(
                f"{type(model).__name__} has no linear head named {' or '.join(_HEADS)}, so its labels cannot be taken for "
                "heads of reward models."
            )
        self.head = _OneOfManyHeads(getattr(model, name))
        setattr(model, name, self.head)
        model.config.num_labels = 1
        reader = RewardModel(model, tokenizer, **options)
        super().__init__(
            reader, [f"head_{k}" for k in range(self.head.linear.out_features)], transformer_layers(model)
        )

    def select(self, member: int) -> None:
        self.head.selected = member


class _OneOfManyHeads(nn.Module):
    """One output of a linear layer at a time."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear, self.selected = linear, 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        own = slice(self.selected, self.selected + 1)
        bias = self.linear.bias
        return F.linear(hidden, self.linear.weight[own], None if bias is None else bias[own])


@contextmanager
def run_once(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Within it, layers that follow one another compute in the first forward; in later ones the last output comes again."""
    outputs: list[Any] = []

    def replaying(layer: nn.Module) -> Any:
        forward, is_last = layer.forward, layer is layers[-1]

        def run(*args: Any, **kwargs: Any) -> Any:
            if outputs:
                return outputs[0]
            output = forward(*args, **kwargs)
            if is_last:
                outputs.append(output)
            return output

        return run

    before = [layer.__dict__.get("forward") for layer in layers]  # Accelerate's, where a device map placed the layers
    for layer in layers:
        layer.forward = replaying(layer)
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def base_of(folder: str | Path) -> str | None:
    """The base on which the adapter in `folder` was trained; None if there is no adapter."""
    config = Path(folder) / "adapter_config.json"
    if not config.is_file():
        return None
    return json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]


def transformer_layers(model: nn.Module) -> list[nn.Module]:
    """The transformer layers in order; empty where they are not one list."""
    count = cast(Any, model).config.get_text_config().num_hidden_layers
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    return list(lists[0]) if len(lists) == 1 else []


def _unadapted_layers(model: nn.Module) -> list[nn.Module]:
    """The layers below the first one with an adapter; none if something before them may be adapted."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    layers, common = transformer_layers(model), []
    names = {id(module): name for name, module in model.named_modules()}
    adapted = [name for name, m in model.named_modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    inside = tuple(f"{names[id(layer)]}." for layer in layers)
    if any(not name.startswith(inside) and name.rsplit(".", 1)[-1] not in _HEADS for name in adapted):
        return []
    for layer, prefix in zip(layers, inside, strict=True):
        if any(name.startswith(prefix) for name in adapted):
            break
        common.append(layer)
    return common


def _common_tokenizer(folders: Sequence[str], model_kwargs: dict[str, Any]) -> PreTrainedTokenizerBase:
    kwargs = {name: model_kwargs[name] for name in ("revision", "trust_remote_code") if name in model_kwargs}
    first, *others = [AutoTokenizer.from_pretrained(folder, **kwargs) for folder in folders]
    for folder, other in zip(folders[1:], others, strict=True):
        for what, mine, theirs in (
            ("vocabulary", first.get_vocab(), other.get_vocab()),
            ("chat template", first.chat_template, other.chat_template),
            ("end token", first.eos_token, other.eos_token),
        ):
            if mine != theirs:
                raise ValueError(
                    f"The tokenizers of {folders[0]} and {folder} differ in their {what}, but members on one base read the "
                    "same tokens. Train them with one tokenizer, or give `tokenizer` if the difference does not matter."
                )
    return first
