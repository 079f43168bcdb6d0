"""`rlhf-ext demo` and `run`: the whole job."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from .parsing import DataArguments, load, parse


@dataclass
class DemoArguments:
    """Arguments of `rlhf-ext demo`."""

    algorithm: str = field(default="ppo", metadata={"help": "'ppo' or 'dpo'.", "choices": ["ppo", "dpo"]})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where the run goes, and goes on. By default a folder in demo_output/."}
    )
    tiny: bool = field(default=False, metadata={"help": "A tiny model in place of SmolLM2: seconds, not minutes."})
    seed: int = field(default=42, metadata={"help": "Seed."})


@dataclass
class RunArguments(DataArguments):
    """Arguments of `rlhf-ext run` beside those of `RLHFConfig`."""

    num_epochs: float = field(default=1.0, metadata={"help": "Passes over the prompts (PPO) or pairs (DPO)."})


def demo(arguments: list[str]) -> None:
    (options,) = parse("demo", [DemoArguments], arguments)
    from ..demo import run_demo

    folder = options.output_dir or f"demo_output/{'tiny-' if options.tiny else ''}{options.algorithm}-{options.seed}"
    _show(run_demo(options.algorithm, folder, options.tiny, options.seed))


def run(arguments: list[str]) -> int:
    """The whole job; 1 where a threshold of `evaluation` does not hold."""
    from ..pipeline import RLHFConfig, RLHFTrainer

    options, config = parse("run", [RunArguments, RLHFConfig], arguments)
    data, heldout = load(options.preferences, "train"), load(options.heldout, "heldout")
    result = RLHFTrainer(config=config).train(data, heldout, options.num_epochs)
    _show(result)
    for line in result.failures:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if result.failures else 0


def _show(result: Any) -> None:
    from ..evaluation.report import render_side_by_side, render_table

    text = (render_table(result.report), render_side_by_side(result.report, count=3))
    sys.stdout.write("\n" + "\n\n".join(text) + "\n\n")
    sys.stdout.write(f"model   {result.policy_path}\nreport  {result.report_path}\n")
    if result.evaluation_path is not None:
        sys.stdout.write(f"suites  {result.evaluation_path}\n")
