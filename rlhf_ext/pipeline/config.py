"""What a run is: the model, the algorithm, a few numbers all stages share, and each stage's own TRL configuration."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import torch

from ..rewards.recipe import RewardRecipe
from ..types import template_kwargs
from .evaluation import Evaluation
from .settings import (
    ALGORITHMS,
    STAGES,
    check_values,
    read_mapping,
    read_thresholds,
    say_where_ppo_differs,
    stage_class,
    stage_settings,
)

StageSettings = dict | str | None
"""A dict of fields of the stage's TRL config, over the run's defaults; on the command line as JSON."""


@dataclass
class RLHFConfig:
    r"""
    Configuration of [`RLHFTrainer`].

    It holds what all stages share; everything else is set in the stages' own configurations, which are TRL's
    (`trl.SFTConfig`, [`RewardConfig`], [`PPOConfig`], [`DPOConfig`]).

    Parameters:
        > Parameters that say what is trained

        model_name (`str`, *optional*):
            Folder or hub name of the language model to align. Not needed where [`RLHFTrainer`] is given a model.
        algorithm (`str`, *optional*, defaults to `"ppo"`):
            `"ppo"` or `"dpo"`.
        reward_model_path (`str`, *optional*):
            A folder, or the hub name (`owner/name`) of a reward model. A folder without a model gets one, trained from
            the preferences. PPO alone uses it for training; by default it is `output_dir/reward_model`, and DPO runs
            train none unless a path is given.
        output_dir (`str`, *optional*, defaults to `"rlhf_output"`):
            Where every stage leaves its result, and where a run that was stopped goes on.

        > Parameters that all stages share

        learning_rate (`float`, *optional*, defaults to `1e-5`):
            Learning rate of PPO or DPO. Warm start and reward model keep TRL's defaults (2e-5 and 1e-4) unless `sft`
            or `reward` says otherwise. With LoRA, about ten times as much is usual.
        batch_size (`int`, *optional*, defaults to `8`):
            Rows a device and step, in all stages.
        ppo_epochs (`int`, *optional*, defaults to `4`):
            Passes over each rollout.
        max_grad_norm (`float`, *optional*, defaults to `1.0`):
            Gradient clipping.
        bf16, fp16 (`bool`, *optional*):
            Mixed precision. By default TRL's choice: bf16.
        seed (`int`, *optional*, defaults to `42`):
            Seed of all stages.
        report_to (`str`, *optional*, defaults to `"none"`):
            TRL's trackers: `"wandb"`, `"trackio"`, `"tensorboard"`, ... The curves are in the report in any case.
        checkpoint_steps (`int`, *optional*, defaults to `100`):
            Optimizer steps between two checkpoints within a stage.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether models may bring their own code.
        chat_template_kwargs (`dict` or `str`, *optional*):
            What the chat template is told beside the messages in all stages, such as `{"enable_thinking": False}` for Qwen3, also as
            JSON: in training, in PPO's rollouts, where the reward model reads, and for the answers before and after. `ppo` may
            set its own.

        > Parameters for parameter-efficient training

        use_lora (`bool`, *optional*, defaults to `False`):
            Whether policy and reward model are trained as LoRA adapters.
        load_in_4bit (`bool`, *optional*, defaults to `False`):
            Whether the policy's base is loaded in nf4 (QLoRA). Implies `use_lora`.
        lora (`dict` or `peft.LoraConfig`, *optional*):
            LoRA settings for the policy over `r=16, lora_alpha=32, target_modules="all-linear"`.

        > Parameters that say what is rewarded, and what is asked of the model in the end

        rewards (`dict` or `str`, *optional*):
            PPO's reward as a mix with constraints, as [`~rlhf_ext.rewards.recipe.RewardRecipe`] reads it, or a YAML file with
            one. By default the reward model alone. A component `{function: reward_model}` is that model, which is then
            trained and validated as ever; without such a component none is trained.
        evaluation (`dict` or `str`, *optional*):
            Suites and metrics for the model before and after, and thresholds that it must meet, as
            [`~rlhf_ext.pipeline.evaluation.Evaluation`] reads them, or a YAML file with them. It may change when a run goes on.

        > Parameters of the stages

        supervised_warm_start (`bool`, *optional*, defaults to `True`):
            Whether the policy is first trained on the chosen answers (InstructGPT's first step).
        strength_scale (`str`, *optional*, defaults to `"probability"`):
            How `preference_strength` was given: `"probability"` (0.5 to 1) or `"unit"` (0 to 1).
        min_reward_accuracy (`float`, *optional*, defaults to `0.6`):
            Accuracy on held-out pairs under which PPO may not use a reward model.
        reward_thresholds (`dict` or `str`, *optional*):
            What else is asked of it, as [`~rlhf_ext.evaluation.reward_models.Thresholds`]: a dict such as `{"ece":
            {"max": 0.1}}`, or a YAML file with one. What they name is measured; without them, accuracy and length
            bias alone.
        skip_reward_validation (`bool`, *optional*, defaults to `False`):
            Lets PPO use a reward model that fails its validation. It is measured and reported all the same.
        eval_prompts (`int`, *optional*):
            Held-out rows on which before and after are compared; all by default.
        eval_max_new_tokens (`int`, *optional*):
            Longest answer in the comparison, in tokens; PPO's `max_completion_length` (256 by default) if not given.
        sft, reward, ppo, dpo (`dict` or the stage's TRL config, *optional*):
            A dict sets fields over the defaults above; a config object is taken as it is, but for its `output_dir` and, where
            it has none, `chat_template_kwargs`.

    Raises:
        ValueError: If a value is not possible; the message names it.

    Example:

    ```python
    >>> from rlhf_ext import RLHFConfig
    >>> config = RLHFConfig(model_name="gpt2", algorithm="ppo", ppo={"kl_coef": 0.02})
    >>> config.stage("ppo", num_train_epochs=1).kl_coef
    0.02

    ```
    """

    model_name: str | None = field(default=None, metadata={"help": "Folder or hub name of the model to align."})
    algorithm: str = field(default="ppo", metadata={"help": "'ppo' or 'dpo'.", "choices": list(ALGORITHMS)})
    reward_model_path: str | None = field(
        default=None, metadata={"help": "Folder or hub name of the reward model; a folder without one gets one."}
    )
    output_dir: str = field(default="rlhf_output", metadata={"help": "Where every stage leaves its result."})
    learning_rate: float = field(default=1e-5, metadata={"help": "Learning rate of PPO or DPO."})
    batch_size: int = field(default=8, metadata={"help": "Rows a device and step."})
    ppo_epochs: int = field(default=4, metadata={"help": "Passes over each rollout."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradient clipping."})
    bf16: bool | None = field(default=None, metadata={"help": "Mixed precision in bf16 (TRL's default)."})
    fp16: bool = field(default=False, metadata={"help": "Mixed precision in fp16."})
    seed: int = field(default=42, metadata={"help": "Seed of all stages."})
    report_to: str = field(default="none", metadata={"help": "Tracker: wandb, trackio, tensorboard, ... or none."})
    checkpoint_steps: int = field(default=100, metadata={"help": "Optimizer steps between two checkpoints."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Whether models may bring their own code."})
    chat_template_kwargs: StageSettings = field(
        default=None,
        metadata={"help": "What the chat template is told, as JSON: '{\"enable_thinking\": false}' for Qwen3."},
    )
    use_lora: bool = field(default=False, metadata={"help": "Train policy and reward model as LoRA adapters."})
    load_in_4bit: bool = field(default=False, metadata={"help": "Load the policy's base in nf4 (QLoRA)."})
    lora: StageSettings = field(default=None, metadata={"help": "LoRA settings of the policy, as JSON."})
    rewards: StageSettings = field(
        default=None,
        metadata={"help": "PPO's reward as a mix with constraints: JSON or a YAML file (docs/recipes.md)."},
    )
    evaluation: StageSettings = field(
        default=None,
        metadata={"help": "Suites, metrics and thresholds for the result: JSON or a YAML file (docs/recipes.md)."},
    )
    supervised_warm_start: bool = field(
        default=True, metadata={"help": "Whether the policy is first trained on the chosen answers."}
    )
    strength_scale: str = field(
        default="probability",
        metadata={
            "help": "preference_strength as 'probability' (0.5-1) or 'unit' (0-1).",
            "choices": ["probability", "unit"],
        },
    )
    min_reward_accuracy: float = field(
        default=0.6, metadata={"help": "Held-out accuracy under which PPO may not use a reward model."}
    )
    reward_thresholds: StageSettings = field(
        default=None,
        metadata={"help": 'What PPO asks of a reward model, as JSON or a YAML file: \'{"ece": {"max": 0.1}}\'.'},
    )
    skip_reward_validation: bool = field(
        default=False, metadata={"help": "Let PPO use a reward model that fails its validation."}
    )
    eval_prompts: int | None = field(default=None, metadata={"help": "Held-out rows compared before and after."})
    eval_max_new_tokens: int | None = field(default=None, metadata={"help": "Longest answer in the comparison."})
    sft: StageSettings = field(default=None, metadata={"help": "Fields of trl.SFTConfig, as JSON."})
    reward: StageSettings = field(default=None, metadata={"help": "Fields of RewardConfig, as JSON."})
    ppo: StageSettings = field(default=None, metadata={"help": "Fields of PPOConfig, as JSON."})
    dpo: StageSettings = field(default=None, metadata={"help": "Fields of DPOConfig, as JSON."})

    def __post_init__(self):
        check_values(self)
        self.chat_template_kwargs = template_kwargs(self.chat_template_kwargs) or None
        if self.load_in_4bit:
            self.use_lora = True
        for name in (*STAGES, "lora"):
            setattr(self, name, stage_settings(name, getattr(self, name)))
        if self.reward_thresholds is not None:
            self.reward_thresholds = read_thresholds(self.reward_thresholds)
        self.rewards = read_mapping("rewards", self.rewards)
        self.evaluation = read_mapping("evaluation", self.evaluation)
        self._check_recipe()
        if self.algorithm == "ppo":
            say_where_ppo_differs(self.ppo, self.chat_template_kwargs)

    def _check_recipe(self) -> None:
        recipe = self.reward_recipe
        _ = self.evaluation_plan  # refuses what is wrong with it
        if recipe is not None and self.algorithm == "dpo":
            raise ValueError(
                "`rewards` are for PPO; DPO learns from the pairs. Set algorithm='ppo', or measure them only: under "
                "`evaluation`, as `metrics` of the suite `automatic`."
            )
        if recipe is not None and recipe.reward_model is None and self.reward_thresholds is not None:
            raise ValueError(
                "`reward_thresholds` are asked of a reward model, and no component of `rewards` is one: add "
                "{function: reward_model}, or drop them."
            )

    @property
    def reward_recipe(self) -> RewardRecipe | None:
        """`rewards`, read."""
        return None if self.rewards is None else RewardRecipe.from_config(cast(dict, self.rewards))

    @property
    def evaluation_plan(self) -> Evaluation:
        """`evaluation`, read."""
        return Evaluation.from_config(cast(dict, self.evaluation or {}))

    def stage(self, name: str, output_dir: str | Path | None = None, **defaults: Any) -> Any:
        """The TRL configuration of a stage.

        Args:
            name (`str`):
                `"sft"`, `"reward"`, `"ppo"` or `"dpo"`.
            output_dir (`str` or `Path`, *optional*):
                Where its checkpoints go.
            **defaults:
                Fields that the user's settings may override.

        Returns:
            `trl.SFTConfig`, [`RewardConfig`], [`PPOConfig`] or [`DPOConfig`].
        """
        settings = getattr(self, name)
        folder = str(output_dir or Path(self.output_dir) / name)
        if is_dataclass(settings):
            cast(Any, settings).output_dir = folder
            if name == "ppo" and cast(Any, settings).chat_template_kwargs is None:
                cast(Any, settings).chat_template_kwargs = self.chat_template_kwargs
            return settings
        shared = {
            "output_dir": folder,
            "per_device_train_batch_size": self.batch_size,
            "per_device_eval_batch_size": self.batch_size,
            "max_grad_norm": self.max_grad_norm,
            "seed": self.seed,
            "bf16": self.bf16,
            "fp16": self.fp16,
            "report_to": self.report_to,
            "save_strategy": "steps",
            "save_steps": self.checkpoint_steps,
            "save_total_limit": 2,
            "logging_steps": 1,
            "trust_remote_code": self.trust_remote_code,
            "use_cpu": not torch.accelerator.is_available(),  # else bf16, TRL's default, is refused without a GPU
        }
        ppo = {"num_iterations": self.ppo_epochs, "chat_template_kwargs": self.chat_template_kwargs}
        own = {"ppo": ppo, "dpo": {}}.get(name)
        if own is not None:
            shared.update(learning_rate=self.learning_rate, **own)
        return stage_class(name)(**{**shared, **defaults, **(settings or {})})

    def lora_config(self, task: str) -> Any:
        """The adapter's configuration for `task` (`"CAUSAL_LM"` or `"SEQ_CLS"`), or None without LoRA."""
        if not self.use_lora:
            return None
        from peft import LoraConfig

        if isinstance(self.lora, LoraConfig):
            config = copy.deepcopy(self.lora)
        else:
            config = LoraConfig(
                **{"r": 16, "lora_alpha": 32, "target_modules": "all-linear", **cast(dict, self.lora or {})}
            )
        config.task_type = task
        if task == "SEQ_CLS":
            config.modules_to_save = None  # PEFT adds the reward head
        return config

    @property
    def reward_path(self) -> str:
        """Where the reward model is, or goes."""
        return self.reward_model_path or str(Path(self.output_dir) / "reward_model")

    @property
    def reward_is_remote(self) -> bool:
        """Whether `reward_model_path` is a name on the hub rather than a folder (`owner/name`, no such folder)."""
        path = self.reward_model_path or ""
        return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path)) and not Path(path).parent.exists()

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for the run's record."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in plain.items():
            if is_dataclass(value):
                plain[name] = {k: v for k, v in vars(value).items() if isinstance(v, str | int | float | bool | None)}
        return plain
