"""Configuration of the PPO trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trl
from transformers.utils import logging

from .._compat import SingleGeneration, attributes_set

logger = logging.get_logger(__name__)

_PPO_LOSSES = ("dapo", "bnpo")


@dataclass
class PPOConfig(trl.GRPOConfig):
    r"""
    Configuration of [`PPOTrainer`]: TRL's `GRPOConfig`, whose fields for generation, rewards, logging and speed all
    hold, and what PPO has beside a group of samples: a critic.

    Where GRPO's name differs from PPO's: `num_iterations` are the PPO epochs over a rollout, `generation_batch_size`
    is the rollout, `steps_per_generation` its minibatches, `epsilon` the clip range of the policy.

    Parameters:
        > Parameters whose default values are overridden from GRPOConfig

        num_generations (`int`, *optional*, defaults to `1`):
            Completions a prompt: PPO's baseline is the critic, so one is enough.
        num_iterations (`int`, *optional*, defaults to `4`):
            PPO epochs over each rollout.
        scale_rewards (`str`, *optional*, defaults to `"none"`):
            Not used: advantages come from the critic.
        disable_dropout (`bool`, *optional*, defaults to `True`):
            Dropout would make the ratio of a policy to itself differ from 1.

        > Parameters of PPO

        kl_coef (`float`, *optional*, defaults to `0.05`):
            Weight of the KL penalty in the reward of each token. 0 needs no reference model. It takes the place of
            `beta`, which is GRPO's KL in the loss.
        gamma (`float`, *optional*, defaults to `1.0`):
            Discount, in (0, 1].
        lam (`float`, *optional*, defaults to `0.95`):
            Trace decay of generalised advantage estimation, in [0, 1].
        vf_coef (`float`, *optional*, defaults to `0.1`):
            Weight of the value loss.
        cliprange_value (`float`, *optional*, defaults to `0.2`):
            How far a value may move from its value at generation time; None turns the clip off.
        value_learning_rate (`float`, *optional*):
            Learning rate of the critic; that of the policy by default.
        whiten_advantages (`bool`, *optional*, defaults to `True`):
            Whether advantages are scaled to mean 0 and variance 1 over the tokens of a rollout.
        whiten_rewards (`bool`, *optional*, defaults to `False`):
            Whether per-token rewards are scaled to variance 1 before the advantages.
        missing_eos_penalty (`float`, *optional*):
            Taken off the score of a completion that did not end by itself.
    """

    num_generations: int | None = field(
        default=1, metadata={"help": "Completions a prompt. PPO's baseline is the critic, so one is enough."}
    )
    num_iterations: int = field(default=4, metadata={"help": "PPO epochs over each rollout."})
    scale_rewards: str = field(default="none", metadata={"help": "Not used: advantages come from the critic."})
    disable_dropout: bool = field(
        default=True, metadata={"help": "Whether dropout is off; with it, a policy's ratio to itself is not 1."}
    )
    kl_coef: float = field(
        default=0.05, metadata={"help": "Weight of the KL penalty in each token's reward. 0 needs no reference model."}
    )
    gamma: float = field(default=1.0, metadata={"help": "Discount, in (0, 1]."})
    lam: float = field(default=0.95, metadata={"help": "Trace decay of generalised advantage estimation, in [0, 1]."})
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    cliprange_value: float | None = field(
        default=0.2, metadata={"help": "How far a value may move from its value at generation time. None: no clip."}
    )
    value_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the critic. None: that of the policy."}
    )
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Whether advantages are scaled to mean 0 and variance 1 over a rollout."}
    )
    whiten_rewards: bool = field(
        default=False, metadata={"help": "Whether per-token rewards are scaled to variance 1."}
    )
    missing_eos_penalty: float | None = field(
        default=None, metadata={"help": "Taken off the score of a completion that did not end by itself."}
    )

    def __post_init__(self):
        if self.num_generations == 1:
            with attributes_set(self, num_generations=SingleGeneration()):
                super().__post_init__()
        else:
            super().__post_init__()
        self._check_ppo()
        self._align_saves()

    def _check_ppo(self: Any) -> None:
        if self.loss_type not in _PPO_LOSSES or self.importance_sampling_level != "token":
            raise ValueError(
                f"PPO's loss is clipped token by token: `loss_type` must be one of {_PPO_LOSSES} with "
                f"`importance_sampling_level='token'`, got {self.loss_type!r} and {self.importance_sampling_level!r}."
            )
        if self.beta not in (0.0, self.kl_coef):
            raise ValueError(
                f"PPO's KL is a penalty in the reward of each token: set `kl_coef={self.beta}` in place of `beta`."
            )
        self.beta = self.kl_coef  # what TRL looks at to compute the reference's log-probabilities
        for name, low, high in (("gamma", 0.0, 1.0), ("lam", 0.0, 1.0)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"`{name}` must be in [{low:g}, {high:g}], got {getattr(self, name)}.")
        for name in ("kl_coef", "vf_coef", "cliprange_value", "value_learning_rate", "missing_eos_penalty"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"`{name}` must not be negative, got {value}.")

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer steps between two generations."""
        return max(1, self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps)

    def _align_saves(self: Any) -> None:
        # A rollout is not saved: a run that resumes within one would generate anew at other steps than the first did.
        every = self.updates_per_rollout
        if self.save_strategy == "steps" and self.save_steps >= 1 and self.save_steps % every:
            aligned = every * (int(self.save_steps) // every + 1)
            logger.warning_once(
                f"`save_steps` goes from {int(self.save_steps)} to {aligned}: checkpoints are written between two "
                f"rollouts of {every} optimizer steps, so that a resumed run equals an undisturbed one."
            )
            self.save_steps = aligned
