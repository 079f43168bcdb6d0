"""The model cards of our trainers: TRL's, with code that runs on what was saved, and what the training was."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from .. import __version__
from .critic import NAME, ValueHead

_NO_BASE = "[None](https://huggingface.co/None)"  # what TRL writes of a base that is not on the hub

_GENERATE = """from transformers import pipeline

generator = pipeline("text-generation", model="{name}", device_map="auto")
output = generator({prompt}, max_new_tokens=128, return_full_text=False)[0]
print(output["generated_text"])"""

_SCORE = """from rlhf_ext import RewardModel

reward = RewardModel("{name}")
print(reward.score([{prompt}], ["Paris."]))  # in reward units; higher is better"""

_PPO = """@article{schulman2017ppo,
  title   = {{Proximal Policy Optimization Algorithms}},
  author  = {John Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov},
  journal = {arXiv preprint arXiv:1707.06347},
  year    = {2017}
}"""
_QUESTION = "What is the capital of France?"


class CompletedCard:
    """A mixin for TRL's trainers: their model card, completed.

    It is written where and when TRL writes its own (with each checkpoint and each push, as `README.md` of the output folder).
    A model that is not on the hub is loaded from its folder by the card's code, and a base that is not there is named as what it is.
    """

    _usage = _GENERATE

    def create_model_card(
        self: Any,
        model_name: str | None = None,
        dataset_name: str | None = None,
        tags: str | list[str] | None = None,
    ) -> None:
        """TRL's, completed; see there."""
        super().create_model_card(model_name, dataset_name, tags)  # type: ignore[misc]
        if not self.is_world_process_zero():
            return
        path = Path(self.args.output_dir) / "README.md"
        card = path.read_text(encoding="utf-8").replace(_NO_BASE, _local_base(self.model))
        usage = f"## Quick start\n\n```python\n{self._usage_code()}\n```\n\n"
        card = re.sub(r"## Quick start\n.*?(?=## Training procedure\n)", lambda _: usage, card, flags=re.DOTALL)
        rows = "".join(f"| {name} | {value} |\n" for name, value in self._card_rows().items())
        made = f"### What was done\n\n| | |\n|---|---|\n{rows}\n### Framework versions\n\n- rlhf_ext: {__version__}\n"
        path.write_text(card.replace("### Framework versions\n\n", made), encoding="utf-8")

    def _usage_code(self: Any) -> str:
        templated = getattr(self.processing_class, "chat_template", None) is not None
        prompt = f'[{{"role": "user", "content": "{_QUESTION}"}}]' if templated else f'"{_QUESTION}"'
        return self._usage.format(name=self.hub_model_id or self.args.output_dir, prompt=prompt)

    def _card_rows(self: Any) -> dict[str, Any]:
        """What a reader wants to know of the training, by name; trainers add theirs."""
        args = self.args
        return {
            "optimizer steps": self.state.global_step,
            "rows a step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            "learning rate": f"{args.learning_rate:g}, {getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)}",
            "seed": args.seed,
        }


class RewardCard(CompletedCard):
    """The card of a reward model. A pipeline would squash its score into (0, 1), and loads no adapter."""

    _usage = _SCORE
    _tag_names = ["trl", "reward-trainer", "rlhf_ext"]
    _name = "reward modelling"
    _paper = {"title": "Deep Reinforcement Learning from Human Preferences", "id": "1706.03741"}

    def _card_rows(self: Any) -> dict[str, Any]:
        center = self.args.center_rewards_coefficient
        return {
            "preference strength": "not used" if self._strength_loss == "none" else f"as {self._strength_loss}",
            **({"centring of rewards": f"{center:g}"} if center else {}),
            **super()._card_rows(),
        }


class DPOCard(CompletedCard):
    """The card of a model that DPO has trained: its losses, and what was read for each pair."""

    _tag_names = ["trl", "dpo", "rlhf_ext"]

    def _card_rows(self: Any) -> dict[str, Any]:
        weights = self.args.loss_weights or [1.0] * len(self.loss_types)
        named = [f"`{name}`" for name in self._pair_columns]
        if "preference_strength" in self._pair_columns:
            named[0] += f" as {self.args.strength_loss}"
        return {
            "loss": " + ".join(f"{weight:g} {name}" for weight, name in zip(weights, self.loss_types, strict=True)),
            "beta": self.beta,
            "columns read for each pair": ", ".join(named) or "none",
            **super()._card_rows(),
        }


class PPOCard(CompletedCard):
    """The card of a policy: what was rolled out, scored, and learnt from it, and the critic that lies beside it."""

    _tag_names = ["trl", "ppo", "rlhf_ext"]
    _name = "PPO"
    _paper = {"title": "Proximal Policy Optimization Algorithms", "id": "1707.06347", "citation": _PPO}

    def _card_rows(self: Any) -> dict[str, Any]:
        args = self.args
        rewards = zip(self.reward_func_names, self.reward_weights.tolist(), strict=True)
        kind = "a value head on the policy" if isinstance(self._critic.critic, ValueHead) else "a model of its own"
        target = "" if args.kl_target is None else f", steered towards {args.kl_target:g} nats a completion"
        return {
            "rewards": " + ".join(f"{weight:g} {name}" for name, weight in rewards),
            "rollout": f"{args.generation_batch_size} completions of at most {args.max_completion_length} tokens at "
            f"temperature {args.temperature:g}",
            "epochs and updates over a rollout": f"{args.num_iterations} and {args.updates_per_rollout}",
            "KL penalty": f"{args.kl_coef:g} {args.kl_estimator}{target}",
            "critic": f"{kind}, in `{NAME}/`; gamma {args.gamma:g}, lambda {args.lam:g}, weight {args.vf_coef:g}",
            **super()._card_rows(),
        }


def _local_base(model: PreTrainedModel) -> str:
    name = model.config._name_or_path
    return f"a model in a local folder, `{Path(name).name}`" if name else "a model that was in memory"
