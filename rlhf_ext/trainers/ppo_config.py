"""Configuration of the PPO trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trl

from .._compat import SingleGeneration, attributes_set
from .trl_1_12 import TRL112Fields

_PPO_LOSSES = ("dapo", "bnpo")
_NOT_NEGATIVE = (
    "kl_coef",
    "vf_coef",
    "cliprange_value",
    "value_learning_rate",
    "value_warmup_steps",
    "value_max_grad_norm",
    "missing_eos_penalty",
    "reward_clip",
)


@dataclass
class PPOConfig(TRL112Fields, trl.GRPOConfig):
    r"""
    Configuration of [`PPOTrainer`]: TRL's `GRPOConfig`, whose fields for generation, rewards, logging and speed all
    hold, and what PPO has beside a group of samples: a critic.

    Where GRPO's name differs from PPO's: `num_iterations` are the PPO epochs over a rollout, `generation_batch_size`
    is the rollout, `steps_per_generation` its minibatches, `epsilon` the clip range of the policy, `delta` the bound of
    dual-clip PPO ([1912.09729](https://huggingface.co/papers/1912.09729)), `entropy_coef` the entropy bonus, and
    `sync_ref_model` with `ref_model_mixup_alpha` a reference that follows as a moving average.

    Parameters:
        > Parameters whose default values are overridden from GRPOConfig

        num_generations (`int`, *optional*, defaults to `1`):
            Completions a prompt: PPO's baseline is the critic, so one is enough.
        num_iterations (`int`, *optional*, defaults to `4`):
            PPO epochs over each rollout.
        scale_rewards (`str`, *optional*, defaults to `"none"`):
            `"batch"` divides scores by their deviation over a rollout (where they are all alike, by 1); `"none"` leaves them.
        learning_rate (`float`, *optional*, defaults to `3e-6`):
            As in TRL 1.12's PPO.
        disable_dropout (`bool`, *optional*, defaults to `True`):
            Dropout would make the ratio of a policy to itself differ from 1.

        > Parameters of PPO

        kl_coef (`float`, *optional*, defaults to `0.05`):
            Weight of the KL penalty in the reward of each token. 0 needs no reference model, and no KL is
            logged. It takes the place of `beta`, which is GRPO's KL in the loss.
        kl_estimator (`str`, *optional*, defaults to `"k1"`):
            `"k1"` or `"k3"`, see [`token_kl`].
        kl_target (`float`, *optional*):
            KL wanted, in nats a completion: `kl_coef` is steered towards it, see [`KLController`]. None: fixed.
        kl_horizon (`int`, *optional*, defaults to `10000`):
            Completions over which `kl_coef` may change by a fifth or so.
        gamma (`float`, *optional*, defaults to `1.0`):
            Discount, in (0, 1].
        lam (`float`, *optional*, defaults to `0.95`):
            Trace decay of generalised advantage estimation, in [0, 1].
        value_lam (`float`, *optional*):
            Trace decay of the critic's targets where it is to differ (decoupled GAE,
            [2503.01491](https://huggingface.co/papers/2503.01491)); 1 gives Monte Carlo returns.
        vf_coef (`float`, *optional*, defaults to `0.1`):
            Weight of the value loss.
        cliprange_value (`float`, *optional*, defaults to `0.2`):
            How far a value may move from its value at generation time; None turns the clip off.
        value_learning_rate (`float`, *optional*):
            Learning rate of the critic; that of the policy by default.
        value_warmup_steps (`int`, *optional*, defaults to `0`):
            Optimizer steps at the start in which the critic alone learns.
        value_max_grad_norm (`float`, *optional*):
            Clips the critic's gradients on their own; None: together with the policy's.
        whiten_advantages (`bool`, *optional*, defaults to `True`):
            Whether advantages are scaled to mean 0 and variance 1 over the tokens of a rollout.
        whiten_rewards (`bool`, *optional*, defaults to `False`):
            Whether per-token rewards are scaled to variance 1 before the advantages.
        missing_eos_penalty (`float`, *optional*):
            Taken off the score of a completion that did not end by itself.
        bootstrap_truncated (`bool`, *optional*, defaults to `False`):
            Whether the critic's value of what would have followed is added where a completion was cut off.
        reward_clip (`float`, *optional*):
            Scores (and token rewards) are cut to plus or minus this, before `missing_eos_penalty`.
        stop_strings (`list[str]`, *optional*):
            Strings that end a completion as EOS does. They stay in it.
        stop_token_id (`int`, *optional*):
            A token that ends a completion beside EOS.

        group_by_length (`bool`, *optional*, defaults to `False`):
            Whether completions of like length share a minibatch: less padding where lengths are mixed, at the price of
            minibatches that are not drawn at random.

        share_base (`bool`, *optional*, defaults to `False`):
            With PEFT: reward adapters given as folders, and a critic that is not given, stand on the policy's base, so that
            policy, reference, critic and rewards take the memory of one model.

        > Parameters of TRL 1.12's PPO

        num_ppo_epochs, num_mini_batches, total_episodes, response_length, cliprange, ... :
            Read as they were meant, with a warning that names today's spelling; see [`TRL112Fields`].

    Raises:
        ValueError: If a value is not possible, or not PPO.
    """

    num_generations: int | None = field(
        default=1, metadata={"help": "Completions a prompt. PPO's baseline is the critic, so one is enough."}
    )
    num_iterations: int = field(default=4, metadata={"help": "PPO epochs over each rollout."})
    scale_rewards: str = field(
        default="none",
        metadata={"help": "'batch' divides scores by their deviation over a rollout.", "choices": ["none", "batch"]},
    )
    learning_rate: float = field(default=3e-6, metadata={"help": "The initial learning rate for AdamW."})
    disable_dropout: bool = field(
        default=True, metadata={"help": "Whether dropout is off; with it, a policy's ratio to itself is not 1."}
    )
    kl_coef: float = field(
        default=0.05, metadata={"help": "Weight of the KL penalty in each token's reward. 0 needs no reference model."}
    )
    kl_estimator: str = field(
        default="k1", metadata={"help": "'k1' or 'k3' (never negative, lower variance).", "choices": ["k1", "k3"]}
    )
    kl_target: float | None = field(
        default=None, metadata={"help": "KL wanted, in nats a completion; `kl_coef` is steered towards it."}
    )
    kl_horizon: int = field(
        default=10_000, metadata={"help": "Completions over which `kl_coef` may change by a fifth."}
    )
    gamma: float = field(default=1.0, metadata={"help": "Discount, in (0, 1]."})
    lam: float = field(default=0.95, metadata={"help": "Trace decay of generalised advantage estimation, in [0, 1]."})
    value_lam: float | None = field(
        default=None, metadata={"help": "Trace decay of the critic's targets, where it is to differ from `lam`."}
    )
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    cliprange_value: float | None = field(
        default=0.2, metadata={"help": "How far a value may move from its value at generation time. None: no clip."}
    )
    value_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the critic. None: that of the policy."}
    )
    value_warmup_steps: int = field(
        default=0, metadata={"help": "Optimizer steps at the start in which the critic alone learns."}
    )
    value_max_grad_norm: float | None = field(
        default=None, metadata={"help": "Clips the critic's gradients on their own. None: with the policy's."}
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

    bootstrap_truncated: bool = field(
        default=False, metadata={"help": "Whether a cut-off completion gets the critic's value of what would follow."}
    )
    reward_clip: float | None = field(default=None, metadata={"help": "Scores are cut to plus or minus this."})
    stop_strings: list[str] | None = field(
        default=None, metadata={"help": "Strings that end a completion as EOS does."}
    )

    share_base: bool = field(
        default=False, metadata={"help": "With PEFT, critic and reward adapters stand on the policy's base."}
    )
    group_by_length: bool = field(
        default=False, metadata={"help": "Whether completions of like length share a minibatch."}
    )

    def __post_init__(self):
        if self.num_generations == 1:
            with attributes_set(self, num_generations=SingleGeneration()):
                super().__post_init__()
        else:
            super().__post_init__()
        self._check_ppo()

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
        for name in ("gamma", "lam", "value_lam"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"`{name}` must be in [0, 1], got {value}.")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"`{name}` must not be negative, got {value}.")
        if self.num_iterations < 1:
            raise ValueError(
                f"`num_iterations` must be at least 1, got {self.num_iterations}: nothing would be learned."
            )
        if self.delta is not None and self.delta <= 1:
            raise ValueError(f"`delta` must be above 1, got {self.delta}: the ratio is 1 where training starts.")
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                f"`multi_objective_aggregation={self.multi_objective_aggregation!r}` normalises rewards within a group of "
                "completions of one prompt, which PPO has not: use `reward_weights`, and `scale_rewards='batch'`."
            )
        for name, choices in (("kl_estimator", ("k1", "k3")), ("scale_rewards", ("none", "batch"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}.")
        if self.kl_target is not None and not (self.kl_target > 0 and self.kl_coef > 0 and self.kl_horizon > 0):
            raise ValueError("`kl_target` needs a positive target, `kl_horizon` and `kl_coef` to start from.")
        if self.sync_ref_model and not self.kl_coef:
            raise ValueError("`sync_ref_model` needs a reference to move: set `kl_coef` above 0.")
        if self.value_max_grad_norm is not None and not self.max_grad_norm:
            raise ValueError(
                "`value_max_grad_norm` needs `max_grad_norm`, without which no gradient is clipped: give the policy a limit "
                "that it does not reach."
            )
        if isinstance(self.stop_strings, str):
            self.stop_strings = [self.stop_strings]
        if self.stop_strings and not all(self.stop_strings):
            raise ValueError("`stop_strings` has an empty string, which is in every text.")
        if self.stop_strings and self.mask_truncated_completions:
            raise ValueError(
                "`mask_truncated_completions` goes by EOS alone and would mask what `stop_strings` ended: use one of them."
            )
        if self.steps_per_generation * self.num_iterations % self.gradient_accumulation_steps:
            raise ValueError(
                f"`steps_per_generation` x `num_iterations` = {self.steps_per_generation * self.num_iterations} must be "
                f"divisible by `gradient_accumulation_steps` = {self.gradient_accumulation_steps}: an update would mix two "
                "rollouts."
            )

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer steps between two generations."""
        return max(1, self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps)


def check_prompts(dataset: Any, args: PPOConfig) -> None:
    """Refuses fewer prompts than one rollout takes: TRL's sampler would drop them all, and train for no step."""
    taken = int(args.generation_batch_size or 0) // int(args.num_generations or 1)
    if dataset is not None and hasattr(dataset, "__len__") and len(dataset) < taken:
        raise ValueError(
            f"`train_dataset` has {len(dataset)} prompts, and a rollout takes {taken}: lower `per_device_train_batch_size` or "
            "`steps_per_generation`, or repeat the rows."
        )
