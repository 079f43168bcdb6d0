"""`rlhf-ext sample`: answers to prompts from one or more models, for `rlhf-ext label` to choose among."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from .parsing import load, parse
from .writers import AccessArguments, CostArguments, generator_of, needed, settings_of


@dataclass(kw_only=True)
class SampleArguments(CostArguments, AccessArguments):
    """Arguments of `rlhf-ext sample`."""

    prompts: str = field(
        default="", metadata={"help": "Rows with a prompt: a file, a folder, a hub name, or 'assistant'."}
    )
    writers: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Models that share out the answers: folders or hub names, or NAME@URL for one at an endpoint, such as "
            "Qwen/Qwen3-8B@http://localhost:8000/v1."
        },
    )
    n: int = field(default=4, metadata={"help": "Answers a prompt, before equal ones are taken out."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest answer, in tokens."})
    temperature: float = field(default=1.0, metadata={"help": "Of the answers."})
    top_p: float = field(default=1.0, metadata={"help": "Nucleus of the answers; 1 is off."})
    output_dir: str = field(default="candidates", metadata={"help": "Where the answers go."})
    seed: int = field(default=0, metadata={"help": "Other seeds give other answers."})


def sample(arguments: list[str]) -> int:
    """Candidates for a labeler; 1 where the budget did not reach for all of them."""
    (options,) = parse("sample", [SampleArguments], arguments)
    needed("sample", "prompts", options.prompts)
    needed("sample", "writers", options.writers)
    from ..labelers.budget import BudgetUsedUp
    from ..labelers.candidates import Candidates
    from ..labelers.result import write_rows

    settings = settings_of(options)
    rows = load(options.prompts, "train")
    asked = {name: getattr(options, name) for name in ("max_new_tokens", "temperature", "top_p")}
    candidates = Candidates(_writers(options), rows, options.n, seed=options.seed, **settings, **asked)
    if options.estimate:
        for name, estimate in candidates.estimate().items():
            sys.stdout.write(f"estimate  {name}: {estimate}\n")
        return 0
    try:
        found, left_out = candidates.sample()
    except BudgetUsedUp as error:
        sys.stdout.write(f"\n{error}\n")
        return 1
    path = write_rows(options.output_dir, "candidates.jsonl", found)
    write_rows(options.output_dir, "left_out.jsonl", left_out)
    count = sum(len(row["responses"]) for row in found)
    sys.stdout.write(
        f"\n{count} different answers to {len(found)} prompts, {len(left_out)} left out\n\ncandidates  {path}\n"
    )
    return 0


def _writers(options: SampleArguments) -> dict[str, Any]:
    """Generators by the names that were given, which the answers are signed with."""
    named: dict[str, Any] = {}
    for text in options.writers:
        name, _, url = text.partition("@")
        if name in named:
            raise ValueError(f"--writers names {name!r} twice.")
        named[name] = generator_of(options, name, url or None)
    return named
