"""PPO for current TRL: GRPO's rollouts, rewards and clipped loss, with a critic and per-token advantages."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from transformers import PreTrainedModel, TrainingArguments
from transformers.utils import logging
from trl.models.utils import prepare_deepspeed

from .._compat import attributes_set, by_name
from ..rewards.model import RewardModel
from .advantages import value_losses
from .callbacks import CriticFirst, FiniteLoss
from .checked_reward import checked_rewards
from .critic import ValueModel, check_critic, hidden, hide_from_vllm, make_critic, same_tokens
from .dropout import disable_dropout
from .kl_control import KLController
from .minibatches import minibatches
from .model_card import PPOCard
from .one_base import RewardOnBase
from .ppo_checkpoints import PPOCheckpoints
from .ppo_config import PPOConfig, check_prompts
from .prompt_order import InEpoch
from .reference import adopt_reference, let_reference_follow, reference_copy
from .scoring import ScoringHooks
from .tokenized_prompts import with_pad_inside, with_text_prompts
from .trl_1_12 import arguments_of_1_12

logger = logging.get_logger(__name__)

_MORE = tuple(inspect.signature(trl.GRPOTrainer.__init__).parameters)[4:]
"""GRPOTrainer's arguments after `args`, in its order."""


class PPOTrainer(FiniteLoss, PPOCard, PPOCheckpoints):
    """
    Proximal policy optimisation ([1707.06347](https://huggingface.co/papers/1707.06347)) as InstructGPT uses it
    ([2203.02155](https://huggingface.co/papers/2203.02155)), on TRL's GRPOTrainer.

    Prompts, rewards, tools, vLLM, PEFT, logging and checkpoints are GRPOTrainer's. Added are a critic, the KL penalty
    in the reward of each token, generalised advantage estimation and the value loss.

    A script for TRL 1.12's PPOTrainer runs as it is: its arguments, its order of them, its config and its tokenised data
    sets are read as they were meant (docs/migration.md).

    Args:
        model (`str` or `PreTrainedModel` or `PeftModel`):
            The policy.
        reward_funcs (`RewardFunction`, `RewardModel`, `PreTrainedModel`, `str`, or a list of them):
            What scores completions, as in GRPOTrainer. A sequence-classification model or its name is wrapped in
            [`RewardModel`], so that it sees the EOS token it was trained with. A function may give a list of numbers for a
            completion, one a token, in place of one number.
        args ([`PPOConfig`], *optional*):
            Configuration.
        value_model (`PreTrainedModel` or `str`, *optional*):
            The critic: a sequence-classification model with one label, its folder or hub name, or `"shared"` for a value
            head on the policy. None: from the reward model if there is one with the policy's vocabulary, else from the
            policy.
        ref_model (`PreTrainedModel` or `str`, *optional*):
            What the KL is measured from. None: the policy as it is now (with PEFT, the policy without its adapter).
        reward_model (`PreTrainedModel`, *optional*):
            TRL 1.12's name of `reward_funcs`.
        **kwargs:
            GRPOTrainer's: `train_dataset`, `eval_dataset`, `processing_class`, `reward_processing_classes`,
            `peft_config`, `callbacks`, `rollout_func`, `tools`, `quantization_config`, ... Data sets have a `prompt`
            (text or messages), or `input_ids`.

    Raises:
        ValueError: If the critic does not fit the policy, the configuration is not PPO, or a reward is NaN or infinite.

    Example:

    ```python
    from rlhf_ext import PPOConfig, PPOTrainer

    trainer = PPOTrainer(
        model="Qwen/Qwen3-0.6B",
        reward_funcs="./reward_model",
        args=PPOConfig(kl_coef=0.05),
        train_dataset=prompts,  # a `prompt` column, text or messages
    )
    trainer.train()
    ```
    """

    _buffered_inputs: Any

    def __init__(
        self,
        model: str | PreTrainedModel | TrainingArguments | None = None,
        reward_funcs: Any = None,
        args: PPOConfig | None = None,
        *positional: Any,
        value_model: PreTrainedModel | str | None = None,
        ref_model: PreTrainedModel | str | None = None,
        reward_model: PreTrainedModel | None = None,
        **kwargs: Any,
    ):
        if isinstance(model, TrainingArguments) or reward_model is not None:
            named = {"value_model": value_model, "ref_model": ref_model, "reward_model": reward_model, **kwargs}
            old = arguments_of_1_12((model, reward_funcs, args, *positional), named)
            PPOTrainer.__init__(self, **old)
            return
        if model is None:
            raise ValueError("`model` is missing: the policy, or its folder or hub name.")
        if not reward_funcs and not isinstance(reward_funcs, str) and kwargs.get("environment_factory") is None:
            raise ValueError("PPO needs a reward: give `reward_funcs`, a function, a reward model or a list of them.")
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            args = PPOConfig(f"{Path(name).name or 'model'}-PPO")
        kwargs = by_name(_MORE, positional, kwargs)
        tokenizer = kwargs["processing_class"] = with_pad_inside(kwargs.get("processing_class"), model)
        for name in ("train_dataset", "eval_dataset"):
            kwargs[name] = with_text_prompts(kwargs.get(name), tokenizer)
        self._critic: Any = None  # GRPOTrainer's __init__ may already score
        self._token_values: Any = None
        rewards = checked_rewards(reward_funcs, kwargs.get("reward_processing_classes"), args)
        reference = reference_copy(ref_model, model, args, kwargs.get("peft_config"))
        without: dict[str, Any] = {} if reference is None else {"beta": 0.0}
        with attributes_set(args, sync_ref_model=False, **without):
            super().__init__(model, rewards, args, **kwargs)
        check_prompts(self.train_dataset, args)
        if args.disable_dropout:
            disable_dropout(self.model)
        if reference is not None:
            adopt_reference(self, reference)
        if args.sync_ref_model:
            let_reference_follow(self)
        self._kl_control = KLController(args.kl_coef, args.kl_target, args.kl_horizon)
        if args.stop_token_id is not None:
            self._end_at(args.stop_token_id)
        if args.stop_strings and self.tools:
            raise ValueError("`stop_strings` and `tools` do not go together: a call of a tool would be cut.")
        if args.stop_strings and self.rollout_func is not None:
            raise ValueError(
                "`rollout_func` writes the completions, and `stop_strings` would not be looked for: cut there."
            )
        self._attach_critic(value_model)

    def _attach_critic(self, value_model: Any) -> None:
        if self.is_deepspeed_enabled and self.args.value_max_grad_norm is not None:
            raise ValueError("DeepSpeed clips all gradients together: leave `value_max_grad_norm` off.")
        if self.args.share_base:
            self._check_shared_base()
            for i, function in enumerate(self.reward_funcs):
                if isinstance(function, RewardOnBase):
                    self.reward_funcs[i] = function.on(self.model)
        rewards = [function for function in self.reward_funcs if isinstance(function, RewardModel)]
        check_critic(value_model, [self.model, *(one.model for one in rewards)], self._tokenizer)
        reward_models = [one.model for one in rewards if same_tokens(self._tokenizer, one.tokenizer)]
        options = {"trust_remote_code": self.args.trust_remote_code, **(self.args.model_init_kwargs or {})}
        reward_model = reward_models[0] if reward_models else None
        critic = make_critic(value_model, self.model, reward_model, self.args.share_base, **options)
        if self.is_deepspeed_enabled:  # ZeRO-3 has parted them, too
            for function in self.reward_funcs:
                if isinstance(function, RewardModel):
                    function.model = prepare_deepspeed(function.model, self.accelerator)
        if self.args.gradient_checkpointing and isinstance(critic, ValueModel):
            critic.checkpoint_gradients(self.args.gradient_checkpointing_kwargs)
        self._critic = ScoringHooks(self.model, critic)
        if self.args.value_warmup_steps:
            self.add_callback(CriticFirst(critic))
        if self.use_vllm:
            hide_from_vllm(self.vllm_generation, self.model)
        if self.ref_model is not None:
            ScoringHooks(self.accelerator.unwrap_model(self.ref_model))

    def _check_shared_base(self) -> None:
        if not is_peft_model(self.model):
            raise ValueError("`share_base` needs a PEFT policy: give `peft_config`, or a PeftModel.")
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "`share_base` shares tensors between modules, which FSDP and DeepSpeed would part: leave it off."
            )

    def _get_train_sampler(self, *args, **kwargs):
        return InEpoch(super()._get_train_sampler(*args, **kwargs), lambda: int(self.state.epoch or 0))

    # Update: GRPO's clipped token loss is PPO's; the KL is in the rewards, and the critic's loss comes on top.

    def _prepare_inputs(self, generation_batch):
        inputs = super()._prepare_inputs(generation_batch)
        steps = self.args.steps_per_generation
        if not self.model.training or steps == 1 or self._is_vlm or self._step % steps:
            return inputs
        # TRL draws minibatches once a rollout; PPO draws them anew each epoch.
        if self._step % (steps * self.num_iterations) or self.args.group_by_length:
            self._buffered_inputs = minibatches(self._buffered_inputs, steps, self.args.group_by_length)
        return self._buffered_inputs[0]

    def _compute_loss(self, model, inputs):
        mode = "train" if self.model.training else "eval"
        self._token_values = None
        self._critic.policy_rests = mode == "train" and self.state.global_step < self.args.value_warmup_steps
        with attributes_set(self, beta=0.0):
            loss = super()._compute_loss(model, inputs)
        if self._critic.policy_rests:
            loss = loss * 0.0  # and not left out: all parameters keep a gradient, which DDP waits for
        mask = inputs["value_mask"]
        values = self._token_values[:, -mask.size(1) - 1 : -1]
        self._token_values = None
        losses, clipped = value_losses(
            values, inputs["old_token_values"], inputs["returns"], self.args.cliprange_value
        )
        # The normaliser of the policy loss, so that gradient accumulation does not change the sum of the two.
        accumulation = self.current_gradient_accumulation_steps if mode == "train" else 1
        if self.loss_type == "dapo":
            normalizer = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
            if mode == "train":
                normalizer = normalizer * accumulation / self.args.steps_per_generation
        else:
            normalizer = mask.sum().clamp(min=1.0) * accumulation
        count = self._sum_over_processes(mask.sum().clamp(min=1.0))
        for name, total in (("value/loss", losses.detach()), ("value/clip_ratio", clipped)):
            self._metrics[mode][name].append((self._sum_over_processes((total * mask).sum()) / count).item())
        return loss + self.args.vf_coef * (losses * mask).sum() / normalizer

    def create_optimizer(self, *args, **kwargs):
        given = self.optimizer is not None
        optimizer = super().create_optimizer(*args, **kwargs)
        critic = {id(parameter) for parameter in self._critic.critic.parameters()}
        if given and not any(id(one) in critic for group in optimizer.param_groups for one in group["params"]):
            logger.warning(
                "The optimizer that was given has none of the critic's parameters, so that the critic does not learn. Leave "
                "`optimizers` out, or set `trainer.optimizer` to one of `trainer.model.parameters()`, which has both."
            )
        rate = self.args.value_learning_rate
        if rate is None:
            return optimizer
        for group in list(optimizer.param_groups):
            mine = [parameter for parameter in group["params"] if id(parameter) in critic]
            if mine:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in critic]
                options = {key: value for key, value in group.items() if key != "params"}
                optimizer.add_param_group({**options, "params": mine, "lr": rate})
        return optimizer

    def _clip_grad_norm(self, model):
        limit = self.args.value_max_grad_norm
        if limit is None:
            return super()._clip_grad_norm(model)
        with hidden(self.model):
            norm = super()._clip_grad_norm(model)  # first: under fp16 it unscales the gradients of both
        critic = torch.nn.utils.clip_grad_norm_(self._critic.critic.parameters(), limit)
        self._metrics["train"]["value/grad_norm"].append(critic.item())
        return norm

    def generate_completions(self, sampling: bool = False) -> None:
        """Prints near-greedy completions of the evaluation prompts with their scores, as TRL 1.12's trainer did.

        Args:
            sampling (`bool`, *optional*, defaults to `False`):
                Whether the first evaluation batch is enough.
        """
        if self.eval_dataset is None or isinstance(self.eval_dataset, dict):
            return
        rows = self.eval_dataset
        if sampling:
            rows = rows.select(range(min(self.args.eval_batch_size, len(rows))))
        (Path(self.args.output_dir) / "completions").mkdir(parents=True, exist_ok=True)  # where TRL puts the table
        with attributes_set(self, log_completions=True), attributes_set(self.generation_config, temperature=0.01):
            self.evaluate(rows)
