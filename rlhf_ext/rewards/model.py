"""A trained reward model as a reward function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..types import Completion, Prompt, is_messages, template_kwargs
from .functions.encoders import positions_of

logger = logging.get_logger(__name__)

ENSEMBLE = "ensemble.json"
"""What makes a folder an ensemble of reward models: its members and their scales."""


class RewardModel:
    """Scores responses with a sequence-classification model: a reward function, and `score` for direct use.

    It reads what the model was trained on: its own tokenizer and chat template, and the EOS token at the end, which
    TRL's RewardTrainer appends to plain text and GRPOTrainer strips from completions. Texts are sorted by length and
    batched, so that little is wasted on padding.

    Args:
        model (`str`, `Path` or `PreTrainedModel` or `PeftModel`):
            A folder or hub name of a sequence-classification model with one label, a folder with a LoRA adapter (as
            RewardTrainer writes with `peft_config`), or such a model itself.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The model's tokenizer; loaded from `model` by default.
        batch_size (`int`, *optional*, defaults to `16`):
            Texts a forward pass.
        max_length (`int`, *optional*):
            Longest text in tokens; longer ones lose their beginning (all but the token that the tokenizer begins every text
            with), with a warning. Defaults to the model's context.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show a progress bar.
        chat_template_kwargs (`dict`, *optional*):
            What its chat template is told beside the messages, such as `{"enable_thinking": False}`: as in its training.
        **model_kwargs:
            For `from_pretrained`: `dtype`, `device_map`, `revision`, `trust_remote_code`, `quantization_config`, ...

    Raises:
        FileNotFoundError: If there is no such folder, or no model in it.
        TypeError: If a model is no model of transformers.
        ValueError: If the model has more than one label, or no trained reward head (a language model would get a random
            one and score noise).

    Example:

    ```python
    from rlhf_ext import RewardModel

    reward = RewardModel("./reward_model")
    reward.score(["How are you?"], ["Fine, thank you."])  # tensor of shape (1,), in reward units
    trainer = GRPOTrainer(model, reward_funcs=reward, ...)  # any TRL trainer takes it as it is
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 16,
        max_length: int | None = None,
        progress: bool = False,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
        **model_kwargs: Any,
    ):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        if max_length is not None and max_length < 1:
            raise ValueError(f"`max_length` must be at least 1, got {max_length}.")
        path = str(model) if isinstance(model, str | Path) else None
        self.model = cast(Any, load_reward_model(path, **model_kwargs) if path else model)
        config = getattr(self.model, "config", None)
        if config is None:
            raise TypeError(
                f"A reward model is a sequence classifier of transformers, but {type(model).__name__} has no `config`. For a "
                "module of your own, write a reward function: `(prompts, completions, **columns) -> list[float]`."
            )
        if getattr(config, "num_labels", None) != 1:
            raise ValueError(
                f"A reward model gives one number a text, but this one has `num_labels={config.num_labels}`. For a "
                "classifier, write a reward function that picks the label's probability."
            )
        name = path or config._name_or_path
        self.tokenizer = tokenizer or AutoTokenizer.from_pretrained(
            name, **{k: v for k, v in model_kwargs.items() if k in ("revision", "trust_remote_code")}
        )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # The model finds the last real token, whose state carries the score, by the pad token.
        config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        self.batch_size, self.chat_template_kwargs = batch_size, template_kwargs(chat_template_kwargs)
        self.max_length = max_length or positions_of(self.model)
        special = (self.tokenizer.bos_token_id, self.tokenizer.cls_token_id)
        self._opening = [i for i in self.tokenizer("")["input_ids"][:1] if i in special]
        self.progress = progress
        self.__name__ = Path(name).name if name else type(self).__name__  # how TRL names it in logs
        self.model.eval()

    def __call__(
        self, *, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """TRL's reward-function protocol; other columns are not read."""
        return [float(score) for score in self.score(prompts, completions)]

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Completion]) -> torch.Tensor:
        """Rewards of responses to prompts.

        Args:
            prompts (`Sequence[str]` or `Sequence[list[dict]]`):
                Text or messages, one a response.
            responses (`Sequence[str]` or `Sequence[list[dict]]`):
                Responses of the same kind. A text response to a message prompt is taken as the assistant's message.

        Returns:
            `torch.Tensor` of shape `(n,)`, float32 on CPU, in the model's reward units (no fixed range).

        Raises:
            ValueError: If the lengths differ, or a score is NaN or infinite (named by row).
        """
        if len(prompts) != len(responses):
            raise ValueError(
                f"{len(prompts)} prompts but {len(responses)} responses: one response a prompt is needed."
            )
        scores = self._in_batches(prompts, responses, self._forward)
        bad = ~torch.isfinite(scores)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise ValueError(f"The reward model {self.__name__} gave {scores[row]} for row {row}: {prompts[row]!r}.")
        return scores

    def to(self, device: torch.device | str) -> RewardModel:
        """Moves the model, as `nn.Module.to` does."""
        self.model.to(device)
        return self

    def _in_batches(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Completion],
        forward: Callable[[list[list[int]]], torch.Tensor],
        leading: tuple[int, ...] = (),
    ) -> torch.Tensor:
        """What `forward` gives for batches of like lengths, shape `(*leading, batch)` each, in the order of the texts."""
        ids = [self._tokenize(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        scores = torch.empty(*leading, len(ids))
        batches = range(0, len(ids), self.batch_size)
        for start in tqdm(batches, desc="Scoring", disable=not self.progress, leave=False):
            picked = order[start : start + self.batch_size]
            scores[..., picked] = forward([ids[i] for i in picked])
        return scores

    def _tokenize(self, prompt: Prompt, response: Completion) -> list[int]:
        if is_messages(prompt):
            messages = response if is_messages(response) else [{"role": "assistant", "content": response}]
            if self.tokenizer.chat_template is None:
                raise ValueError(
                    f"The reward model {self.__name__} has no chat template, so it cannot read messages. Give plain "
                    "text, or set `tokenizer.chat_template` to the template it was trained with."
                )
            ids = self.tokenizer.apply_chat_template(
                [*prompt, *messages], tokenize=True, return_dict=True, **self.chat_template_kwargs
            )["input_ids"]
        else:
            if is_messages(response):
                raise TypeError(f"A text prompt with messages as its response: {response!r}. Use one kind for both.")
            text = cast(str, prompt) + cast(str, response)
            bos, eos = self.tokenizer.bos_token, self.tokenizer.eos_token
            begun = bos is not None and text.startswith(bos)  # decoded or templated text, which needs no second BOS
            text = text if eos is None or text.endswith(eos) else text + eos
            ids = self.tokenizer(text, add_special_tokens=not begun)["input_ids"]
        if self.max_length is not None and len(ids) > self.max_length:
            logger.warning_once(
                f"A text is longer than the {self.max_length} tokens that the reward model {self.__name__} reads: its "
                "beginning is cut off."
            )
            # An encoder's score is read off the token in front, and decoders lean on their BOS.
            kept = self._opening if ids[: len(self._opening)] == self._opening else []
            ids = [*kept, *ids[len(ids) - self.max_length + len(kept) :]]
        return ids

    @torch.no_grad()
    def _forward(self, ids: list[list[int]]) -> torch.Tensor:
        batch = self.tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt")
        device = next(self.model.parameters()).device
        logits = self.model(
            input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device), use_cache=False
        ).logits
        return logits[:, 0].float().cpu()


def load_reward_model(path: str | Path, **model_kwargs: Any) -> nn.Module:
    """Loads a sequence-classification model or adapter, refusing what has no trained reward head.

    Args:
        path (`str` or `Path`):
            Folder or hub name.
        **model_kwargs:
            For `from_pretrained`. `dtype` defaults to `"auto"`.

    Returns:
        `PreTrainedModel` or `PeftModel`: the model.

    Raises:
        FileNotFoundError, ValueError: As in [`RewardModel`].
    """
    check_reward_folder(path)
    model_kwargs.setdefault("dtype", "auto")
    if (Path(path) / "adapter_config.json").is_file():
        from peft import AutoPeftModelForSequenceClassification
        from trl.trainer.reward_trainer import suppress_seqcls_warning

        with suppress_seqcls_warning():  # the base has no head; the adapter brings it
            return AutoPeftModelForSequenceClassification.from_pretrained(str(path), num_labels=1, **model_kwargs)
    model = AutoModelForSequenceClassification.from_pretrained(str(path), **model_kwargs)
    _check_architecture(model.config.architectures or [], str(path))
    return model


def check_reward_folder(path: str | Path) -> None:
    """Refuses a local folder that holds no reward model, without loading any weights. A hub name passes.

    Raises:
        FileNotFoundError: If the folder is not there, or has no model in it.
        ValueError: If its model has no reward head or more than one label.
    """
    folder = Path(path)
    if not folder.is_dir():
        if str(path).startswith((".", "/", "~")):
            raise FileNotFoundError(
                f"No such folder: {path}. Give a folder written by RewardTrainer, or a name on the hub."
            )
        return
    adapter, config = folder / "adapter_config.json", folder / "config.json"
    if adapter.is_file():
        settings = json.loads(adapter.read_text(encoding="utf-8"))
        if settings.get("task_type") not in ("SEQ_CLS", None):
            raise ValueError(
                f"{path} holds an adapter for {settings['task_type']}, not for a reward model (SEQ_CLS). Give the "
                "folder that RewardTrainer wrote."
            )
        if not {"score", "classifier"} & set(settings.get("modules_to_save") or []):
            raise ValueError(
                f"{path} holds an adapter without its reward head, which would be random when loaded. Train it with "
                '`LoraConfig(task_type="SEQ_CLS")` or `modules_to_save=["score"]`.'
            )
        return
    if (folder / ENSEMBLE).is_file():
        raise ValueError(
            f"{path} holds an ensemble of reward models: give `RewardEnsemble.from_folder({str(path)!r})`."
        )
    if not config.is_file():
        raise FileNotFoundError(
            f"{path} holds no model: there is neither a config.json nor an adapter_config.json. Give a folder written "
            "by RewardTrainer, or one that is empty or missing to have a reward model trained there."
        )
    settings = json.loads(config.read_text(encoding="utf-8"))
    _check_architecture(settings.get("architectures") or [], str(path))
    labels = len(settings.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"})
    if labels != 1:
        raise ValueError(f"{path} is a classifier with {labels} labels; a reward model has one.")


def _check_architecture(architectures: list[str], path: str) -> None:
    if not any("SequenceClassification" in name or "RewardModel" in name for name in architectures):
        raise ValueError(
            f"{path} holds {', '.join(architectures) or 'a model of unknown kind'}, which has no trained reward head. "
            "Train one with RewardTrainer first."
        )
