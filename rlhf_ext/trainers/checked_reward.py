"""Reward functions as PPO calls them: what they return is checked, and may speak of single tokens."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..rewards.calling import Signed, checked_scores, is_async
from ..rewards.ensemble import RewardEnsemble
from ..rewards.mixing import RewardMixer
from ..rewards.model import RewardModel
from .one_base import RewardOnBase
from .tokenized_prompts import with_pad_inside


class CheckedReward:
    """A reward function whose mistakes are named: a NaN, an infinity, a list of the wrong length, an exception.

    It may return for a completion, in place of a number, a list with one number for each of its tokens
    (`completion_ids` tells them): a dense reward, which PPO puts where the tokens are. The score is then their sum.

    Args:
        function (`RewardFunction`):
            TRL's protocol: `prompts`, `completions`, `completion_ids` and data columns by name, a list back. Sync or async.

    Example:

    ```python
    >>> reward = CheckedReward(lambda completion_ids, **_: [[0.1] * len(ids) for ids in completion_ids])
    >>> reward(prompts=["a"], completions=["b c"], completion_ids=[[5, 6]])
    [0.2]
    >>> reward.dense
    [[0.1, 0.1]]

    ```
    """

    def __new__(cls, function: Any):
        return super().__new__(_CheckedAsyncReward if is_async(function) else cls)

    def __init__(self, function: Any):
        self.function = function
        self.dense: list[list[float] | None] = []
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        functools.update_wrapper(self, function, assigned=("__doc__", "__module__"), updated=())

    def __call__(self, **columns: Any) -> list[float | None]:
        with Signed(f"the reward function {self.__name__!r}", columns["prompts"]):
            rewards = self.function(**columns)
        return self._check(rewards, columns)

    def _check(self, rewards: Any, columns: dict[str, Any]) -> list[float | None]:
        who, ids = f"The reward function {self.__name__!r}", columns["completion_ids"]
        if hasattr(rewards, "__len__") and len(rewards) == len(ids):
            self.dense = [self._tokens(reward, i, len(ids[i])) for i, reward in enumerate(rewards)]
            rewards = [r if d is None else math.fsum(d) for r, d in zip(rewards, self.dense, strict=True)]
        return checked_scores(who, rewards, columns["completions"])

    def _tokens(self, reward: Any, row: int, length: int) -> list[float] | None:
        if isinstance(reward, torch.Tensor | np.ndarray) and reward.ndim == 1:
            reward = reward.tolist()
        if not isinstance(reward, list | tuple):
            return None
        if len(reward) != length:
            raise ValueError(
                f"The reward function {self.__name__!r} gave {len(reward)} token rewards for completion {row}, which has "
                f"{length} tokens (see `completion_ids`)."
            )
        return [float(token) for token in reward]


class _CheckedAsyncReward(CheckedReward):
    async def __call__(self, **columns: Any) -> list[float | None]:  # type: ignore[override]
        with Signed(f"the reward function {self.__name__!r}", columns["prompts"]):
            rewards = await self.function(**columns)
        return self._check(rewards, columns)


def checked_rewards(reward_funcs: Any, processing_classes: Any, args: Any) -> Any:
    """Reward functions and models as PPO calls them.

    Args:
        reward_funcs (`RewardFunction`, [`RewardModel`], `PreTrainedModel`, `str`, or a list of them):
            What the user gave; models become [`RewardModel`], functions [`CheckedReward`].
        processing_classes (`PreTrainedTokenizerBase`, a list of them, or `None`):
            The models' tokenizers.
        args ([`PPOConfig`]):
            Configuration.

    Returns:
        `list` or `None`.

    Raises:
        TypeError: If something among them is no reward.
        ValueError: If there are fewer or more tokenizers than rewards.
    """
    if reward_funcs is None:
        return None
    functions = list(reward_funcs) if isinstance(reward_funcs, list | tuple) else [reward_funcs]
    several = isinstance(processing_classes, list | tuple)
    classes = list(processing_classes) if several else [processing_classes] * len(functions)
    if len(classes) != len(functions):
        raise ValueError(
            f"{len(classes)} `reward_processing_classes` for {len(functions)} `reward_funcs`: give one each, None for a function."
        )
    for function in functions:
        if not isinstance(function, str | Path) and not callable(function):
            raise TypeError(
                f"`reward_funcs` has {function!r}: not a function, a reward model, or a folder or hub name of one."
            )
    checked: list[Any] = []
    for function, processing_class in zip(functions, classes, strict=True):
        if args.share_base and RewardOnBase.can_take(function):
            checked.append(RewardOnBase(function, processing_class, args.per_device_train_batch_size))
            continue
        if isinstance(function, str | Path | torch.nn.Module):
            options = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
            options.pop("revision", None)  # that of the policy
            if isinstance(function, torch.nn.Module):
                options, processing_class = {}, with_pad_inside(processing_class, function)
            function = RewardModel(function, processing_class, args.per_device_train_batch_size, **options)
        if isinstance(function, RewardModel):
            checked.append(function.to(args.device))
        else:
            if isinstance(function, RewardMixer | RewardEnsemble):
                function.to(args.device)
            checked.append(CheckedReward(function))
    return checked


def dense_rewards(
    functions: Sequence[Any], weights: torch.Tensor, shape: tuple[int, int]
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The token rewards of the last call of reward functions, and what they add up to.

    Args:
        functions (`Sequence`):
            Reward functions; those that are no [`CheckedReward`] gave no token rewards.
        weights (`torch.Tensor` of shape `(F,)`):
            A weight a function.
        shape (`tuple[int, int]`):
            `(B, T)`, completions padded on the right.

    Returns:
        `tuple`: a weighted `(B, T)` tensor, or None where no function spoke of tokens; and its `(B,)` sums.
    """
    found = torch.zeros(shape, device=weights.device)
    spoke = False
    for function, weight in zip(functions, weights, strict=True):
        for row, tokens in enumerate(getattr(function, "dense", [])):
            if tokens is not None:
                spoke = True
                found[row, : len(tokens)] += weight * torch.tensor(tokens, device=weights.device)
    return (found if spoke else None), found.sum(1)
