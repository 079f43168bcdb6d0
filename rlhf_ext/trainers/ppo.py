"""PPO for current TRL: GRPO's rollouts, rewards and clipped loss, with a critic and per-token advantages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from transformers import PreTrainedModel
from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.callbacks import SyncRefModelCallback
from trl.trainer.utils import (
    add_fused_lm_head,
    disable_dropout_in_model,
    shuffle_sequence_dict,
    split_tensor_dict,
)

from .._compat import attributes_set, check_seams
from ..rewards.model import RewardModel
from .advantages import gae, token_rewards, value_losses, whiten
from .callbacks import FiniteLoss
from .critic import NAME, hidden, make_critic
from .ppo_config import PPOConfig
from .scoring import FORWARD_KEYS, Scorer, ScoringHooks

check_seams(trl.GRPOTrainer)


class PPOTrainer(FiniteLoss, trl.GRPOTrainer):
    """
    Proximal policy optimisation ([1707.06347](https://huggingface.co/papers/1707.06347)) as InstructGPT uses it
    ([2203.02155](https://huggingface.co/papers/2203.02155)), on TRL's GRPOTrainer.

    Prompts, rewards, tools, vLLM, PEFT, logging and checkpoints are GRPOTrainer's. Added are a critic, the KL penalty
    in the reward of each token, generalised advantage estimation and the value loss.

    Args:
        model (`str` or `PreTrainedModel` or `PeftModel`):
            The policy.
        reward_funcs (`RewardFunction`, `RewardModel`, `PreTrainedModel`, `str`, or a list of them):
            What scores completions, as in GRPOTrainer. A sequence-classification model or its name is wrapped in
            [`RewardModel`], so that it sees the EOS token it was trained with.
        args ([`PPOConfig`], *optional*):
            Configuration.
        value_model (`PreTrainedModel` or `str`, *optional*):
            The critic: a sequence-classification model with one label, its folder, or `"shared"` for a value head on
            the policy. None: from the reward model if there is one with the policy's vocabulary, else from the policy.
        ref_model (`PreTrainedModel`, *optional*):
            What the KL is measured from. None: the policy as it is now (with PEFT, the policy without its adapter).
        **kwargs:
            GRPOTrainer's: `train_dataset`, `eval_dataset`, `processing_class`, `reward_processing_classes`,
            `peft_config`, `callbacks`, `rollout_func`, `tools`, `quantization_config`, ...

    Raises:
        ValueError: If the critic does not fit the policy, or the configuration is not PPO.

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

    _tag_names = ["trl", "ppo", "rlhf_ext"]
    _name = "PPO"
    _template_file = "lm_model_card.md"
    _paper = {"title": "Proximal Policy Optimization Algorithms", "id": "1707.06347"}
    _buffered_inputs: Any

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any = None,
        args: PPOConfig | None = None,
        *positional: Any,
        value_model: PreTrainedModel | str | None = None,
        ref_model: PreTrainedModel | None = None,
        **kwargs: Any,
    ):
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            args = PPOConfig(f"{Path(name).name or 'model'}-PPO")
        self._critic: Any = None  # GRPOTrainer's __init__ may already score
        self._token_values: Any = None
        reward_funcs = self._wrap_reward_models(reward_funcs, args, kwargs)
        peft = kwargs.get("peft_config") is not None or (not isinstance(model, str) and is_peft_model(model))
        if ref_model is None and not isinstance(model, str) and not peft and args.kl_coef:
            ref_model = copy.deepcopy(model)  # TRL would load it by the config's name, which may be another model
        if ref_model is None:
            super().__init__(model, reward_funcs, args, *positional, **kwargs)
        else:
            with attributes_set(args, beta=0.0, sync_ref_model=False):
                super().__init__(model, reward_funcs, args, *positional, **kwargs)
            self._adopt_reference(ref_model)
        reward_models = [function.model for function in self.reward_funcs if isinstance(function, RewardModel)]
        critic = make_critic(value_model, self.model, reward_models[0] if reward_models else None)
        self._critic = ScoringHooks(self.model, critic)
        if self.ref_model is not None:
            ScoringHooks(self.accelerator.unwrap_model(self.ref_model))

    def _wrap_reward_models(self, reward_funcs: Any, args: PPOConfig, kwargs: dict[str, Any]) -> Any:
        if reward_funcs is None:
            return reward_funcs
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        classes = kwargs.get("reward_processing_classes")
        classes = classes if isinstance(classes, list) else [classes] * len(functions)
        wrapped: list[Callable] = []
        for function, processing_class in zip(functions, classes, strict=True):
            if isinstance(function, str | torch.nn.Module):
                options = dict(args.model_init_kwargs or {}) if isinstance(function, str) else {}
                function = RewardModel(function, processing_class, args.per_device_train_batch_size, **options)
            if isinstance(function, RewardModel):
                function.to(args.device)
            wrapped.append(function)
        return wrapped

    def _adopt_reference(self, ref_model: PreTrainedModel) -> None:
        """What GRPOTrainer does to the reference model it loads, for one that is given."""
        args = self.args
        self.beta = args.beta
        if args.disable_dropout:
            disable_dropout_in_model(ref_model)
        add_fused_lm_head(ref_model, temperature=self.temperature, cast_lm_head_to_fp32=args.cast_lm_head_to_fp32)
        if self.is_deepspeed_enabled:
            self.ref_model = prepare_deepspeed(ref_model, self.accelerator)
        elif self.is_fsdp_enabled:
            self.ref_model = prepare_fsdp(ref_model, self.accelerator)
        else:
            self.ref_model = self.accelerator.prepare_model(ref_model, evaluation_mode=True)
        if args.sync_ref_model:
            self.add_callback(_SyncReference(ref_model=self.ref_model, accelerator=self.accelerator))

    # Rollout: everything of GRPO's, then values and per-token advantages in place of group advantages.

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        # Only the model is looked at, so that a change of TRL's signature does not matter.
        scorer = Scorer(model, with_values=model is not self.ref_model and self._token_values is None)
        output = super()._get_per_token_logps_and_entropies(scorer, *args, **kwargs)
        if scorer.values and self._token_values is None:  # with PEFT, the reference's pass comes second
            self._token_values = torch.cat(scorer.values)
        return output

    def _calculate_rewards(self, *args, **kwargs):
        self._rewards_per_func = super()._calculate_rewards(*args, **kwargs)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs):
        self._token_values = None
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        logps = output.get("old_per_token_logps")
        if self._token_values is None or logps is None:
            self._token_values = None
            logps = self._score_rollout(output)
        values = self._token_values[:, -mask.size(1) :] * mask
        scores, ended = self._scores(output)
        rewards = token_rewards(scores, logps, output.get("ref_per_token_logps"), mask, self.args.kl_coef)
        if self.args.whiten_rewards:
            rewards = whiten(rewards, mask, self._sum_over_processes, shift_mean=False)
        scorable = mask * ~torch.isnan(scores).unsqueeze(1)
        advantages, returns = gae(rewards, values, mask, self.args.gamma, self.args.lam)
        self._log_rollout(output, scores, ended, logps, values, returns, advantages, scorable)
        if self.args.whiten_advantages:
            advantages = whiten(advantages, scorable, self._sum_over_processes)
        output["advantages"] = advantages * scorable
        output["returns"], output["old_token_values"] = returns, values
        output["value_mask"] = scorable
        return output

    @torch.no_grad()
    def _score_rollout(self, output: dict[str, Any]) -> torch.Tensor:
        """Log-probabilities and values of a rollout, where TRL had no need of the former."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        extra = {k: v for k, v in output.items() if k in FORWARD_KEYS}
        batch_size = self.args.per_device_train_batch_size
        return self._get_per_token_logps_and_entropies(
            self.model, ids, attention, output["completion_ids"].size(1), batch_size=batch_size, **extra
        )[0]

    def _scores(self, output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's scores, NaN where no function applied, and whether each completion ended by itself."""
        weights = self.reward_weights.to(self._rewards_per_func.device)
        everyone = (self._rewards_per_func * weights).nansum(dim=1)
        everyone[torch.isnan(self._rewards_per_func).all(dim=1)] = torch.nan
        count = len(output["completion_ids"])
        scores = everyone[self.accelerator.process_index * count :][:count]
        if torch.isinf(scores).any():
            row = int(torch.isinf(scores).nonzero()[0])
            raise ValueError(f"Reward of completion {row} is {scores[row]}: a reward must be finite, or None.")
        last = output["completion_mask"].sum(dim=1).clamp(min=1) - 1
        final = output["completion_ids"].gather(1, last.unsqueeze(1).long()).squeeze(1)
        ended = torch.isin(final, torch.tensor(self.eos_token_ids, device=final.device))
        if self.args.missing_eos_penalty is not None:
            scores = scores - self.args.missing_eos_penalty * ~ended
        return scores, ended

    def _sum_over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

    def _log_rollout(self, output, scores, ended, logps, values, returns, advantages, mask) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics.pop("frac_reward_zero_std", None)  # about groups of samples, which PPO has not
        rows = self.accelerator.gather(
            torch.stack(
                [
                    scores,
                    ended.float(),
                    self._sequence_kl(logps, output.get("ref_per_token_logps"), mask),
                    (advantages * mask).sum(1) / mask.sum(1).clamp(min=1),
                ],
                dim=1,
            )
        )
        names = ("objective/scores", "completions/eos_rate", "objective/kl")
        for name, column in zip(names, rows.T, strict=False):
            metrics[name].append(torch.nanmean(column).item())
        penalty = self.args.kl_coef * metrics["objective/kl"][-1]
        metrics["objective/non_score_reward"].append(-penalty)
        metrics["objective/rlhf_reward"].append(metrics["objective/scores"][-1] - penalty)
        metrics["value/mean"].append(self._mean(values, mask))
        error = self._mean((returns - values) ** 2, mask)
        center = self._mean(returns, mask)
        spread = self._mean((returns - center) ** 2, mask)
        metrics["value/explained_variance"].append(1 - error / spread if spread > 0 else float("nan"))
        logged = self._logs["advantages"]  # GRPO's are 0 without groups
        for _ in range(min(len(rows), len(logged))):
            logged.pop()
        logged.extend(rows[:, 3].tolist())

    @staticmethod
    def _sequence_kl(logps: torch.Tensor, reference: torch.Tensor | None, mask: torch.Tensor) -> torch.Tensor:
        if reference is None:
            return torch.zeros(len(logps), device=logps.device)
        return ((logps - reference) * mask).sum(1)

    def _mean(self, x: torch.Tensor, mask: torch.Tensor) -> float:
        total, count = self._sum_over_processes(torch.stack([(x * mask).sum(), mask.sum().to(x.dtype)]))
        return (total / count.clamp(min=1)).item()

    # Update: GRPO's clipped token loss is PPO's; the KL is in the rewards, and the critic's loss comes on top.

    def _prepare_inputs(self, generation_batch):
        steps = self.args.steps_per_generation
        new_epoch = self.model.training and self._buffered_inputs is not None and self._step % steps == 0
        if new_epoch and self._step % (steps * self.num_iterations) and not self._is_vlm and steps > 1:
            whole = {key: _join([part[key] for part in self._buffered_inputs]) for key in self._buffered_inputs[0]}
            self._buffered_inputs = split_tensor_dict(shuffle_sequence_dict(whole), steps)
        return super()._prepare_inputs(generation_batch)

    def _compute_loss(self, model, inputs):
        mode = "train" if self.model.training else "eval"
        self._token_values = None
        with attributes_set(self, beta=0.0):
            loss = super()._compute_loss(model, inputs)
        mask = inputs["value_mask"]
        values = self._token_values[:, -mask.size(1) :]
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
        self._metrics[mode]["value/loss"].append(self._mean(losses.detach(), mask))
        self._metrics[mode]["value/clip_ratio"].append(self._mean(clipped, mask))
        return loss + self.args.vf_coef * (losses * mask).sum() / normalizer

    def create_optimizer(self, *args, **kwargs):
        optimizer = super().create_optimizer(*args, **kwargs)
        rate = self.args.value_learning_rate
        critic = {id(parameter) for parameter in self._critic.critic.parameters()}
        if rate is None:
            return optimizer
        for group in list(optimizer.param_groups):
            mine = [parameter for parameter in group["params"] if id(parameter) in critic]
            if mine:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in critic]
                options = {key: value for key, value in group.items() if key != "params"}
                optimizer.add_param_group({**options, "params": mine, "lr": rate})
        return optimizer

    # Checkpoints: the policy as a plain model or adapter, the critic beside it in `value_model/`.

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = output_dir if output_dir is not None else self.args.output_dir
        if state_dict is not None:
            state_dict = {key: value for key, value in state_dict.items() if f"{NAME}." not in key}
        with hidden(self.model):
            super()._save(folder, state_dict)
        if self.args.should_save:
            self._critic.critic.save(Path(folder) / NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args, **kwargs) -> None:
        with hidden(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        self._critic.critic.load(Path(resume_from_checkpoint) / NAME)

    def _load_best_model(self) -> None:
        with hidden(self.model):
            super()._load_best_model()
        self._critic.critic.load(Path(self.state.best_model_checkpoint) / NAME)


class _SyncReference(SyncRefModelCallback):
    """TRL's callback, which zips the parameters of policy and reference strictly: the critic is none of them."""

    def on_step_end(self, args, state, control, **kwargs):
        policy = self.accelerator.unwrap_model(kwargs["model"]) if self.accelerator else kwargs["model"]
        with hidden(policy):
            super().on_step_end(args, state, control, **kwargs)


def _join(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return first if first.ndim == 0 else torch.cat(parts)
    return first if first is None else [item for part in parts for item in part]
