"""`rlhf-ext label` and `revise`: preferences and best answers by a judge, and by a constitution."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import load, parse
from .writers import CostArguments, WriterArguments, generator_of, needed, settings_of


@dataclass(kw_only=True)
class LabelArguments(CostArguments, WriterArguments):
    """Arguments of `rlhf-ext label`."""

    data: str = field(
        default="",
        metadata={
            "help": "Rows with prompt and responses (or chosen and rejected): a file, a folder or a hub name. `rlhf-ext sample` has "
            "models write responses."
        },
    )
    method: str = field(
        default="pairs",
        metadata={"help": "Compare pairs of answers, or grade each from 1 to 10.", "choices": ["pairs", "scores"]},
    )
    aspects: list[str] | None = field(
        default=None,
        metadata={
            "help": "With --method scores: helpfulness, honesty, 'instruction following', truthfulness (all by default), or "
            "criteria in words."
        },
    )
    pairs: str = field(
        default="best_worst",
        metadata={
            "help": "With --method scores: which answers are paired.",
            "choices": ["best_worst", "all", "best_of_rest"],
        },
    )
    rubric: str = field(
        default="assistant",
        metadata={"help": "assistant, helpful, harmless, honest, summary, criteria in words, or a .txt file of them."},
    )
    constitution: str | None = field(
        default=None, metadata={"help": "In place of a rubric: 'default', or a YAML file of principles."}
    )
    mode: str = field(
        default="auto",
        metadata={"help": "Read log-probabilities or text.", "choices": ["auto", "logprobs", "text"]},
    )
    votes: int = field(default=1, metadata={"help": "In text mode, how often each order is asked."})
    reasoning: bool = field(default=False, metadata={"help": "Whether the judge compares in words first."})
    on_disagreement: str = field(
        default="abstain",
        metadata={"help": "Where the two orders disagree.", "choices": ["abstain", "average"]},
    )
    min_confidence: float = field(default=0.5, metadata={"help": "Least max(p, 1 - p) for a label."})
    truncate: bool = field(
        default=False, metadata={"help": "Shorten what is longer than the window of a judge on this machine."}
    )
    output_dir: str = field(default="labels", metadata={"help": "Where the labels and the judgements go."})
    seed: int = field(default=0, metadata={"help": "Seed of sampled votes."})


@dataclass(kw_only=True)
class ReviseArguments(WriterArguments):
    """Arguments of `rlhf-ext revise`."""

    prompts: str = field(
        default="", metadata={"help": "Rows with a prompt: a file, a folder, a hub name, or 'assistant'."}
    )
    constitution: str = field(default="default", metadata={"help": "'default', or a YAML file of principles."})
    rounds: int = field(default=4, metadata={"help": "Principles that an answer is held to at the most."})
    judged: bool = field(
        default=False, metadata={"help": "Whether the model also judges each revision against what it revises."}
    )
    max_new_tokens: int = field(default=512, metadata={"help": "Longest answer, critique or revision, in tokens."})
    temperature: float = field(default=0.7, metadata={"help": "Of answers, critiques and revisions."})
    output_dir: str = field(default="revisions", metadata={"help": "Where data sets and steps go."})
    retry_failed: bool = field(default=False, metadata={"help": "Ask again what got no answer in an earlier run."})
    seed: int = field(default=0, metadata={"help": "Draws principles, seeds the sampling."})


def label(arguments: list[str]) -> int:
    """Preferences from a judge, and with grades the best answers for SFT; 1 where the budget did not reach for all of them."""
    (options,) = parse("label", [LabelArguments], arguments)
    needed("label", "data", options.data)
    labeler_of = {"pairs": _compares, "scores": _grades}[options.method]
    rows = load(options.data, "train")
    labeler = labeler_of(options)
    if options.estimate:
        sys.stdout.write(f"estimate  {labeler.estimate(rows)}\n")
        return 0
    result = labeler.label(rows, options.pairs) if options.method == "scores" else labeler.label(rows)
    path = result.save(options.output_dir)
    sys.stdout.write(f"\n{result}\n\nlabels  {path}\n")
    if options.method == "scores":
        labeler.budget = labeler.budget.less(result.spent)  # answers that stand alone are not graded yet
        _save_best(labeler, rows, options.output_dir)
    return 1 if result.unfinished else 0


def revise(arguments: list[str]) -> int:
    """A constitution's revisions as data sets for SFT and preference training."""
    (options,) = parse("revise", [ReviseArguments], arguments)
    needed("revise", "prompts", options.prompts)
    from ..constitution import ConstitutionalLabeler, critique_and_revise, summarise, to_preferences, to_sft

    constitution = _constitution(options.constitution)
    prompts = list(load(options.prompts, "train")["prompt"])
    generator = generator_of(options, options.model, options.base_url)
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    judge = None
    if options.judged:
        store = folder / "judgements.sqlite"
        judge = ConstitutionalLabeler(generator, constitution, clamp=1.0, model=options.model, store=store)
    revisions = critique_and_revise(
        generator,
        prompts,
        constitution,
        options.rounds,
        judge=judge,
        store=folder / "steps.jsonl",
        retry_failed=options.retry_failed,
        model=options.model,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
    )
    for name, make in (("sft", to_sft), ("preferences", to_preferences)):
        data, left_out = make(revisions)
        for kind, rows in ((name, data), (f"{name}_left_out", left_out)):
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            (folder / f"{kind}.jsonl").write_text("".join(lines), encoding="utf-8")
        sys.stdout.write(f"{name:<12} {len(data)} rows, {len(left_out)} left out  {folder / name}.jsonl\n")
    sys.stdout.write(f"\n{summarise(revisions)}\n")
    return 0


def _rubric(text: str) -> str:
    if not text.endswith(".txt"):
        return text
    return Path(text).read_text(encoding="utf-8")


def _constitution(name: str) -> Any:
    from ..constitution import Constitution

    return Constitution.default() if name == "default" else Constitution.from_file(name)


def _compares(options: LabelArguments) -> Any:
    """A labeler that compares, by a rubric or a constitution."""
    _refuse(options, aspects=None, pairs="best_worst")
    from ..constitution import ConstitutionalLabeler
    from ..labelers import PairwiseLabeler

    names = ("reasoning", "on_disagreement")
    settings = {**_common(options), **{name: getattr(options, name) for name in names}}
    rubric = _rubric(options.rubric)
    if options.constitution is None:
        return PairwiseLabeler(generator_of(options, options.model, options.base_url), rubric, **settings)
    constitution = _constitution(options.constitution)
    return ConstitutionalLabeler(generator_of(options, options.model, options.base_url), constitution, **settings)


def _grades(options: LabelArguments) -> Any:
    """A labeler that grades."""
    _refuse(options, rubric="assistant", constitution=None, reasoning=False, on_disagreement="abstain")
    from ..labelers import ASPECTS, ScoreLabeler
    from ..labelers.aspects import as_aspects

    given = options.aspects or list(ASPECTS)
    aspects = as_aspects(given[0] if len(given) == 1 else given)
    return ScoreLabeler(generator_of(options, options.model, options.base_url), aspects, **_common(options))


def _refuse(options: LabelArguments, **unused: Any) -> None:
    """Refuses what the other method takes: it would do nothing."""
    for name, default in unused.items():
        if getattr(options, name) != default:
            raise ValueError(f"--{name} does nothing with --method {options.method}.")


def _common(options: LabelArguments) -> dict[str, Any]:
    names = ("mode", "votes", "min_confidence", "truncate", "model", "seed")
    return {**settings_of(options), **{name: getattr(options, name) for name in names}}


def _save_best(labeler: Any, rows: Any, folder: str) -> None:
    from ..labelers import best_graded
    from ..labelers.result import write_rows

    best, left_out = best_graded(labeler, rows)
    path = write_rows(folder, "sft.jsonl", best)
    write_rows(folder, "sft_left_out.jsonl", left_out)
    sys.stdout.write(f"best    {path} ({len(best)} rows, {len(left_out)} left out)\n")
