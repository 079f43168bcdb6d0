"""The report of a run, made from its record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
import trl
from datasets import Dataset

from ..evaluation import comparison
from ..evaluation.before_after import compare, examples, score
from ..evaluation.gate import ReleaseGate
from ..evaluation.report import Curve, Report, Stage
from ..evaluation.running import SuiteResult
from ..evaluation.suite import EMPTY
from ..stats import Estimate
from ..types import RewardFunction
from .config import RLHFConfig
from .evaluation import REWARDS
from .measuring import Pair
from .stages import Run, as_answers

# stage: (title, [(plot, y label, {line: logged name})])
_CURVES: dict[str, tuple[str, list[tuple[str, str, dict[str, str]]]]] = {
    "sft": ("Warm start", [("loss", "nats a token", {"loss": "loss"})]),
    "reward_model": ("Reward model", [("loss and accuracy", "", {"loss": "loss", "accuracy": "accuracy"})]),
    "ppo": (
        "PPO",
        [
            ("reward", "reward", {"reward": "objective/scores", "reward - KL penalty": "objective/rlhf_reward"}),
            ("KL from the start", "nats an answer", {"KL": "objective/kl"}),
            ("answer length", "tokens", {"mean": "completions/mean_length"}),
            ("critic", "explained variance", {"explained variance": "value/explained_variance"}),
        ],
    ),
    "dpo": (
        "DPO",
        [
            ("loss", "nats", {"loss": "loss"}),
            ("reward margin", "nats", {"chosen": "rewards/chosen", "rejected": "rewards/rejected"}),
            ("accuracy", "share of pairs", {"accuracy": "rewards/accuracies"}),
        ],
    ),
}


def make_report(
    run: Run,
    rows: Dataset,
    reward: RewardFunction | None,
    pairs: Sequence[Pair] = (),
    gate: ReleaseGate | None = None,
) -> Report:
    """Before against after, the curves of all stages, and what it takes to run it again.

    Args:
        run ([`Run`]), rows (`Dataset`):
            A finished run, and the held-out rows that it compares.
        reward (`RewardFunction`, *optional*):
            What scores the answers, where that is one reward model.
        pairs (`Sequence[Pair]`, *optional*), gate ([`~rlhf_ext.evaluation.gate.ReleaseGate`], *optional*):
            What suites gave before and after, and what is asked of that.
    """
    record = run.record
    results = {name: record.finished(name) or {} for name in _STAGE_NAMES}
    answers = as_answers(rows, results["before"]["answers"], results["after"]["answers"], results["divergence"]["kl"])
    if reward is not None:
        answers = score(answers, reward)
    config = run.config
    curves = []
    for name, path in (
        ("sft", run.folder / "sft"),
        ("reward_model", Path(config.reward_path)),
        (config.algorithm, run.folder / "policy"),
    ):
        if (path / "log.json").is_file():
            log = json.loads((path / "log.json").read_text(encoding="utf-8"))
            curves += [*_curves(_CURVES[name], log), *(_mix_curves(config, log) if name == "ppo" else [])]
    found = {new.suite: comparison.compare(old, new) for old, new in pairs}
    suites = [figure for name, figures in found.items() if name != REWARDS for figure in figures]
    rewards = found.get(REWARDS, [])
    return Report(
        title=f"{config.algorithm.upper()} on {Path(run.base).name}",
        subtitle=f"Before against after on {len(rows)} held-out prompts",
        figures=[*rewards, *compare(answers), *suites],
        examples=examples(answers),
        curves=curves,
        stages=[
            Stage(_STAGE_NAMES[name], result["seconds"], _summary(name, result))
            for name, result in results.items()
            if result
        ],
        settings=_settings(run),
        notes=_notes(results, [new for _, new in pairs]),
        gate=[] if gate is None else gate.check([new for _, new in pairs], [*rewards, *suites]),
    )


_STAGE_NAMES = {
    "before": "Answers before",
    "sft": "Supervised warm start",
    "reward_model": "Reward model",
    "validation": "Validation",
    "policy": "Alignment",
    "after": "Answers after",
    "divergence": "KL",
    "evaluation": "Suites",
}


def _curves(shown: tuple[str, list[tuple[str, str, dict[str, str]]]], log: list[dict[str, Any]]) -> list[Curve]:
    title, plots = shown
    curves = []
    for plot, y_label, lines in plots:
        series = {
            line: [(float(entry["step"]), float(entry[key])) for entry in log if entry.get(key) is not None]
            for line, key in lines.items()
        }
        curves.append(Curve(f"{title}: {plot}", "optimizer step", y_label, series))
    return curves


def _mix_curves(config: RLHFConfig, log: list[dict[str, Any]]) -> list[Curve]:
    """The components of a mixed reward, raw, and the multipliers of its constraints."""
    recipe = config.reward_recipe
    if recipe is None:
        return []
    plots = _split("components", "score", {name: f"rewards/{name}/mean" for name in recipe.components})
    held = [one.name for one in recipe.constraints]
    plots += _split("constraints met", "share of answers", {one: f"constraints/{one}/satisfied" for one in held})
    plots += _split("multipliers", "", {one: f"constraints/{one}/multiplier" for one in held})
    return _curves(("PPO", plots), log)


def _split(plot: str, y_label: str, lines: dict[str, str]) -> list[tuple[str, str, dict[str, str]]]:
    """As many plots as it takes: a plot has room for four lines."""
    names = list(lines)
    parts = [names[start : start + 4] for start in range(0, len(names), 4)]
    return [
        (f"{plot}{f' ({place})' * (len(parts) > 1)}", y_label, {n: lines[n] for n in part})
        for place, part in enumerate(parts, 1)
    ]


def _summary(name: str, result: dict[str, Any]) -> str:
    if name == "validation":
        accuracy = Estimate.from_dict(result["estimates"]["accuracy"])
        return f"accuracy {accuracy} on {accuracy.n} held-out pairs"
    if "steps" in result:
        return f"{result['steps']} optimizer steps"
    if "suites" in result:
        return ", ".join(result["suites"])
    return f"{len(result['answers'])} answers" if "answers" in result else ""


def _notes(results: dict[str, dict[str, Any]], measured: Sequence[SuiteResult]) -> list[str]:
    notes = [
        "Answers are greedy (temperature 0). Refusals are found by phrases: a refusal in other words is missed.",
        "One run with one seed: the intervals cover the choice of prompts, not another training run.",
    ]
    validation = results["validation"]
    if validation:
        found = {name: Estimate.from_dict(fields) for name, fields in validation["estimates"].items()}
        groups = [f"{name.split('.', 1)[1]} {e}" for name, e in found.items() if name.startswith("accuracy.")]
        others = [f"{name} {e}" for name, e in found.items() if not name.startswith(("accuracy", "length."))]
        bias = found.get("length.partial_correlation")
        parts = [
            f"Reward model on held-out pairs: accuracy {found['accuracy']}",
            f"by category: {', '.join(groups)}" if groups else "",
            "" if bias is None else f"correlation of score and length at equal preference {bias}",
            ", ".join(others),
        ]
        notes.append("; ".join(part for part in parts if part) + ".")
        if validation["refusal"]:
            notes.append(f"The reward model failed its validation: {validation['refusal']}.")
    for result in measured:
        nothing = [c.label for c in result.columns if all(value is None for value in c.values) and c.name != EMPTY]
        if nothing:
            notes.append(f"Not measured on {result.suite}, for want of any value: {', '.join(nothing)}.")
        if result.failures:
            notes.append(f"{len(result.failures)} answers to {result.suite} could not be generated.")
    return notes


def _settings(run: Run) -> dict[str, str]:
    plain = {name: str(value) for name, value in run.config.to_dict().items() if value is not None}
    return {"model": run.base, **plain, "trl": trl.__version__, "transformers": transformers.__version__}
