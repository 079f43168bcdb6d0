"""Model cards of what a run leaves: `README.md` beside the weights, as the hub reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
import trl
from huggingface_hub import EvalResult, ModelCard, ModelCardData, try_to_load_from_cache

from .. import __version__
from ..evaluation.report import Figure, Report
from ..stats import Estimate
from .stages import Run

_LIMITS = (
    "The intervals cover the choice of prompts, not another training run: this is one run with one seed. What a reward "
    "overrates counts as gain in its own figure: judge by the others. It was not looked at by people unless they say so here."
)


def write_policy_card(run: Run, rows: int, report: Report) -> None:
    """Writes the card of the aligned model.

    Args:
        run ([`Run`]):
            A finished run.
        rows (`int`):
            Preferences that it was trained on.
        report ([`~rlhf_ext.evaluation.report.Report`]):
            What was measured.
    """
    config = run.config
    name = f"{Path(run.base).name}-{config.algorithm}"
    results = [_result(figure.name, figure.label, figure.after) for figure in report.figures]
    data = _card_data(run, name, [config.algorithm, "rlhf"], "text-generation", results)
    stages = "\n".join(f"{place}. {one.name}: {one.summary or 'done'}" for place, one in enumerate(report.stages, 1))
    parts = [
        f"# {name}",
        f"[{Path(run.base).name}]({_link(run.base)}) aligned by {config.algorithm.upper()}"
        f"{' as a LoRA adapter' if config.use_lora else ''}, from {rows:,} preferences.",
        _use(run),
        f"## How it was made\n\n{stages}\n\n{_rewards(run)}".rstrip(),
        f"## Before and after\n\n{report.subtitle}, with 95 % intervals.\n\n{_table(report)}",
        _thresholds(report),
        "## Limits\n\n" + " ".join([*report.notes, _LIMITS]),
        _versions(),
    ]
    _write(run.folder / "policy", data, parts)


def write_reward_card(run: Run, rows: int, validation: Mapping[str, Any]) -> None:
    """Writes the card of a reward model that the run has trained.

    Args:
        run ([`Run`]):
            The run.
        rows (`int`):
            Preferences that it was trained on.
        validation (`dict`):
            What the stage of its validation found.
    """
    name = f"{Path(run.base).name}-reward-model"
    found = {key: Estimate.from_dict(plain) for key, plain in validation["estimates"].items()}
    results = [_result(key, key.replace(".", ", "), estimate) for key, estimate in found.items()]
    data = _card_data(run, name, ["reward-model", "rlhf"], "text-classification", results)
    lines = [f"| {key} | {estimate} | {estimate.n:,} |" for key, estimate in found.items()]
    table = "\n".join(["| Measure | Value | Rows |", "|---|---|---|", *lines])
    refusal = validation["refusal"]
    parts = [
        f"# {name}",
        f"A reward model from [{Path(run.base).name}]({_link(run.base)}), trained on {rows:,} preferences: one score for a prompt "
        "with an answer, of which only differences between answers to one prompt mean something.",
        f"## On held-out pairs\n\n{table}",
        f"**It failed its validation:** {refusal}." if refusal else "",
        "## Limits\n\nIt knows what its preferences are about and how their annotators judge, and nothing else. A policy that is "
        "trained against it for long finds what it overrates: watch the divergence, and another scorer.",
        _versions(),
    ]
    _write(Path(run.config.reward_path), data, parts)


def _card_data(
    run: Run, name: str, tags: list[str], task: str, results: list[tuple[str, str, float]]
) -> ModelCardData:
    about: dict[str, Any] = {"task_type": task, "dataset_type": "held-out", "dataset_name": "held-out rows and suites"}
    made = [
        EvalResult(**about, metric_type=key, metric_name=label, metric_value=round(value, 6))
        for key, label, value in results
    ]
    hub = not Path(run.base).is_dir()
    return ModelCardData(
        model_name=name,
        base_model=run.base if hub else _said_by(run.base, "base_model"),
        library_name="peft" if run.config.use_lora else "transformers",
        license=_said_by(run.base, "license"),
        pipeline_tag=task,
        tags=["rlhf_ext", "trl", *tags],
        eval_results=made or None,
    )


def _said_by(base: str, field: str) -> Any:
    """A field of the base model's own card, where that is on this machine."""
    path: Any = Path(base) / "README.md" if Path(base).is_dir() else try_to_load_from_cache(base, "README.md")
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return None
    return getattr(ModelCard.load(path, ignore_metadata_errors=True).data, field, None)


def _result(key: str, label: str, estimate: Estimate) -> tuple[str, str, float]:
    return key, label, estimate.value


def _link(base: str) -> str:
    return base if Path(base).is_dir() else f"https://huggingface.co/{base}"


def _use(run: Run) -> str:
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    lines += ['model = AutoModelForCausalLM.from_pretrained("this/folder")  # also where it is an adapter']
    lines += [f'tokenizer = AutoTokenizer.from_pretrained("{"this/folder" if not run.config.use_lora else run.base}")']
    return "```python\n" + "\n".join(lines) + "\n```"


def _rewards(run: Run) -> str:
    recipe = run.config.reward_recipe
    if recipe is None:
        return ""
    lines = []
    for name, one in recipe.components.items():
        function = "the run's reward model" if one.function is None else one.function.name
        lines.append(f"| {name} | {function} | {one.weight_text} | {', '.join(recipe.bounds(name))} |")
    return "\n".join(["| Reward | Function | Weight | Constraint on its mean |", "|---|---|---|---|", *lines])


def _table(report: Report) -> str:
    lines = []
    for one in report.figures:
        numbers = [_shown(one, one.before), _shown(one, one.after), _shown(one, one.difference, signed=True)]
        lines.append(f"| {one.label} | {' | '.join(numbers)} | {one.verdict} |")
    return "\n".join(["| Measure | Before | After | Change | |", "|---|---|---|---|---|", *lines])


def _shown(figure: Figure, estimate: Estimate, signed: bool = False) -> str:
    scale, digits = (100, 1) if figure.unit == "%" else (1, 3)
    sign = "+" if signed else ""
    value, low, high = (
        f"{scale * number:{sign}.{digits}f}" for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value}{figure.unit if not signed else ' points' if figure.unit else ''} [{low}, {high}]"


def _thresholds(report: Report) -> str:
    if not report.gate:
        return ""
    lines = [
        f"| {row.name} | {row.wanted} | {row.estimate or 'not measured'} | {row.verdict} |" for row in report.gate
    ]
    return "\n".join(["## Thresholds\n", "| Figure | Asked for | Found | |", "|---|---|---|---|", *lines])


def _versions() -> str:
    return f"rlhf_ext {__version__}, TRL {trl.__version__}, Transformers {transformers.__version__}."


def _write(folder: Path, data: ModelCardData, parts: list[str]) -> None:
    text = "\n\n".join(part for part in parts if part)
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n").save(folder / "README.md")
