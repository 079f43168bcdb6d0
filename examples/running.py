"""What the examples share: arguments with two sets of defaults, trainings that go on, and one model of base and adapter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint
from trl import ModelConfig, TrlParser

from rlhf_ext.embedded import cache_dir, tiny_model

LORA = {"use_peft": True, "lora_target_modules": ["all-linear"]}
REAL: dict[str, Any] = {"model_name_or_path": "Qwen/Qwen3-0.6B", "dtype": "bfloat16", "output_dir": "training", **LORA}
"""Defaults of a real run, on one GPU."""

TINY: dict[str, Any] = {"use_cpu": True, "bf16": False, "dtype": "float32", "report_to": "none", "disable_tqdm": True}
TINY |= {"gradient_checkpointing": False, "logging_steps": 4, "save_total_limit": 1, "output_dir": "training", **LORA}
"""Defaults of a run with `--tiny`: a model of 118,000 parameters on the CPU, which needs no hub."""


def parse(options: type, config: type, real: dict[str, Any], tiny: dict[str, Any], arguments: list[str] | None) -> Any:
    """The example's own options, TRL's configuration and the model, from flags and `--config FILE`.

    `--tiny` changes the defaults, and nothing else. Checkpoints go to `--output_dir` in the example's `--output`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parser = TrlParser((options, config, ModelConfig))
    if "--tiny" in given:
        torch.set_num_threads(1)  # for so small a model more of them wait for one another
        parser.set_defaults(**{**TINY, **tiny, "model_name_or_path": tiny_model(cache_dir() / "tiny")})
    else:
        parser.set_defaults(**{**REAL, **real})
    own, args, model = parser.parse_args_and_config(given)
    args.output_dir = str(Path(own.output) / args.output_dir)
    return own, args, model


def tokenizer_of(model: ModelConfig) -> Any:
    """The model's tokenizer, whose chat template does not let Qwen3 think until its answer is cut off."""
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path)
    tokenizer.chat_template = "{%- set enable_thinking = false %}" + tokenizer.chat_template
    return tokenizer


def base_of(model: ModelConfig, args: Any) -> Any:
    """The model as it is before any training, on the device that trains."""
    return AutoModelForCausalLM.from_pretrained(model.model_name_or_path, dtype=model.dtype).to(args.device)


def train(trainer: Any) -> str:
    """Trains, from the last checkpoint where there is one, saves, and gives the folder."""
    folder = trainer.args.output_dir
    trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) if Path(folder).is_dir() else None)
    trainer.save_model(folder)
    return str(folder)


def merged(trained: str, model: ModelConfig, args: Any, folder: Path) -> Any:
    """What was trained, as one model without an adapter, which is saved in `folder` with its tokenizer."""
    load = AutoPeftModelForCausalLM if model.use_peft else AutoModelForCausalLM
    policy = load.from_pretrained(trained, dtype=model.dtype).to(args.device)
    policy = policy.merge_and_unload() if model.use_peft else policy
    policy.save_pretrained(folder)
    AutoTokenizer.from_pretrained(trained).save_pretrained(folder)
    return policy
