"""`rlhf-ext label` and `revise`: preferences from a judge, and from a constitution."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import load, parse


@dataclass
class WriterArguments:
    """A language model: on this machine, or behind an endpoint."""

    model: str = field(metadata={"help": "Folder or hub name of the model; with --base_url, its name there."})
    base_url: str | None = field(
        default=None, metadata={"help": "OpenAI-compatible endpoint, such as http://localhost:8000/v1."}
    )
    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "Environment variable with the endpoint's key."}
    )
    max_concurrency: int = field(default=8, metadata={"help": "Requests at the same time."})
    batch_size: int = field(default=16, metadata={"help": "Prompts a batch of a model on this machine."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Whether the model may bring its own code."})


@dataclass
class LabelArguments(WriterArguments):
    """Arguments of `rlhf-ext label`."""

    data: str = field(
        default="",
        metadata={"help": "Rows with prompt and responses (or chosen and rejected): a file, a folder or a hub name."},
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
    output_dir: str = field(default="labels", metadata={"help": "Where the labels and the judgements go."})
    store: str | None = field(
        default=None,
        metadata={"help": "File or PostgreSQL URL for judgements, to share. By default a file in output_dir."},
    )
    max_requests: int | None = field(default=None, metadata={"help": "Hard limit on requests, retries included."})
    max_budget: float | None = field(default=None, metadata={"help": "Hard limit on cost, in the prices' unit."})
    input_price: float = field(default=0.0, metadata={"help": "Price of a million tokens read."})
    output_price: float = field(default=0.0, metadata={"help": "Price of a million tokens written."})
    estimate: bool = field(default=False, metadata={"help": "Say what it will take, from 16 questions, and stop."})
    retry_failed: bool = field(default=False, metadata={"help": "Ask again what failed in an earlier run."})
    seed: int = field(default=0, metadata={"help": "Seed of sampled votes."})


@dataclass
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
    seed: int = field(default=0, metadata={"help": "Draws principles, seeds the sampling."})


def label(arguments: list[str]) -> int:
    """Preferences from a judge; 1 where the budget did not reach for all of them."""
    (options,) = parse("label", [LabelArguments], arguments)
    _needed("data", options.data)
    from ..labelers import Budget

    budget = Budget(options.max_requests, options.max_budget, options.input_price, options.output_price)
    rubric = _rubric(options.rubric)
    rows = load(options.data, "train")
    generator = writer(options)
    settings: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("mode", "votes", "reasoning", "on_disagreement", "min_confidence", "retry_failed", "seed")
    }
    settings |= {"store": options.store or Path(options.output_dir) / "judgements.sqlite", "budget": budget}
    labeler = _labeler(generator, rubric, options.constitution, model=options.model, progress=True, **settings)
    if options.estimate:
        sys.stdout.write(f"estimate  {labeler.estimate(rows)}\n")
        return 0
    result = labeler.label(rows)
    path = result.save(options.output_dir)
    sys.stdout.write(f"\n{result}\n\nlabels  {path}\n")
    return 1 if result.unfinished else 0


def revise(arguments: list[str]) -> int:
    """A constitution's revisions as data sets for SFT and preference training."""
    (options,) = parse("revise", [ReviseArguments], arguments)
    _needed("prompts", options.prompts)
    from ..constitution import ConstitutionalLabeler, critique_and_revise, summarise, to_preferences, to_sft

    constitution = _constitution(options.constitution)
    prompts = list(load(options.prompts, "train")["prompt"])
    generator = writer(options)
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


def _needed(name: str, value: str) -> None:
    if not value:
        raise ValueError(f"--{name} is needed. See rlhf-ext label --help or rlhf-ext revise --help.")


def _rubric(text: str) -> str:
    if not text.endswith(".txt"):
        return text
    return Path(text).read_text(encoding="utf-8")


def _constitution(name: str) -> Any:
    from ..constitution import Constitution

    return Constitution.default() if name == "default" else Constitution.from_file(name)


def _labeler(generator: Any, rubric: str, constitution: str | None, **settings: Any) -> Any:
    from ..constitution import ConstitutionalLabeler
    from ..labelers import PairwiseLabeler

    if constitution is None:
        return PairwiseLabeler(generator, rubric, **settings)
    return ConstitutionalLabeler(generator, _constitution(constitution), **settings)


def writer(options: WriterArguments) -> Any:
    """The model on this machine (whole, or an adapter on its base), or behind the endpoint."""
    from ..generation import EndpointGenerator, LocalGenerator

    if options.base_url is not None:
        return EndpointGenerator(options.base_url, options.model, options.api_key_env, options.max_concurrency)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trust = {"trust_remote_code": True} if options.trust_remote_code else {}
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype="auto", **trust).to(device)
    # An adapter's folder may come without the tokenizer of its base.
    folder, bare = Path(options.model), (Path(options.model) / "adapter_config.json").is_file()
    if bare and not (folder / "tokenizer_config.json").is_file():
        folder = Path(json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"])
    tokenizer = AutoTokenizer.from_pretrained(str(folder) if bare else options.model, **trust)
    return LocalGenerator(model, tokenizer, options.batch_size)
