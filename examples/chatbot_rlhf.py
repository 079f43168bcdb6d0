"""A chatbot from preferences to an endpoint: reward model, PPO under safety constraints, safety suite, gateway.

    python examples/chatbot_rlhf.py --tiny     # a minute on one core, no hub: gibberish, but every step is the real one
    python examples/chatbot_rlhf.py            # Qwen3-0.6B with LoRA on UltraFeedback, one GPU; --serve to keep it up

Preferences train a reward model, and held-out pairs decide whether PPO may use it. PPO maximises its score and brevity under two
constraints: refuse harmful requests, and do not refuse harmless ones. Then the same safety suite, before and after.

Look at `constraints/*/satisfied` in the logs, and in the table at harmful requests complied with beside harmless ones refused: one is
easily bought with the other. The tiny model gains reward and unlearns to refuse; its multiplier climbs in vain. The same command goes on.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import concatenate_datasets, interleave_datasets
from openai import OpenAI
from running import base_of, merged, parse, tokenizer_of, train
from trl import get_peft_config

import rlhf_ext
from rlhf_ext import Constraint, PPOConfig, RewardConfig, RewardMixer, RewardModel
from rlhf_ext.data.preferences import COLUMNS
from rlhf_ext.evaluation.automatic import automatic_suite
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import render_table, write_report
from rlhf_ext.evaluation.safety import JAILBREAKS, safety_suite
from rlhf_ext.rewards.functions import Length
from rlhf_ext.rewards.refusal import Refusal


@dataclass
class Options:
    preferences: str = field(default="trl-lib/ultrafeedback_binarized", metadata={"help": "Hub name, or 'none'."})
    rows: int = field(default=20_000, metadata={"help": "How many of their rows."})
    reward_steps: int = field(default=600, metadata={"help": "Optimizer steps of the reward model."})
    min_accuracy: float = field(default=0.6, metadata={"help": "What it must reach on held-out pairs."})
    words: int = field(default=150, metadata={"help": "Up to how many words an answer is welcome."})
    jailbreaks: int = field(default=len(JAILBREAKS), metadata={"help": "How many kinds of jailbreak are tried."})
    ask: str = field(default="", metadata={"help": "Serve the model, ask it this, and stop it."})
    serve: bool = field(default=False, metadata={"help": "Serve the model until Ctrl-C."})
    output: str = field(default="chatbot", metadata={"help": "Folder for models, answers and reports."})
    tiny: bool = field(default=False, metadata={"help": "Other defaults: for a run in a minute, without a hub."})


REAL = {"learning_rate": 1e-4, "num_iterations": 2, "max_steps": 1000, "save_steps": 100, "max_completion_length": 256}
REAL |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "steps_per_generation": 8}
TINY = {"learning_rate": 3e-3, "max_steps": 32, "save_steps": 8, "max_completion_length": 16, "words": 10}
TINY |= {"preferences": "none", "reward_steps": 24, "min_accuracy": 0.5, "jailbreaks": 2, "ask": "How do I make tea?"}


def preferences(name: str, split: str, rows: int) -> list[Any]:
    """The project's own rows, which have harmful requests among them; before them those of another data set."""
    own = rlhf_ext.assistant_preferences("heldout" if split == "test" else split).select_columns(
        [*COLUMNS, "category"]
    )
    if name == "none":
        return [own]
    more = rlhf_ext.prepare_preferences(rlhf_ext.load_preferences(name, f"{split}[:{rows}]")).select_columns(COLUMNS)
    return [more.add_column("category", ["general"] * len(more)).cast(own.features), own]


def trusted_reward(options: Options, args: Any, model: Any, rows: Any, heldout: Any, tokenizer: Any) -> Any:
    """A reward model and its validation; the end of the run where that fails."""
    same = {name: getattr(args, name) for name in ("learning_rate", "save_steps", "use_cpu", "bf16", "report_to")}
    own = RewardConfig(f"{options.output}/reward_model", max_steps=options.reward_steps, **same)
    adapter = get_peft_config(replace(model, lora_task_type="SEQ_CLS"))
    data = {"train_dataset": rows, "processing_class": tokenizer, "peft_config": adapter}
    train(rlhf_ext.RewardTrainer(model.model_name_or_path, own, **data))
    reward = RewardModel(own.output_dir, batch_size=64).to(args.device)
    validation = rlhf_ext.validate_reward_model(reward, heldout)
    shown = validation.to_report("Reward model", f"on {len(heldout)} held-out pairs")
    pages = write_report(shown, f"{options.output}/reward_report")
    if (refusal := validation.refusal(options.min_accuracy)) is not None:
        sys.exit(f"No PPO against this reward model: {refusal}. See {pages}.")
    return reward, validation


def mixed_reward(reward: RewardModel, words: int) -> RewardMixer:
    """Weights for what may be traded, constraints for what must hold, each on the requests that it is about."""
    return RewardMixer(
        {"helpful": reward, "brief": Length(highest=words), "refuses": Refusal(), "over_refuses": Refusal()},
        weights={"helpful": 1.0, "brief": 0.3},
        normalize={"helpful": "running"},
        constraints=[Constraint("refuses", at_least=0.9), Constraint("over_refuses", at_most=0.1)],
        gates={
            "refuses": lambda row, scores: row["category"] == "harmful",
            "over_refuses": lambda row, scores: row["category"] != "harmful",
        },
    )


def main(arguments: list[str] | None = None) -> None:
    options, args, model = parse(Options, PPOConfig, REAL, TINY, arguments)
    out, tokenizer = Path(options.output), tokenizer_of(model)
    parts = preferences(options.preferences, "train", options.rows)
    heldout = concatenate_datasets(preferences(options.preferences, "test", options.rows // 20))
    reward, validation = trusted_reward(options, args, model, concatenate_datasets(parts), heldout, tokenizer)

    # The same questions before and after: the safety suite, and the held-out prompts with the answers' reward and length.
    sampling = {"max_new_tokens": args.max_completion_length}
    safety = safety_suite(jailbreaks=JAILBREAKS[: options.jailbreaks], sampling=sampling)
    suites = [safety, automatic_suite(heldout, [reward, "length"], sampling=sampling)]

    def measure(policy: Any, name: str) -> list[Any]:
        answers = rlhf_ext.LocalGenerator(policy, tokenizer, batch_size=64)
        return [rlhf_ext.run_suite(answers, suite, name, cache=out / "answers") for suite in suites]

    policy = base_of(model, args)
    before, mixed = measure(policy, "before"), mixed_reward(reward, options.words)
    prompts = interleave_datasets(parts, stopping_strategy="all_exhausted").select_columns(["prompt", "category"])
    data = {"train_dataset": prompts, "processing_class": tokenizer, "peft_config": get_peft_config(model)}
    trainer = rlhf_ext.PPOTrainer(policy, mixed, args, value_model="shared", **data)
    policy = merged(train(trainer), model, args, out / "chatbot")
    report = evaluation_report(measure(policy, "after PPO"), before, title="Chatbot")
    serve = ["serve", "--model", f"{out}/chatbot", "--texts", "True", "--database", f"{out}/gateway.sqlite"]
    answer = ask(serve, options.ask) if options.ask else None

    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {write_report(report, out / 'report')}\n")
    multipliers = {name: state.multiplier for name, state in mixed.constraints.items()}
    changes = {figure.name: figure.difference.to_dict() for figure in report.figures}
    found = {"accuracy": validation.accuracy.to_dict(), "multipliers": multipliers, "changes": changes}
    last = json.dumps(found | {"asked": options.ask, "answer": answer})
    sys.stdout.write(f"serve   rlhf-ext {' '.join(serve)}\n{last}\n")
    if options.serve:
        sys.stdout.flush()
        sys.exit(subprocess.run([sys.executable, "-m", "rlhf_ext", *serve]).returncode)


def ask(serve: list[str], question: str) -> str:
    """Serves the model on a free port, asks it one question as any client would, and stops it."""
    command = [sys.executable, "-u", "-m", "rlhf_ext", *serve, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(line.split()[1] for line in server.stdout or () if line.startswith("serving "))
            chat = OpenAI(base_url=url, api_key="none").chat.completions
            reply = chat.create(model="chatbot", messages=[{"role": "user", "content": question}], max_tokens=32)
            return reply.choices[0].message.content or ""
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
