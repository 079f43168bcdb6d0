"""Constitutional AI without labels: answers are revised by written principles, and DPO learns to prefer the revisions.

    python examples/constitutional_dpo.py --tiny    # under a minute on one core, no hub
    python examples/constitutional_dpo.py           # Qwen3-0.6B answers, a larger Qwen3 criticises and revises; one GPU

Each answer is held to principles (`--constitution`, a YAML file; the project's own by default): a critic names the breach, a writer mends
it, and the revision is preferred to the answer. A model of 0.6B is a poor critic of itself, so that the default is a larger one. With
`--tiny` the critic is a program that likes answers brief and calm: no model of 118,000 parameters can criticise. The rest is the same.

Look at the summary before you trust the pairs: how many critiques had no readable verdict, what revision did to refusals and length. Then
at the change in the answers to held-out prompts. Every step is in `--output`, and the same command goes on there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import base_of, merged, parse, tokenizer_of, train
from trl import get_peft_config

import rlhf_ext
from rlhf_ext import Constitution, DPOConfig, LocalGenerator, ScriptedGenerator
from rlhf_ext.constitution import summarise, to_preferences
from rlhf_ext.evaluation.automatic import automatic_suite
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import render_table, write_report
from rlhf_ext.rewards.refusal import Refusal


@dataclass
class Options:
    critic: str = field(default="Qwen/Qwen3-4B-Instruct-2507", metadata={"help": "Hub name, folder, or 'program'."})
    constitution: str = field(default="", metadata={"help": "YAML file; the project's own principles by default."})
    prompts: int = field(default=400, metadata={"help": "How many requests, of the project's own."})
    rounds: int = field(default=2, metadata={"help": "Rounds of critique and revision."})
    tokens: int = field(default=256, metadata={"help": "The longest answer."})
    output: str = field(default="constitutional", metadata={"help": "Folder for steps, models and reports."})
    tiny: bool = field(default=False, metadata={"help": "Other defaults: for a run in seconds, without a hub."})


REAL = {"learning_rate": 5e-5, "num_train_epochs": 2, "per_device_train_batch_size": 8, "save_steps": 25}
TINY = {"learning_rate": 2e-3, "max_steps": 24, "per_device_train_batch_size": 8, "save_steps": 24}
TINY |= {"critic": "program", "prompts": 96, "rounds": 1, "tokens": 24}


def program(prompt: Any, sampling: dict[str, Any]) -> str:
    """A critic and writer that any machine can run: what is long or shouts is cut to its first four words."""
    answer = next((turn["content"] for turn in prompt if turn["role"] == "assistant"), None)
    if answer is None:  # asked for a critique; the answer stands in the request, and is looked at when it is revised
        return "It may be longer than it need be.\nVerdict: revise"
    return " ".join(answer.replace("!", ".").split()[:4]) or "Yes."


def critic_of(options: Options) -> Any:
    """What criticises and revises."""
    if options.critic == "program":
        return ScriptedGenerator(program)
    return LocalGenerator(options.critic, batch_size=16)


def main(arguments: list[str] | None = None) -> None:
    options, args, model = parse(Options, DPOConfig, REAL, TINY, arguments)
    out, tokenizer, policy = Path(options.output), tokenizer_of(model), base_of(model, args)
    out.mkdir(parents=True, exist_ok=True)
    rows = rlhf_ext.assistant_preferences("train").shuffle(seed=0)
    rows = rows.select(range(min(options.prompts, len(rows))))
    heldout = rlhf_ext.assistant_preferences("heldout")
    suite = automatic_suite(
        heldout, ["length", "repetition", Refusal()], sampling={"max_new_tokens": options.tokens, "temperature": 0}
    )

    def measure(policy: Any, name: str) -> Any:
        answers = LocalGenerator(policy, tokenizer, batch_size=64)
        return rlhf_ext.run_suite(answers, suite, name, cache=out / "answers")

    # 1. The model's own answers, criticised and revised.
    before = measure(policy, "before")
    constitution = Constitution.from_file(options.constitution) if options.constitution else Constitution.default()
    sampling = {"max_new_tokens": options.tokens, "temperature": 1.0}
    written = rlhf_ext.sample_candidates(
        LocalGenerator(policy, tokenizer, batch_size=64), rows, 1, store=out / "answers.sqlite", **sampling
    )
    first = [row["responses"][0] for row in written]
    revisions = rlhf_ext.critique_and_revise(
        critic_of(options),
        list(written["prompt"]),
        constitution,
        options.rounds,
        responses=first,
        store=out / "steps.jsonl",
        **sampling,
    )
    harmless = [category != "harmful" for category in written["category"]]
    summary = summarise(revisions, harmless=harmless)
    sys.stdout.write(f"\n{summary}\n\n")

    # 2. What was revised against what it was.
    pairs, left_out = to_preferences(revisions)
    sys.stdout.write(f"{len(pairs)} pairs; {len(left_out)} prompts left out\n")
    if not len(pairs):
        sys.exit("Nothing to learn from: no answer was revised. See the reasons in the summary.")
    data = {"train_dataset": pairs.select_columns(["prompt", "chosen", "rejected"]), "processing_class": tokenizer}
    trainer = rlhf_ext.DPOTrainer(policy, args=args, peft_config=get_peft_config(model), **data)
    after = measure(merged(train(trainer), model, args, out / "model"), "DPO")

    report = evaluation_report([after], [before], title=f"Constitutional DPO by {constitution.provenance}")
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {write_report(report, out / 'report')}\n")
    changes = {figure.name: figure.difference.to_dict() for figure in report.figures}
    found = {"pairs": len(pairs), "left_out": len(left_out), "revisions": summary.to_dict(), "changes": changes}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
