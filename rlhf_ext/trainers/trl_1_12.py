"""Scripts written for TRL 1.12's PPO: its names and defaults, read as what they are called today.

TRL removed its PPO trainer in 1.13. Its config counted steps in rollouts, this one counts optimizer steps like every other TRL
trainer; its data sets were tokenised beforehand; its reward model was an argument of its own. Everything that knows about
that is in this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments
from transformers.utils import logging

from .._compat import by_name

logger = logging.get_logger(__name__)

_SOME_MODEL = "EleutherAI/pythia-160m"  # what 1.12 gave to scripts that asked for no other

_DEFAULTS = {"temperature": 0.7, "max_completion_length": 53}
"""1.12's defaults where today's differ."""

_RENAMED = {"num_ppo_epochs": "num_iterations", "response_length": "max_completion_length", "cliprange": "epsilon"}

_WITHOUT_MEANING = {
    "local_rollout_forward_batch_size": "rollouts are scored `per_device_train_batch_size` rows at a time",
    "model_adapter_name": "the active adapter is trained",
    "ref_adapter_name": "the reference is the adapter as it is at the start, or the model without one",
    "num_total_batches": "it was computed by the trainer",
    "micro_batch_size": "it was computed by the trainer",
    "local_batch_size": "it was computed by the trainer",
    "batch_size": "it was computed by the trainer",
    "local_mini_batch_size": "it was computed by the trainer",
    "mini_batch_size": "it was computed by the trainer",
}

_IN_ROLLOUTS = ("logging_steps", "save_steps", "eval_steps", "warmup_steps")

_ORDER = (
    "args",
    "processing_class",
    "model",
    "ref_model",
    "reward_model",
    "train_dataset",
    "value_model",
    "data_collator",
    "eval_dataset",
    "optimizers",
    "callbacks",
    "peft_config",
)


class LeftOut:
    """Marks a default, which a value that was given, even the same, is not."""


class LeftOutFloat(LeftOut, float):
    """A number that nobody gave."""


class LeftOutInt(LeftOut, int):
    """A whole number that nobody gave."""


def _old(what: str) -> Any:
    return field(default=None, metadata={"help": f"TRL 1.12. {what}"})


@dataclass
class TRL112Fields:
    """The fields of TRL 1.12's `PPOConfig` that today's lacks. None of them is needed in new code.

    Where one is set, the config is read as 1.12 read it, one warning says what that comes to in today's fields, and the old
    ones are None again: a rollout is `per_device_train_batch_size x gradient_accumulation_steps` rows a process, cut into
    `num_mini_batches`; `logging_steps`, `save_steps`, `eval_steps` and `warmup_steps` count rollouts; `temperature` and the
    length of completions fall back to 1.12's defaults (0.7 and 53) where they were not set.

    `stop_token_id` works as ever. `sft_model_path`, `reward_model_path` and `dataset_num_proc` were there for scripts to read,
    and still are.
    """

    temperature: float = field(
        default=LeftOutFloat(1.0), metadata={"help": "Temperature for sampling. The higher, the more random."}
    )
    max_completion_length: int | None = field(
        default=LeftOutInt(512), metadata={"help": "Maximum length of the generated completion."}
    )
    num_ppo_epochs: int | None = _old("Now `num_iterations`.")
    num_mini_batches: int | None = _old("Now `steps_per_generation / gradient_accumulation_steps`.")
    total_episodes: int | None = _old(
        "Completions in all. Now `max_steps`, in optimizer steps, or `num_train_epochs`."
    )
    response_length: int | None = _old("Now `max_completion_length`.")
    cliprange: float | None = _old("Now `epsilon`.")
    stop_token: str | None = _old("Completions always end at EOS.")
    stop_token_id: int | None = _old("A token id that ends a completion beside EOS.")
    num_sample_generations: int | None = _old("Now `log_completions`.")
    local_rollout_forward_batch_size: int | None = _old("Not used.")
    model_adapter_name: str | None = _old("Not used.")
    ref_adapter_name: str | None = _old("Not used.")
    num_total_batches: int | None = _old("Not used.")
    micro_batch_size: int | None = _old("Not used.")
    local_batch_size: int | None = _old("Not used.")
    batch_size: int | None = _old("Not used.")
    local_mini_batch_size: int | None = _old("Not used.")
    mini_batch_size: int | None = _old("Not used.")
    dataset_num_proc: int | None = _old("For scripts to read.")
    sft_model_path: str = field(default=_SOME_MODEL, metadata={"help": "TRL 1.12. For scripts to read."})
    reward_model_path: str = field(default=_SOME_MODEL, metadata={"help": "TRL 1.12. For scripts to read."})

    def __post_init__(self: Any) -> None:
        self._left_out = {name for name in _DEFAULTS if isinstance(getattr(self, name), LeftOut)}
        self.temperature = float(self.temperature) if "temperature" in self._left_out else self.temperature
        if "max_completion_length" in self._left_out:
            self.max_completion_length = int(self.max_completion_length)
        self._is_trl_1_12 = any(getattr(self, name) is not None for name in _TELLING)
        news = self._rename() if self._is_trl_1_12 else []
        super().__post_init__()  # type: ignore[misc]  # GRPOConfig's
        if self._is_trl_1_12:
            self._count_in_optimizer_steps(news)

    def read_as_trl_1_12(self: Any) -> None:
        """Reads this config as TRL 1.12 would have, once, and says in one warning what that comes to.

        Raises:
            ValueError: If `num_mini_batches` does not divide the rollout, or `stop_token` is not `"eos"`.
        """
        if not self._is_trl_1_12:
            self._is_trl_1_12 = True
            self._count_in_optimizer_steps(self._rename())

    def _rename(self: Any) -> list[str]:
        if self.stop_token not in (None, "eos"):
            raise ValueError(f"`stop_token` must be 'eos' or None, got {self.stop_token!r}. See `stop_strings`.")
        self._left_out -= {new for old, new in _RENAMED.items() if getattr(self, old) is not None}
        news = [f"{old} is now {new}" for old, new in _RENAMED.items() if self._take(old, new)]
        for name in sorted(self._left_out):
            setattr(self, name, _DEFAULTS[name])
            news.append(f"{name}={_DEFAULTS[name]}, 1.12's default")
        if self.num_mini_batches is not None:
            news.append(self._cut_rollout(self.num_mini_batches))
        if self.num_sample_generations is not None:
            self.log_completions = self.num_sample_generations > 0
            news.append(f"num_sample_generations is now log_completions={self.log_completions}")
        for name, why in _WITHOUT_MEANING.items():
            if getattr(self, name) is not None:
                news.append(f"{name} has no meaning any more ({why})")
        for name in ("stop_token", "num_mini_batches", "num_sample_generations", *_WITHOUT_MEANING):
            setattr(self, name, None)
        return news

    def _count_in_optimizer_steps(self: Any, news: list[str]) -> None:
        updates = self.updates_per_rollout
        if self.total_episodes is not None:
            self.max_steps = math.ceil(self.total_episodes / self.generation_batch_size) * updates
            news.append(f"total_episodes is now max_steps={self.max_steps}")
            self.total_episodes = None
        for name in _IN_ROLLOUTS:
            value = getattr(self, name)
            if value is not None and value >= 1 and updates > 1:
                setattr(self, name, int(value) * updates)
        if updates > 1:
            news.append(f"{', '.join(_IN_ROLLOUTS)} are multiplied by the {updates} optimizer steps of a rollout")
        logger.warning("Read as TRL 1.12's PPOConfig: " + "; ".join(news) + ". See docs/migration.md.")

    def _take(self: Any, old: str, new: str) -> bool:
        value = getattr(self, old)
        if value is None:
            return False
        setattr(self, new, value)
        setattr(self, old, None)
        return True

    def _cut_rollout(self: Any, parts: int) -> str:
        """1.12's batch sizes: a rollout of rows a process, cut into `parts` minibatches, each an update."""
        if self.steps_per_generation is not None or self.generation_batch_size is not None:
            raise ValueError(
                "`num_mini_batches` is TRL 1.12's way of cutting a rollout, `steps_per_generation` and "
                "`generation_batch_size` are today's: give one of them."
            )
        rollout = self.per_device_train_batch_size * self.gradient_accumulation_steps
        if rollout % parts:
            raise ValueError(
                f"`num_mini_batches={parts}` must divide the rollout of {rollout} rows (`per_device_train_batch_size` x "
                "`gradient_accumulation_steps`)."
            )
        # 1.12 made fewer updates than this wherever both numbers were above 1: it stepped once in
        # `gradient_accumulation_steps` backward passes, whatever the minibatch.
        size = math.gcd(self.per_device_train_batch_size, rollout // parts)
        self.per_device_train_batch_size = size
        self.gradient_accumulation_steps = rollout // parts // size
        self.steps_per_generation = rollout // size
        return (
            f"num_mini_batches={parts} of {rollout} rows is now per_device_train_batch_size={size}, "
            f"gradient_accumulation_steps={self.gradient_accumulation_steps}, "
            f"steps_per_generation={self.steps_per_generation}"
        )


_TELLING = (*_RENAMED, *_WITHOUT_MEANING, "num_mini_batches", "total_episodes", "stop_token", "num_sample_generations")
"""Fields that tell that a config was written for 1.12."""


def arguments_of_1_12(positional: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a 1.12 `PPOTrainer(...)` call, by the names of today.

    Args:
        positional (`tuple`):
            In 1.12's order if the first is a config, else `(model, reward_funcs, args, ...)`.
        keywords (`dict`):
            By 1.12's names.

    Returns:
        `dict`: keyword arguments for today's `PPOTrainer`.

    Raises:
        ValueError: If reference and policy are one object, or a reward model meets reward functions.
    """
    names = _ORDER if positional and isinstance(positional[0], TrainingArguments) else _ORDER_TODAY
    first = {name: value for name, value in by_name(names, positional, {}).items() if value is not None}
    keywords = {_BEFORE_0_13.get(name, name): value for name, value in keywords.items() if value is not None}
    given = by_name(tuple(first), tuple(first.values()), keywords)
    if given.get("ref_model") is not None and given["ref_model"] is given.get("model"):
        raise ValueError("`model` and `ref_model` are the same object: give a copy, or leave `ref_model` out.")
    if "reward_funcs" in given:
        raise ValueError("Both `reward_model` and `reward_funcs`: put the model into the list `reward_funcs`.")
    given["reward_funcs"] = given.pop("reward_model", None)
    if given["reward_funcs"] is None:
        raise ValueError("PPO needs a reward: give `reward_model` or, today, `reward_funcs`.")
    given.setdefault("reward_processing_classes", given.get("processing_class"))
    if given.pop("data_collator", None) is not None:
        logger.warning("`data_collator` is not used: prompts are batched and padded by the trainer.")
    if isinstance(given.get("args"), TRL112Fields):
        given["args"].read_as_trl_1_12()
    return given


_BEFORE_0_13 = {"config": "args", "tokenizer": "processing_class", "policy": "model", "ref_policy": "ref_model"}
"""What some arguments were called before."""

_ORDER_TODAY = ("model", "reward_funcs", "args", "train_dataset", "eval_dataset", "processing_class")
