"""`rlhf-ext select`: which comparisons to ask people about."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import load, parse
from .unread import refuse_unread
from .writers import WriterArguments, generator_of


@dataclass(kw_only=True)
class SelectArguments(WriterArguments):
    """Arguments of `rlhf-ext select`."""

    model: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "Folder or hub name of the model that answers; without, prompts bring `responses`."},
    )
    prompts: str = field(
        default="",
        metadata={
            "help": "Rows with a prompt: a file (.jsonl is read as a stream), a folder, a hub name, 'assistant'."
        },
    )
    budget: int = field(default=0, metadata={"help": "Comparisons to choose."})
    output: str = field(default="to_ask.jsonl", metadata={"help": "Where they go, for rlhf-ext feedback --items."})
    reward_model: list[str] | None = field(
        default=None,
        metadata={"help": "Folder or hub name of a reward model; several are an ensemble, as is the folder of one."},
    )
    strategy: str = field(default="d_optimal", metadata={"help": "d_optimal, bald, margin, random, ...; see docs."})
    encoder: str | None = field(
        default=None, metadata={"help": "Sentence encoder for embeddings; by default the reward model's features."}
    )
    asked: str | None = field(default=None, metadata={"help": "Comparisons or preferences that were asked before."})
    n: int = field(default=4, metadata={"help": "Responses sampled for each prompt."})
    max_new_tokens: int = field(default=256, metadata={"help": "Longest response, in tokens."})
    temperature: float = field(default=1.0, metadata={"help": "Of the responses."})
    uncertainty_threshold: float | None = field(
        default=None, metadata={"help": "Least utility of what is asked, in the strategy's unit."}
    )
    reward_temperature: float = field(
        default=1.0,
        metadata={"help": "p(better) = sigmoid(difference of rewards / it); 1 for models trained on preferences."},
    )
    diversify: str | None = field(
        default=None,
        metadata={"help": "Spreads the batch: k_center or k_means++.", "choices": ["k_center", "k_means++"]},
    )
    shortlist: int = field(default=8, metadata={"help": "Prompts kept for each one chosen, where it is spread."})
    max_similarity: float | None = field(
        default=None, metadata={"help": "Largest cosine of two prompts' embeddings in the batch."}
    )
    quotas: list[str] | None = field(
        default=None, metadata={"help": "Shares of categories, such as code=0.3 math=0.2."}
    )
    category: str = field(default="category", metadata={"help": "The column that quotas speak of."})
    ask: str = field(
        default="pair", metadata={"help": "Two responses to compare, or all to rank.", "choices": ["pair", "all"]}
    )
    store: str | None = field(
        default=None,
        metadata={"help": "File or PostgreSQL URL for responses. By default a file beside the output."},
    )
    seed: int = field(default=0, metadata={"help": "Seed of responses, draws and ties."})


def select(arguments: list[str]) -> int:
    """Comparisons to ask about, as JSON lines."""
    (options,) = parse("select", [SelectArguments], arguments)
    for name in ("prompts", "budget"):
        if not getattr(options, name):
            raise ValueError(f"--{name} is needed. See rlhf-ext select --help.")
    if options.model is None:
        of_writer = ("base_url", "n", "max_new_tokens", "temperature", "store")
        refuse_unread(options, of_writer, "is for --model, which is not given: rows bring their `responses`")
    from ..active import STRATEGIES, BatchRule, LogProbs, select_for_feedback
    from ..generation import LocalGenerator

    if options.strategy not in STRATEGIES:
        raise ValueError(f"Unknown --strategy {options.strategy!r}; there are {', '.join(STRATEGIES)}.")
    rule = BatchRule(
        options.diversify, options.shortlist, options.max_similarity, _shares(options.quotas), options.category
    )
    prompts, asked = _rows(options.prompts), () if options.asked is None else _rows(options.asked)
    generator = None if options.model is None else generator_of(options, options.model, options.base_url)
    reward, embed = _readers(options)
    sampling: dict[str, Any] = {}
    if generator is not None:
        sampling = {"max_new_tokens": options.max_new_tokens, "temperature": options.temperature}
        sampling["store"] = options.store or Path(options.output).with_suffix(".responses.sqlite")
    logprobs = None
    if isinstance(generator, LocalGenerator):
        told = generator.chat_template_kwargs
        logprobs = LogProbs(generator.model, generator.tokenizer, chat_template_kwargs=told)
    selection = select_for_feedback(
        generator,
        prompts,
        budget=options.budget,
        reward=reward,
        strategy=options.strategy,
        n=options.n,
        embed=embed,
        logprobs=logprobs if options.strategy == "predictive_entropy" else None,
        asked=asked,
        uncertainty_threshold=options.uncertainty_threshold,
        rule=rule,
        reward_temperature=options.reward_temperature,
        ask=options.ask,
        seed=options.seed,
        progress=True,
        **sampling,
    )
    path = selection.save(options.output)
    sys.stdout.write(f"\n{selection}\n\nto ask  {path}\n")
    return 0


def _rows(name: str) -> Iterable[Any]:
    """Rows of a pool; JSON lines one at a time."""
    from ..data.preferences import _read_jsonl

    if name.endswith(".jsonl") and Path(name).is_file():
        return _read_jsonl(Path(name))
    return load(name, "train")


def _shares(quotas: list[str] | None) -> dict[str, float]:
    shares = {}
    for quota in quotas or []:
        name, _, share = quota.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise ValueError(f"A quota is written category=share, such as code=0.3, got {quota!r}.") from error
    return shares


def _readers(options: SelectArguments) -> tuple[Any, Any]:
    """The reward and what embeds, on this machine's device; both may be None."""
    import torch

    from ..active import RewardFeatures, TextEmbeddings
    from ..rewards import RewardEnsemble, RewardModel
    from ..rewards.model import ENSEMBLE

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    trust: dict[str, Any] = {"trust_remote_code": True} if options.trust_remote_code else {}
    embed: Any = None
    if options.encoder is not None:
        embed = TextEmbeddings(options.encoder, **trust)
        embed.encoder.model.to(device)
    names = options.reward_model or []
    if len(names) == 1 and (Path(names[0]) / ENSEMBLE).is_file():
        return RewardEnsemble.from_folder(names[0], batch_size=options.batch_size, **trust).to(device), embed
    models = [RewardModel(name, batch_size=options.batch_size, **trust).to(device) for name in names]
    if models and embed is None and options.strategy == "d_optimal":
        embed = RewardFeatures(models[0])
    return (models[0] if len(models) == 1 else models or None), embed
