"""RLAIF: a judge labels pairs of a model's own answers, and a reward model learns from how sure it was.

    python examples/rlaif_labels.py --tiny    # under a minute on one core, no hub
    python examples/rlaif_labels.py           # Qwen3-0.6B answers, a larger Qwen3 judges; --base_url for one behind an endpoint

Four answers to each request are sampled, and every pair is judged in both orders: a label is p(better) over both, and where the orders
disagree there is none. All is kept in a store, under a hard budget: a run that is stopped or hits the limit goes on with the same command
(and a larger `--max_requests`). With `--tiny` the judge is a program of known taste, for no model of 118,000 parameters can judge.

Look at `orders_agree`, `position_bias` and `length_bias` before you train on the labels: they say what the judge goes by, with intervals.
Then at the accuracy of the reward model on labels that it has not seen. Labels, reasons and figures are in `--output`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from running import base_of, parse, tokenizer_of, train
from trl import get_peft_config

import rlhf_ext
from rlhf_ext import Budget, EndpointGenerator, LocalGenerator, PairwiseLabeler, RewardConfig, ScriptedGenerator
from rlhf_ext.evaluation.report import render_table, write_report


@dataclass
class Options:
    judge: str = field(default="Qwen/Qwen3-4B-Instruct-2507", metadata={"help": "Name, folder, or 'program'."})
    base_url: str = field(default="", metadata={"help": "OpenAI-compatible endpoint of the judge, if it has one."})
    rubric: str = field(default="assistant", metadata={"help": "A rubric by name, or criteria in words."})
    prompts: int = field(default=400, metadata={"help": "How many requests, of the project's own."})
    answers: int = field(default=4, metadata={"help": "Answers to each."})
    max_requests: int = field(default=10_000, metadata={"help": "Hard limit on questions to the judge."})
    tokens: int = field(default=256, metadata={"help": "The longest answer."})
    output: str = field(default="rlaif", metadata={"help": "Folder for labels, models and reports."})
    tiny: bool = field(default=False, metadata={"help": "Other defaults: for a run in seconds, without a hub."})


REAL = {"learning_rate": 1e-4, "num_train_epochs": 2, "per_device_train_batch_size": 8, "save_steps": 50}
REAL |= {"strength_loss": "soft_label"}
TINY = {"learning_rate": 1e-2, "max_steps": 24, "per_device_train_batch_size": 8, "save_steps": 24}
TINY |= {"strength_loss": "soft_label", "judge": "program", "prompts": 80, "answers": 3, "tokens": 16}


def taste(prompt: Any, choices: list[str]) -> list[float]:
    """A judge that any machine can run: it likes vowels, and a little whatever it is shown first."""
    answers = [prompt[-1]["content"].split(f"Answer {number}: ")[1].splitlines()[0] for number in (1, 2)]
    score = [sum(letter in "aeiou" for letter in answer) / len(answer) for answer in answers]
    return [2.718 ** (60 * (score[0] - score[1]) + 0.3), 1.0]


def judge_of(options: Options) -> Any:
    """Who judges."""
    if options.judge == "program":
        return ScriptedGenerator([], choice_probs=taste)
    if options.base_url:
        return EndpointGenerator(options.base_url, options.judge)
    return LocalGenerator(options.judge, batch_size=16)


def main(arguments: list[str] | None = None) -> None:
    options, args, model = parse(Options, RewardConfig, REAL, TINY, arguments)
    out, tokenizer = Path(options.output), tokenizer_of(model)
    out.mkdir(parents=True, exist_ok=True)
    store = out / "judgements.sqlite"

    # 1. Answers to choose among, and what a judge says of each pair.
    rows = rlhf_ext.assistant_preferences("train").select_columns(["prompt", "category"]).shuffle(seed=0)
    rows = rows.select(range(min(options.prompts, len(rows))))
    writer = LocalGenerator(base_of(model, args), tokenizer, batch_size=64)
    sampling = {"max_new_tokens": options.tokens, "temperature": 1.0}
    candidates = rlhf_ext.sample_candidates(writer, rows, options.answers, store=store, **sampling)
    budget = Budget(max_requests=options.max_requests)
    labeler = PairwiseLabeler(judge_of(options), options.rubric, store=store, budget=budget, model=options.judge)
    labels = labeler.label(candidates)
    labels.save(out / "labels")
    sys.stdout.write(f"\n{labels}\n\n")
    if labels.unfinished:
        sys.exit(
            f"The budget is used up, {labels.unfinished} pairs are not judged: go on with a larger --max_requests."
        )

    # 2. A reward model that learns how sure the judge was, measured on requests that it has not seen.
    heldout = set(map(str, candidates["prompt"][::5]))
    parts = {True: [], False: []}
    for row in labels.preferences:
        parts[str(row["prompt"]) in heldout].append(row)
    columns = ["prompt", "chosen", "rejected", "preference_strength"]
    pairs = rlhf_ext.prepare_preferences(parts[False]).select_columns(columns)
    adapter = get_peft_config(replace(model, lora_task_type="SEQ_CLS"))
    data = {"train_dataset": pairs, "processing_class": tokenizer, "peft_config": adapter}
    folder = train(rlhf_ext.RewardTrainer(model.model_name_or_path, args, **data))
    reward = rlhf_ext.RewardModel(folder, batch_size=64).to(args.device)
    validation = rlhf_ext.validate_reward_model(reward, parts[True])
    report = validation.to_report("Reward model from AI feedback", f"on {len(parts[True])} pairs of other requests")
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {write_report(report, out / 'report')}\n")

    measures = {name: measure.to_dict() for name, measure in labels.measures.items()}
    found = {"labels": len(labels.preferences), "left_out": len(labels.left_out), "requests": labels.spent["requests"]}
    sys.stdout.write(json.dumps({**found, "measures": measures, "accuracy": validation.accuracy.to_dict()}) + "\n")


if __name__ == "__main__":
    main()
