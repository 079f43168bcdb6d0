"""Settings of a run as they are given, in Python, as JSON on the command line or in a file: read, and refused where wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from transformers.utils import logging

from .._strict_yaml import read_yaml
from ..types import template_kwargs

logger = logging.get_logger(__name__)

ALGORITHMS = ("ppo", "dpo")
STAGES = ("sft", "reward", "ppo", "dpo")
_WHOLE = ("batch_size", "ppo_epochs", "checkpoint_steps")
_SWITCHES: tuple[str, ...] = ("use_lora", "load_in_4bit", "fp16", "bf16", "trust_remote_code", "supervised_warm_start")
_SWITCHES += ("skip_reward_validation",)


def check_values(config: Any) -> None:
    """Refuses values of [`RLHFConfig`] that are not possible, each on its own; a `Path` becomes text.

    Raises:
        ValueError: That names field and value.
    """
    if config.algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` must be one of {ALGORITHMS}, got {config.algorithm!r}.")
    if config.strength_scale not in ("probability", "unit"):
        raise ValueError(f"`strength_scale` must be 'probability' or 'unit', got {config.strength_scale!r}.")
    for name in ("learning_rate", "batch_size", "ppo_epochs", "max_grad_norm", "checkpoint_steps"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
        if name in _WHOLE and value != int(value):
            raise ValueError(f"`{name}` must be a whole number, got {value!r}.")
    for name in ("eval_prompts", "eval_max_new_tokens"):
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` must be a positive whole number or None, got {value!r}.")
    for name in _SWITCHES:  # the text "False" would count as true
        value = getattr(config, name)
        if not isinstance(value, bool) and not (value is None and name == "bf16"):
            raise ValueError(f"`{name}` must be True or False, got {value!r}.")
    if isinstance(config.seed, bool) or not isinstance(config.seed, int):
        raise ValueError(f"`seed` must be a whole number, got {config.seed!r}.")
    if config.lora is not None and not (config.use_lora or config.load_in_4bit):
        raise ValueError("`lora` has settings, and nothing is trained with LoRA: set `use_lora=True`, or drop them.")
    for name in ("model_name", "reward_model_path", "output_dir", "report_to"):
        value = getattr(config, name)
        if isinstance(value, Path):
            setattr(config, name, str(value))
        elif not isinstance(value, str) and not (value is None and name in ("model_name", "reward_model_path")):
            raise ValueError(f"`{name}` must be text, got {value!r}.")
    if not 0 <= config.min_reward_accuracy <= 1:
        raise ValueError(f"`min_reward_accuracy` must be in [0, 1], got {config.min_reward_accuracy}.")
    if config.bf16 and config.fp16:
        raise ValueError("`bf16` and `fp16` cannot both be set: choose one.")


def say_where_ppo_differs(ppo: Any, told: dict[str, Any] | None) -> None:
    """Warns where PPO's own `chat_template_kwargs` are not the run's: trained in one way and measured in another.

    Args:
        ppo (`dict`, [`PPOConfig`] or `None`):
            The stage's settings.
        told (`dict`, *optional*):
            The run's.
    """
    own = ppo.get("chat_template_kwargs") if isinstance(ppo, dict) else getattr(ppo, "chat_template_kwargs", None)
    if own is not None and (template_kwargs(own) or None) != told:
        logger.warning(
            f"PPO's rollouts tell the chat template {own}, and all else in the run {told}: set the run's "
            "`chat_template_kwargs` to have both alike."
        )


def stage_class(name: str) -> type:
    """The configuration class of a stage, or of `lora`; imported when asked for."""
    if name == "lora":
        from peft import LoraConfig

        return LoraConfig
    if name == "sft":
        from trl import SFTConfig

        return SFTConfig
    from .. import trainers

    return {"reward": trainers.RewardConfig, "ppo": trainers.PPOConfig, "dpo": trainers.DPOConfig}[name]


def stage_settings(name: str, given: Any) -> Any:
    """A stage's settings as a dict, a config object or None.

    Args:
        name (`str`):
            The stage, or `"lora"`.
        given (`dict`, `str`, dataclass or `None`):
            A dict of fields, also as JSON, or the stage's TRL config.

    Raises:
        ValueError: If it is no JSON, nothing like settings, or has a field that the stage's config has not.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"`{name}` is not JSON: {error}. Give e.g. '{{\"learning_rate\": 1e-4}}'.") from error
    if given is None or is_dataclass(given):
        return given
    if not isinstance(given, dict):
        raise ValueError(f"`{name}` must be a dict of settings or a config object, got {given!r}.")
    known = {f.name for f in fields(stage_class(name))}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"`{name}` has no setting {unknown[0]!r}. See the fields of {stage_class(name).__name__}.")
    if "output_dir" in given:  # where a run that was stopped looks for checkpoints is not a stage's to say
        raise ValueError(f"`{name}` may not set `output_dir`: stages keep what they leave in the run's own.")
    return {field: _number(name, field, value) for field, value in given.items()}


def _number(name: str, field: str, value: Any) -> Any:
    """A field's value; of one that takes numbers alone a number, also where YAML reads text (`1e-5` lacks a dot)."""
    kind = get_type_hints(stage_class(name))[field]
    if not isinstance(value, str) or float not in (kind, *get_args(kind)) or str in get_args(kind):
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"`{name}`: `{field}` must be a number, got {value!r}.") from None


def read_mapping(name: str, given: Any) -> dict[str, Any] | None:
    """A mapping that is given as it is, as JSON, or as a YAML file with it (a recipe: its part of that name).

    Args:
        name (`str`):
            The field.
        given (`dict`, `str` or `None`):
            What it was set to.

    Raises:
        FileNotFoundError: If it names a file that is not there.
        ValueError: If it is no mapping, no JSON or no YAML.
    """
    if given is None:
        return None
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"`{name}` is not JSON: {error}.") from error
    elif isinstance(given, str):
        given = read_yaml(given)
        given = given.get(name, given) if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping):
        raise ValueError(f"`{name}` must be a mapping, JSON of one, or a YAML file with one, got {given!r}.")
    return dict(given)


def read_thresholds(given: dict | str) -> dict:
    """What is asked of a reward model, as plain values.

    Args:
        given (`dict` or `str`):
            As [`~rlhf_ext.evaluation.reward_models.Thresholds`] takes them, also as JSON, or a YAML file.

    Raises:
        ValueError: If there is no such figure, or a run cannot measure it.
    """
    import yaml

    from ..evaluation.reward_models import Thresholds

    try:
        if not isinstance(given, str):
            thresholds = Thresholds(given)
        elif given.lstrip().startswith("{"):
            thresholds = Thresholds(yaml.safe_load(given))  # JSON is YAML
        else:
            thresholds = Thresholds.from_file(given)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"`reward_thresholds`: {error}") from error
    for measure in ("best_of_n", "ensemble"):
        if measure in thresholds.measures:
            raise ValueError(
                f"`reward_thresholds` ask for {measure.replace('_', '-')}, which a run cannot measure: it has one "
                "reward model and no gold one. Use `rlhf-ext validate`, or `validate_reward_model`."
            )
    return thresholds.to_dict()
