"""Ensembles of reward models: a reward, and how far it can be trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..types import Completion, Prompt
from .ensemble_members import READING, load_heads, load_members, names_of, scale_of
from .ensemble_scores import EnsembleScores, make_ensemble_combination
from .model import ENSEMBLE, RewardModel
from .shared_trunk import AdaptersOnOneBase, MembersOnOneBase

logger = logging.get_logger(__name__)


class RewardEnsemble:
    """Several reward models as one reward function, with bounds and disagreement beside the reward.

    A policy that is trained against one reward model finds that model's mistakes. Members trained on one data set with
    different seeds make different mistakes where the data says little, so they disagree there, and a reward that is lower
    where they disagree is harder to exploit (Coste et al., [2310.02743](https://huggingface.co/papers/2310.02743): four to
    five members are enough). What all members believe wrongly, an ensemble does not see.

    LoRA adapters on one base, given as folders, are loaded on one copy of it, and the layers below the first adapted one run
    once for all of them.

    Args:
        members (`Sequence` of `str`, `Path`, [`RewardModel`] or `PreTrainedModel`):
            At least two reward models: folders (models or LoRA adapters, mixed as you like) or models in memory.
        combine (`str` or `Callable`, *optional*, defaults to `"mean"`):
            What it returns as a reward function: `"mean"`; `"worst_case"`, the least of the members' scores; `"lower"`, the
            lower bound; `"uncertainty_weighted"`, mean less 0.1 times the variance, or
            [`~rlhf_ext.rewards.combining.UncertaintyWeighted`] with another coefficient (these are called conservative; worst
            case and uncertainty-weighted are WCO and UWO in 2310.02743); or another combination from there.
        bounds (`float` or `str`, *optional*, defaults to `1.0`):
            Lower and upper are the mean less and plus this many standard deviations over members; with `"min_max"` they are
            the least and the greatest score (both as in rewarduq,
            [2602.24040](https://huggingface.co/papers/2602.24040)). They are spreads of the members, not confidence
            intervals: nothing says how often the true reward lies inside.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The tokenizer of members that are given as models in memory, or of all; loaded from each member by default.
        batch_size (`int`, *optional*, defaults to `16`), max_length (`int`, *optional*), progress (`bool`, *optional*):
            As in [`RewardModel`], for members that are not one already.
        chat_template_kwargs (`dict`, *optional*):
            Likewise.
        **model_kwargs:
            For `from_pretrained`: `dtype`, `device_map`, ...

    Attributes:
        centre, scale (`torch.Tensor` of shape `(K,)` or `None`):
            What is taken off each member's scores and what they are divided by; see [`~RewardEnsemble.standardize`].

    Raises:
        ValueError: If there are fewer than two members, `combine` or `bounds` is unknown, or members that share a base read
            text with different tokenizers; and for each member as in [`RewardModel`].

    Example:

    ```python
    from rlhf_ext import RewardEnsemble, train_reward_ensemble

    train_reward_ensemble("Qwen/Qwen3-0.6B", preferences, "./ensemble", members=5)
    reward = RewardEnsemble.from_folder("./ensemble", combine="uncertainty_weighted")
    reward.predict(["How are you?"], ["Fine, thank you."]).disagreement  # shape (1,)
    trainer = PPOTrainer(model, reward, ...)  # any TRL trainer takes it as it is
    ```
    """

    def __init__(
        self,
        members: Sequence[str | Path | RewardModel | nn.Module] | MembersOnOneBase,
        combine: str | Callable = "mean",
        bounds: float | str = 1.0,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 16,
        max_length: int | None = None,
        progress: bool = False,
        chat_template_kwargs: Mapping[str, Any] | str | None = None,
        **model_kwargs: Any,
    ):
        make_ensemble_combination(combine)
        if bounds != "min_max" and not (isinstance(bounds, int | float) and 0 <= bounds < math.inf):
            raise ValueError(f"`bounds` is a number of standard deviations, at least 0, or 'min_max'; got {bounds!r}.")
        if isinstance(members, str | Path | nn.Module | RewardModel):  # a str is a sequence, too
            raise TypeError(
                f"`members` is a list of reward models, got one {type(members).__name__}. For a folder of "
                "`train_reward_ensemble` use `RewardEnsemble.from_folder`, for a model with several adapters or heads "
                "`from_adapters` or `from_heads`."
            )
        self.combine, self.bounds = combine, bounds
        count = len(members.names) if isinstance(members, MembersOnOneBase) else len(members)
        if count < 2:
            raise ValueError(
                f"An ensemble has at least two members, got {count}. One reward model is a `RewardModel`."
            )
        reading: dict[str, Any] = {"batch_size": batch_size, "max_length": max_length, "progress": progress}
        reading["chat_template_kwargs"] = chat_template_kwargs
        self._parts = load_members(members, tokenizer, reading, model_kwargs)
        self.names = names_of(self._parts)
        self.centre: torch.Tensor | None = None
        self.scale: torch.Tensor | None = None
        self._has_warned = False
        self.__name__ = "reward_ensemble"  # how TRL names it in logs

    @classmethod
    def from_folder(cls, folder: str | Path, members: int | None = None, **options: Any) -> RewardEnsemble:
        """The ensemble that [`~rlhf_ext.train_reward_ensemble`] wrote, with its members on their common scale.

        Args:
            folder (`str` or `Path`):
                Its `output_dir`.
            members (`int`, *optional*):
                How many of its members, from the first; all by default.
            **options:
                As for [`RewardEnsemble`].

        Raises:
            FileNotFoundError: If the folder holds no ensemble.
        """
        record = Path(folder) / ENSEMBLE
        if not record.is_file():
            raise FileNotFoundError(
                f"{folder} holds no ensemble: there is no {ENSEMBLE}. Give the `output_dir` of `train_reward_ensemble`, or make an "
                "ensemble of folders with `RewardEnsemble([folder, ...])`."
            )
        found = json.loads(record.read_text(encoding="utf-8"))["members"]
        if members is not None and members > len(found):
            raise ValueError(f"{folder} has {len(found)} finished members, not {members}.")
        found = found[:members]
        ensemble = cls([str(Path(folder) / member["folder"]) for member in found], **options)
        ensemble.centre, ensemble.scale = torch.tensor([[m["centre"], m["scale"]] for m in found]).T
        ensemble.__name__ = Path(folder).name or ensemble.__name__
        return ensemble

    @classmethod
    def from_adapters(
        cls, model: nn.Module, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any
    ) -> RewardEnsemble:
        """The adapters of one `PeftModel` in memory as members; scoring changes which one is active.

        `options` are those of [`RewardEnsemble`].
        """
        reading = {name: options.pop(name) for name in READING if name in options}
        return cls(AdaptersOnOneBase(model, tokenizer, **reading), **options)

    @classmethod
    def from_heads(
        cls, model: str | Path | nn.Module, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any
    ) -> RewardEnsemble:
        """The labels of one sequence-classification model as members: heads on one backbone, which runs once.

        Args:
            model (`str`, `Path` or `PreTrainedModel`):
                A model with K labels and a linear head, or its folder or hub name.
            tokenizer (`PreTrainedTokenizerBase`, *optional*):
                Loaded from the model by default.
            **options:
                As for [`RewardEnsemble`].
        """
        reading = {name: options.pop(name) for name in READING if name in options}
        own = {name: options.pop(name) for name in ("combine", "bounds") if name in options}
        return cls(load_heads(model, tokenizer, reading, options), **own)

    def __len__(self) -> int:
        return len(self.names)

    def __call__(
        self, *, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """TRL's reward-function protocol: the combined reward. Means go to `log_metric`, rows to `log_extra`."""
        scores = self.predict(prompts, completions)
        shown = {name: getattr(scores, name) for name in ("mean", "lower", "upper", "disagreement")}
        if (log_metric := columns.get("log_metric")) and len(completions):
            for name, values in shown.items():
                log_metric(f"{self.__name__}/{name}", values.mean().item())
        if log_extra := columns.get("log_extra"):
            log_extra(f"{self.__name__}/disagreement", scores.disagreement.tolist())
        return scores.combined(self.combine).tolist()

    def predict(self, prompts: Sequence[Prompt], responses: Sequence[Completion]) -> EnsembleScores:
        """Mean, bounds and disagreement, one a response.

        Args and errors are those of [`~RewardEnsemble.score_members`].
        """
        if self.centre is None and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The members of this ensemble were not put on a common scale: Bradley-Terry leaves each one's zero open, so "
                "that bounds, disagreement and worst case may tell more about that than about the responses. Call "
                "`standardize` with reference texts."
            )
        return EnsembleScores.of(self.score_members(prompts, responses), self.bounds)

    def score_members(self, prompts: Sequence[Prompt], responses: Sequence[Completion]) -> torch.Tensor:
        """Each member's rewards, on the common scale if there is one.

        Args:
            prompts, responses:
                As in [`RewardModel.score`].

        Returns:
            `torch.Tensor` of shape `(K, n)`, float32 on CPU.

        Raises:
            ValueError: If the lengths differ, or a score is NaN or infinite (named by member and row).
        """
        scores = self._raw(prompts, responses)
        if self.centre is not None and self.scale is not None:
            scores = (scores - self.centre[:, None]) / self.scale[:, None]
        return scores

    def standardize(
        self, prompts: Sequence[Prompt], responses: Sequence[Completion], scale: bool = True
    ) -> RewardEnsemble:
        """Puts the members on a common scale: on the reference texts each has mean 0 and standard deviation 1.

        Bradley-Terry fixes differences between responses to one prompt and leaves each member's zero open; without a common
        one, the worst case is always that of the member whose zero is lowest.

        Args:
            prompts, responses:
                Reference texts, at least two: a hundred or more, of the kind that will be scored (e.g. what the policy writes
                before training).
            scale (`bool`, *optional*, defaults to `True`):
                Whether scores are also divided by their standard deviation; if not, they stay in each member's units.

        Returns:
            [`RewardEnsemble`]: itself.

        Raises:
            ValueError: If there are fewer than two texts, or a member scores them all alike.
        """
        raw = self._raw(prompts, responses)
        places = [scale_of(row, name) for row, name in zip(raw, self.names, strict=True)]
        self.centre = torch.tensor([centre for centre, _ in places])
        self.scale = torch.tensor([spread if scale else 1.0 for _, spread in places])
        return self

    def to(self, device: torch.device | str) -> RewardEnsemble:
        """Moves the members, as `nn.Module.to` does."""
        for part, _ in self._parts:
            part.to(device)
        return self

    def _raw(self, prompts: Sequence[Prompt], responses: Sequence[Completion]) -> torch.Tensor:
        """Scores in each member's own units."""
        if len(prompts) != len(responses):
            raise ValueError(
                f"{len(prompts)} prompts but {len(responses)} responses: one response a prompt is needed."
            )
        scores = torch.empty(len(self), len(prompts))
        for part, places in self._parts:
            scores[places] = part.score(prompts, responses)
        bad = (~torch.isfinite(scores)).nonzero()
        if len(bad):
            member, row = bad[0].tolist()
            raise ValueError(
                f"Member {self.names[member]} of the reward ensemble gave {scores[member, row]} for row {row}: {prompts[row]!r}."
            )
        return scores
