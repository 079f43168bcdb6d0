"""One side of `ppo_vs_trl.py`, run in a process of its own: trains, and prints its cost as a line of JSON.

    python benchmarks/ppo_sides.py SIDE WORKLOAD_FOLDER SEED [--phases]

SIDE is `trl`, `separate` or `shared` (the critic), the latter two also as `separate_grouped` and `grouped` (`group_by_length`),
`one_base` or `bare`. With `--phases` the line also says where the seconds went. `trl` needs TRL 1.12 on the path. All sides read
the same workload: policy, reward model, prompts and settings.
"""

from __future__ import annotations

import copy
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from ppo_phases import phases_of
from quiet import QUIET
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def load(side: str, folder: Path) -> dict[str, Any]:
    settings = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    causal, classifier = AutoModelForCausalLM.from_pretrained, AutoModelForSequenceClassification.from_pretrained
    work = {
        "settings": settings,
        "tokenizer": tokenizer,
        "rows": Dataset.from_dict({"input_ids": tokenizer(settings["prompts"])["input_ids"]}),
        "policy": causal(folder / "policy", dtype=torch.float32),
        "value": "shared" if side in ("shared", "grouped") else None,
        "reference": None,
        "reward": str(folder / "reward_adapter"),
    }
    if side != "one_base":
        work["reference"] = causal(folder / "policy", dtype=torch.float32)
        work["reward"] = classifier(folder / "reward", num_labels=1, dtype=torch.float32)
    if side in ("trl", "separate", "separate_grouped", "bare"):
        work["value"] = classifier(folder / "reward", num_labels=1, dtype=torch.float32)
    return work


def prepare(side: str, work: dict[str, Any], seed: int) -> Callable[[], list[dict[str, float]]]:
    """A trainer with 1.12's config fields, which both libraries read; called, it trains and gives what was logged of each rollout."""
    if side == "bare":
        from ppo_bare_loop import bare_loop

        return lambda: bare_loop(work, seed)
    if side == "trl":
        from trl.experimental.ppo import PPOConfig, PPOTrainer
    else:
        from rlhf_ext import PPOConfig, PPOTrainer
    options = dict(work["settings"]["config"])
    if side in ("grouped", "separate_grouped"):
        options["group_by_length"] = True
    extra = {}
    if side != "trl" and not work["settings"]["ends"]:
        # 1.12 scores a completion that was cut off at its last token, we put EOS there; for the same reward on all sides,
        # ours gets a tokenizer that knows no EOS.
        extra["reward_processing_classes"] = copy.deepcopy(work["tokenizer"])
        extra["reward_processing_classes"].eos_token = None
    if side == "one_base":
        from peft import LoraConfig

        options["share_base"] = True
        extra["peft_config"] = LoraConfig(r=16, target_modules="all-linear")
    args = PPOConfig(
        tempfile.mkdtemp(),
        seed=seed,
        **QUIET,
        logging_steps=1,
        num_sample_generations=0,
        stop_token="eos",
        lr_scheduler_type="constant",
        **options,
    )
    trainer = PPOTrainer(
        args=args,
        processing_class=work["tokenizer"],
        model=work["policy"],
        ref_model=work["reference"],
        reward_model=work["reward"],
        value_model=work["value"],
        train_dataset=work["rows"],
        **extra,
    )

    def train() -> list[dict[str, float]]:
        trainer.train()
        return [entry for entry in trainer.state.log_history if "objective/scores" in entry]

    return train


def main() -> None:
    side, folder, seed, with_phases = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "--phases" in sys.argv
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    work = load(side, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.manual_seed(seed)
    train = prepare(side, work, seed)  # importing and setting up are done once, however many completions follow
    phases = phases_of(work) if with_phases else None
    started = time.process_time()
    log = train()
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tail = log[-max(1, len(log) // 4) :]
    found = {
        "cpu_s": seconds,
        "completions": work["settings"]["config"]["total_episodes"],
        "peak_mb": peak / 1024,
        "loaded_mb": before / 1024,
        **{
            name: sum(entry[f"objective/{name}"] for entry in tail) / len(tail)
            for name in ("scores", "kl", "rlhf_reward")
        },
    }
    if phases:
        found["phases"] = phases.finish()
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
