"""Summaries by two roads at the same price: PPO and DPO on one reward, compared by ROUGE.

    python examples/summarization_rlhf.py --tiny    # under a minute on one core, no hub: the project's own texts, gibberish
    python examples/summarization_rlhf.py --nli FacebookAI/roberta-large-mnli    # Qwen3-0.6B with LoRA on TL;DR, one GPU

The reward asks for three things: faithful to the text (by an NLI model, or without `--nli` by the share of words that the text has),
covering what the reference says, and short. PPO learns from `--budget` completions as it writes them. DPO gets as many, which the model
before training writes: four a text (more where there are too few texts), scored by the same reward, the best against the
worst; what is the same is how many completions are written and scored, not the gradient steps.

Look at the third table, DPO against PPO, whose interval says whether one is better at all, and at the words beside ROUGE, which they
move. That the reward rises is what training is for; that ROUGE-2 does is news. Everything is in `--output`; the same command goes on.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_dataset
from running import base_of, merged, parse, tokenizer_of, train
from trl import get_peft_config

import rlhf_ext
from rlhf_ext import DPOConfig, PPOConfig, RewardMixer
from rlhf_ext.evaluation.automatic import AnswerMetric, automatic_suite
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import render_table, write_report
from rlhf_ext.rewards.functions import Factuality, Length, Rouge


@dataclass
class Options:
    data: str = field(default="trl-lib/tldr", metadata={"help": "Hub name, with `prompt` and `completion`; or 'own'."})
    nli: str = field(
        default="", metadata={"help": "NLI model that tells what the text supports. Without: shared words."}
    )
    budget: int = field(default=8192, metadata={"help": "Completions that each of PPO and DPO may learn from."})
    heldout: int = field(default=500, metadata={"help": "Held-out texts."})
    words: int = field(default=40, metadata={"help": "Up to how many words a summary is welcome."})
    dpo_learning_rate: float = field(default=5e-5, metadata={"help": "DPO's; --learning_rate is PPO's."})
    output: str = field(default="summarization", metadata={"help": "Folder for models, answers and reports."})
    tiny: bool = field(default=False, metadata={"help": "Other defaults: for a run in seconds, without a hub."})


REAL = {"learning_rate": 1e-4, "num_iterations": 2, "save_steps": 64, "max_completion_length": 96, "kl_coef": 0.02}
REAL |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "steps_per_generation": 8}
TINY = {"learning_rate": 3e-3, "num_iterations": 2, "save_steps": 64, "max_completion_length": 24, "kl_coef": 0.02}
TINY |= {"data": "own", "budget": 384, "heldout": 24, "words": 8, "dpo_learning_rate": 1e-3, "steps_per_generation": 4}


def texts(name: str, heldout: int) -> tuple[Dataset, Dataset]:
    """Rows to learn from and held-out rows: `prompt` (messages), `text` and `reference` (a summary)."""

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        text = row["prompt"].removesuffix("TL;DR:").strip()
        prompt = [{"role": "user", "content": f"Summarise this post in one or two sentences.\n\n{text}"}]
        return {"prompt": prompt, "text": text, "reference": row["completion"].strip()}

    def own(row: dict[str, Any]) -> dict[str, Any]:
        return {"text": row["prompt"][0]["content"], "reference": row["chosen"][0]["content"]}

    columns = ["prompt", "text", "reference"]
    if name == "own":
        rows = concatenate_datasets([rlhf_ext.assistant_preferences(part) for part in ("train", "heldout")])
        rows = rows.filter(lambda row: row["category"] == "summary").map(own).select_columns(columns)
        parts = rows.train_test_split(heldout, seed=0)
        return parts["train"], parts["test"]
    train_rows, test_rows = load_dataset(name, split="train"), load_dataset(name, split=f"test[:{heldout}]")
    return train_rows.map(asked).select_columns(columns), test_rows.map(asked).select_columns(columns)


def main(arguments: list[str] | None = None) -> None:
    options, args, model = parse(Options, PPOConfig, REAL, TINY, arguments)
    out, tokenizer, lora = Path(options.output), tokenizer_of(model), get_peft_config(model)
    rows, heldout = texts(options.data, options.heldout)
    said = Factuality(options.nli, "text") if options.nli else Rouge("text", "rouge1", measure="precision")
    reward = RewardMixer(
        {"faithful": said, "covers": Rouge(variant="rouge1", measure="recall"), "short": Length(3, options.words)},
        weights={"faithful": 1.0, "covers": 1.0, "short": 0.5},
    )
    sampling = {"max_new_tokens": args.max_completion_length, "temperature": args.temperature}
    metrics = ["rouge1", "rouge2", "rougeL", "length", AnswerMetric(reward, "reward")]
    suite = automatic_suite(heldout, metrics, name="summaries", samples=4, sampling=sampling)

    def measure(policy: Any, name: str) -> Any:
        answers = rlhf_ext.LocalGenerator(policy, tokenizer, batch_size=64)
        return rlhf_ext.run_suite(answers, suite, name, cache=out / "answers")

    policy = base_of(model, args)
    before = measure(policy, "before")

    # DPO: the budget is written by the model before, scored, and learnt from in pairs.
    asked = rows.shuffle(seed=0).select(range(min(len(rows), options.budget // 4)))
    writer = rlhf_ext.LocalGenerator(policy, tokenizer, batch_size=64)
    per_text, settings = options.budget // len(asked), {"store": out / "candidates.sqlite", **sampling}
    written = rlhf_ext.sample_candidates(writer, asked, per_text, **settings)
    labels = rlhf_ext.from_rewards(reward.eval(), written)
    same = {n: getattr(args, n) for n in ("use_cpu", "bf16", "gradient_checkpointing", "report_to", "save_steps")}
    same |= {"learning_rate": options.dpo_learning_rate, "num_train_epochs": args.num_iterations}
    pairs = Dataset.from_list(labels.preferences).select_columns(["prompt", "chosen", "rejected"])
    data = {"train_dataset": pairs, "processing_class": tokenizer, "peft_config": lora}
    dpo = train(rlhf_ext.DPOTrainer(policy, args=DPOConfig(str(out / "dpo"), **same), **data))
    by_dpo = measure(merged(dpo, model, args, out / "dpo_model"), "DPO")

    # PPO: the budget is written by the model as it learns.
    args.max_steps = math.ceil(options.budget / args.generation_batch_size) * args.updates_per_rollout
    data |= {"train_dataset": rows, "value_model": "shared"}
    ppo = train(rlhf_ext.PPOTrainer(base_of(model, args), reward.train(), args, **data))
    by_ppo = measure(merged(ppo, model, args, out / "ppo_model"), "PPO")

    found: dict[str, Any] = {"budget": options.budget, "dpo_pairs": len(pairs), "ppo_updates": args.max_steps}
    for new, old in ((by_ppo, before), (by_dpo, before), (by_dpo, by_ppo)):
        name = f"{new.model} against {old.model}"
        report = evaluation_report([new], [old], title=f"Summaries: {name}")
        path = write_report(report, out / name.replace(" ", "_"))
        sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
        found[name] = {figure.name: figure.difference.to_dict() for figure in report.figures}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
