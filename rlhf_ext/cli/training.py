"""`rlhf-ext reward`, `dpo` and `ppo`: one trainer each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import DataArguments, load, parse


@dataclass
class PPOArguments(DataArguments):
    """Arguments of `rlhf-ext ppo` beside those of `PPOConfig`."""

    reward_model: str = field(default="", metadata={"help": "Folder or hub name of the reward model."})
    value_model: str | None = field(
        default=None, metadata={"help": "Folder or hub name of the critic, or 'shared'. None: from the reward model."}
    )


def reward(arguments: list[str]) -> None:
    def make(options: DataArguments, model: str, settings: dict[str, Any]) -> Any:
        from ..trainers import RewardTrainer

        if settings["peft_config"] is not None:
            settings["peft_config"].task_type = "SEQ_CLS"
            settings["peft_config"].modules_to_save = ["score"]
        return RewardTrainer(model, **settings)

    _train("reward", DataArguments, arguments, make)


def dpo(arguments: list[str]) -> None:
    def make(options: DataArguments, model: str, settings: dict[str, Any]) -> Any:
        from ..trainers import DPOTrainer

        return DPOTrainer(model, **settings)

    _train("dpo", DataArguments, arguments, make)


def ppo(arguments: list[str]) -> None:
    def make(options: PPOArguments, model: str, settings: dict[str, Any]) -> Any:
        from ..rewards import RewardModel
        from ..trainers import PPOTrainer

        if not options.reward_model:
            raise ValueError("--reward_model is needed: a folder written by `rlhf-ext reward`, or a name on the hub.")
        for name in ("train_dataset", "eval_dataset"):
            if settings[name] is not None:
                settings[name] = settings[name].remove_columns(["chosen", "rejected"])
        return PPOTrainer(model, RewardModel(options.reward_model), value_model=options.value_model, **settings)

    _train("ppo", PPOArguments, arguments, make)


def _train(command: str, data_class: type, arguments: list[str], make: Callable[..., Any]) -> None:
    """Loads data and configuration, trains from the last checkpoint if there is one, and saves."""
    import torch
    from transformers.trainer_utils import get_last_checkpoint
    from trl import ModelConfig, get_peft_config, get_quantization_config

    from .. import trainers
    from ..data.preferences import prepare_preferences

    config_class = {"reward": trainers.RewardConfig, "dpo": trainers.DPOConfig, "ppo": trainers.PPOConfig}[command]
    on_cpu = not torch.accelerator.is_available()
    options, args, model = parse(command, [data_class, config_class, ModelConfig], arguments, use_cpu=on_cpu)
    if not model.model_name_or_path:
        raise ValueError("--model_name_or_path is needed: a folder or the name of a model on the hub.")
    data = prepare_preferences(load(options.preferences, "train"))
    heldout = load(options.heldout, "heldout")
    settings: dict[str, Any] = {
        "args": args,
        "train_dataset": data,
        "eval_dataset": None if heldout is None else prepare_preferences(heldout, name="heldout"),
        "peft_config": get_peft_config(model),
        "quantization_config": get_quantization_config(model),
    }
    kwargs = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    args.model_init_kwargs = {**{k: v for k, v in kwargs.items() if v is not None}, **(args.model_init_kwargs or {})}
    trainer = make(options, model.model_name_or_path, settings)
    checkpoint = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(args.output_dir)
    sys.stdout.write(f"model   {args.output_dir}\n")
