"""`rlhf-ext validate`: a reward model measured, and held to thresholds."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import template_kwargs
from .parsing import load, parse


@dataclass
class ValidateArguments:
    """Arguments of `rlhf-ext validate`."""

    reward_model: str = field(metadata={"help": "Folder or hub name of the reward model, or folder of an ensemble."})
    preferences: str = field(
        metadata={"help": "Held-out preferences: .jsonl, .json, .parquet, a folder, a hub name, or 'assistant'."}
    )
    thresholds: str | None = field(
        default=None, metadata={"help": "YAML such as 'accuracy: {min: 0.7}'. Exit code 1 where one does not hold."}
    )
    output_dir: str = field(default="validation", metadata={"help": "Where report.html and report.json go."})
    strength_scale: str = field(
        default="probability",
        metadata={
            "help": "preference_strength as 'probability' (0.5-1) or 'unit' (0-1).",
            "choices": ["probability", "unit"],
        },
    )
    gold: str | None = field(
        default=None, metadata={"help": "Folder or hub name of a gold reward model, for the best-of-n curve."}
    )
    generator: str | None = field(
        default=None, metadata={"help": "Folder or hub name of the model that writes the samples for best-of-n."}
    )
    samples_column: str = field(default="samples", metadata={"help": "Column with samples, without a generator."})
    n: int = field(default=16, metadata={"help": "Samples a prompt that the generator writes."})
    max_new_tokens: int = field(default=256, metadata={"help": "Longest sample, in tokens."})
    batch_size: int = field(default=16, metadata={"help": "Texts a forward pass."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Whether models may bring their own code."})
    chat_template_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "What chat templates are told, as JSON: '{\"enable_thinking\": false}' for Qwen3."},
    )
    seed: int = field(default=0, metadata={"help": "Seed of samples and folds."})


def validate(arguments: list[str]) -> int:
    (options,) = parse("validate", [ValidateArguments], arguments)
    from ..data.preferences import prepare_preferences
    from ..evaluation.report import render_table, write_report
    from ..evaluation.reward_models import Thresholds, validate_reward_model

    thresholds = None if options.thresholds is None else Thresholds.from_file(options.thresholds)
    if Path(options.output_dir).exists() and not Path(options.output_dir).is_dir():
        raise FileExistsError(f"--output_dir {options.output_dir} is a file; give a folder.")
    data = prepare_preferences(load(options.preferences, "heldout"), options.strength_scale, "preferences")
    reward, gold, generator = _models_to_validate(options)
    validation = validate_reward_model(
        reward,
        data,
        gold=gold,
        generator=generator,
        n=options.n,
        samples_column=options.samples_column,
        sampling={"max_new_tokens": options.max_new_tokens} if generator is not None else None,
        seed=options.seed,
    )
    subtitle = f"{options.reward_model} on {len(data)} held-out pairs of {options.preferences}"
    report = validation.to_report("Validation of a reward model", subtitle, thresholds)
    path = write_report(report, options.output_dir)
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
    failures = [] if thresholds is None else thresholds.failures(validation)
    for line in failures:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if failures else 0


def _models_to_validate(options: ValidateArguments) -> tuple[Any, Any, Any]:
    """The reward model, the gold one and the generator, on this machine's device; the last two may be None."""
    import torch

    from ..generation import LocalGenerator
    from ..rewards.components import load_reward

    if options.generator is not None and options.gold is None:
        raise ValueError("--generator writes samples for best-of-n, which needs --gold as well.")
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    trust: dict[str, Any] = {"trust_remote_code": True} if options.trust_remote_code else {}
    told = {"chat_template_kwargs": template_kwargs(options.chat_template_kwargs)}
    reading: dict[str, Any] = {"batch_size": options.batch_size, "progress": True, **told, **trust}
    reward, gold = (
        None if name is None else load_reward(name, **reading).to(device)
        for name in (options.reward_model, options.gold)
    )
    if options.generator is None:
        return reward, gold, None
    writer = LocalGenerator(options.generator, batch_size=options.batch_size, progress=True, **told, **trust)
    return reward, gold, writer
