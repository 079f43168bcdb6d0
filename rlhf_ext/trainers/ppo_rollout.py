"""A PPO rollout: everything of GRPO's, then scores, values and per-token advantages in place of group advantages."""

from __future__ import annotations

from typing import Any

import torch
import trl

from .._compat import check_seams
from .advantages import gae, last_token, spread, token_kl, token_rewards, whiten
from .checked_reward import dense_rewards
from .kl_control import KLController
from .reward_state import set_learning
from .rollout_metrics import rollout_metrics
from .scoring import FORWARD_KEYS, Scorer
from .stop_strings import cut_after, stopping
from .tokenized_prompts import TokenizedPrompt, ids_of

check_seams(trl.GRPOTrainer)


class PPORollout(trl.GRPOTrainer):
    """The half of [`PPOTrainer`] that generates, scores and judges; the other half updates and saves."""

    _critic: Any
    _token_values: Any
    _kl_control: KLController
    _stopped: torch.Tensor | None = None
    eos_token_ids: list[int]

    def _generate_and_score_completions(self, inputs):
        self._token_values = None
        output = super()._generate_and_score_completions([TokenizedPrompt.in_row(row) for row in inputs])
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        logps = output.get("old_per_token_logps")
        if self._token_values is None or logps is None:
            self._token_values = None
            logps = self._score_rollout(output)
        # One value more than there are tokens: that of the state after the last one.
        states = self._token_values[:, -mask.size(1) - 1 :]
        values = states[:, :-1] * mask
        ended = self._ended(output)
        last, dense = self._scores(ended, mask.shape)
        scores = last if dense is None else last + dense.sum(1)
        reference = output.get("ref_per_token_logps")
        kl = None if reference is None else token_kl(logps, reference, self.args.kl_estimator) * mask
        rewards = token_rewards(last, kl, mask, self._kl_control.coef, dense)
        if self.args.whiten_rewards:
            rewards = whiten(rewards, mask, self._sum_over_processes, shift_mean=False)
        scorable = mask * ~torch.isnan(scores).unsqueeze(1)
        advantages, returns = self._advantages(rewards, values, mask, self._following(states, mask, ended))
        k1, k3 = (None if reference is None else token_kl(logps, reference, name) * mask for name in ("k1", "k3"))
        self._log_rollout(scores, ended, values, returns, advantages, scorable, k1, k3)
        if self.args.whiten_advantages:
            advantages = whiten(advantages, scorable, self._sum_over_processes)
        output["advantages"] = advantages * scorable
        output["returns"], output["old_token_values"] = returns, values
        output["value_mask"] = scorable
        return output

    def _tokenize_prompts(self, prompts):
        ids = ids_of(prompts)
        return super()._tokenize_prompts(prompts) if ids is None else (ids, None, {})

    def _end_at(self, token_id: int) -> None:
        """Makes a token end completions, beside EOS."""
        if self.use_vllm:
            raise ValueError(
                f"With vLLM, set `generation_kwargs={{'stop_token_ids': [{token_id}]}}` for `stop_token_id`."
            )
        if token_id not in self.eos_token_ids:
            self.eos_token_ids = [*self.eos_token_ids, token_id]
        self.generation_kwargs["eos_token_id"] = self.generation_config.eos_token_id = self.eos_token_ids

    def _generate_single_turn(self, *args, **kwargs):
        strings = self.args.stop_strings
        model = self.accelerator.unwrap_model(self.model)
        with stopping(model, self._tokenizer, None if self.use_vllm else strings):
            ids, logprobs = super()._generate_single_turn(*args, **kwargs)
        if strings:
            ends = [cut_after(row, strings, self._tokenizer.decode) for row in ids]
            self._stopped = torch.tensor([end is not None for end in ends], device=self.accelerator.device)
            ids = [row[:end] for row, end in zip(ids, ends, strict=True)]
            if logprobs is not None:
                logprobs = [row[:end] for row, end in zip(logprobs, ends, strict=True)]
        return ids, logprobs

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, *args, **kwargs):
        scorer = Scorer(model, with_values=model is not self.ref_model and self._token_values is None)
        back = None
        if kwargs.get("batch_size") and not any(kwargs.get(name) is not None for name in FORWARD_KEYS):
            # A rollout goes through in parts: rows of like length share one, so that little of it is padding.
            order = attention_mask.sum(1).argsort(stable=True)
            input_ids, attention_mask, back = input_ids[order], attention_mask[order], order.argsort()
        output = super()._get_per_token_logps_and_entropies(scorer, input_ids, attention_mask, *args, **kwargs)
        values = torch.cat(scorer.values) if scorer.values else None
        if back is not None:
            logps, entropies, *rest = output
            output = (logps[back], None if entropies is None else entropies[back], *rest)
            values = None if values is None else values[back]
        if values is not None and self._token_values is None:  # with PEFT, the reference's pass comes second
            self._token_values = values
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

    def _calculate_rewards(self, *args, **kwargs):
        set_learning(self.reward_funcs, self.model.training)
        self._rewards_per_func = super()._calculate_rewards(*args, **kwargs)
        set_learning(self.reward_funcs, False)  # a callback that scores something teaches them nothing
        return self._rewards_per_func

    def _ended(self, output: dict[str, Any]) -> torch.Tensor:
        """Whether each completion ended by itself, by an end token or a stop string."""
        final = (
            output["completion_ids"].gather(1, last_token(output["completion_mask"]).unsqueeze(1).long()).squeeze(1)
        )
        ended = torch.isin(final, torch.tensor(self.eos_token_ids, device=final.device))
        return ended if self._stopped is None else ended | self._stopped

    def _scores(self, ended: torch.Tensor, shape: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What falls on the last token of this process's completions, NaN where no function applied, and on each token."""
        weights = self.reward_weights.to(self._rewards_per_func.device)
        everyone = (self._rewards_per_func * weights).nansum(dim=1)
        everyone[torch.isnan(self._rewards_per_func).all(dim=1)] = torch.nan
        scores = everyone[self.accelerator.process_index * shape[0] :][: shape[0]]
        dense, summed = dense_rewards(self.reward_funcs, weights, shape)
        rest = scores - summed
        limit = self.args.reward_clip
        if self.args.scale_rewards == "batch":
            deviation = spread(everyone)
            rest, dense = rest / deviation, dense if dense is None else dense / deviation
        if limit is not None:
            rest, dense = rest.clamp(-limit, limit), dense if dense is None else dense.clamp(-limit, limit)
        if self.args.missing_eos_penalty is not None:
            rest = rest - self.args.missing_eos_penalty * ~ended
        return rest, dense

    def _following(self, states: torch.Tensor, mask: torch.Tensor, ended: torch.Tensor) -> torch.Tensor | None:
        """The critic's value of the state after the last token, for completions that were cut off there."""
        if not self.args.bootstrap_truncated:
            return None
        after = states.gather(1, last_token(mask).unsqueeze(1) + 1).squeeze(1)
        return after * ~ended

    def _advantages(self, rewards, values, mask, following) -> tuple[torch.Tensor, torch.Tensor]:
        args = self.args
        advantages, returns = gae(rewards, values, mask, args.gamma, args.lam, following)
        if args.value_lam is not None and args.value_lam != args.lam:
            returns = gae(rewards, values, mask, args.gamma, args.value_lam, following)[1]
        return advantages, returns

    def _sum_over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

    def _log_rollout(self, scores, ended, values, returns, advantages, mask, k1, k3) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics.pop("frac_reward_zero_std", None)  # about groups of samples, which PPO has not
        rows = torch.stack(
            [
                scores,
                ended.float(),
                torch.zeros_like(scores) if k1 is None else k1.sum(1),
                torch.zeros_like(scores) if k3 is None else k3.sum(1),
                (advantages * mask).sum(1) / mask.sum(1).clamp(min=1),
            ],
            dim=1,
        )
        rows = self.accelerator.gather(rows)
        found = rollout_metrics(
            rows, values, returns, mask, self._kl_control.coef, self.args.kl_estimator, self._sum_over_processes
        )
        if k1 is None:  # without a reference no KL was measured, and 0 would say that the policy is where it was
            del found["objective/kl"], found["objective/kl_k3"]
        elif self.model.training:
            self._kl_control.update(found["objective/kl"], len(rows))
        for name, value in found.items():
            metrics[name].append(value)
        metrics["completions/clipped_ratio"][-1:] = [1 - found["completions/eos_rate"]]  # TRL's knows of EOS only
        logged = self._logs["advantages"]  # GRPO's are 0 without groups
        for _ in range(min(len(rows), len(logged))):
            logged.pop()
        logged.extend(rows[:, -1].tolist())
