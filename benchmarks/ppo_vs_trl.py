"""What a thousand PPO completions cost: ours, TRL 1.12's PPOTrainer (the last there was), and a bare torch loop.

    python benchmarks/ppo_vs_trl.py [--pairs 5] [--workloads summaries chat ...] [--sides ...] [--phases] [--quick]
        [--trl FOLDER_WITH_TRL_1_12]

The same policy (a small Llama), reward model, prompts, lengths, PPO epochs and minibatches on every side; TRL 1.12 at
accumulation 1, where it makes the updates that it promises, under today's torch and transformers. Each run has a process of
its own with one thread; the sides of a round have the same seed and come in random order, and a ratio is taken within its
round. Workloads:

- summaries: the shape of TRL 1.12's own example (pythia-160m on TL;DR): prompts of 80 to 200 tokens, 53 for every completion,
  an LM head of two fifths of the backbone's size;
- chat: short prompts, and completions of mixed length (the end token is a frequent one);
- learning: many rollouts of a small model with short completions, for the reward and the KL that are reached;
- memory: one short rollout of a larger model, four full models against LoRA adapters on one base.

With `--phases` each side runs once more (once in all, with `--pairs 0`) and a table says where its seconds went. TRL 1.12 is
fetched with pip unless `--trl` names a folder with it. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIDES = {
    "summaries": ("trl", "separate", "shared", "separate_grouped", "grouped", "bare"),
    "chat": ("trl", "separate", "shared", "grouped"),
    "learning": ("trl", "separate", "shared"),
    "memory": ("trl", "one_base"),
}
END = {"summaries": "<|endoftext|>", "chat": ".", "learning": ".", "memory": "<|endoftext|>"}
"""The token that ends a completion: one that is never sampled, or one that often is."""


def settings_of(name: str, quick: bool) -> tuple[dict[str, int], dict[str, Any]]:
    """The model's size, and the fields of the config."""
    size = {"hidden_size": 256, "num_hidden_layers": 4, "vocab_size": 4000, "pretrain_steps": 80}
    config = {
        "per_device_train_batch_size": 32,
        "num_mini_batches": 4,
        "num_ppo_epochs": 4,
        "total_episodes": 64,
        "response_length": 53,
        "local_rollout_forward_batch_size": 32,
        "learning_rate": 1e-4,
        "temperature": 0.7,
        "kl_coef": 0.05,
    }
    if name == "chat":
        config |= {"total_episodes": 128, "response_length": 64}
    if name == "learning":
        size = {"hidden_size": 128, "num_hidden_layers": 2, "vocab_size": 1000, "pretrain_steps": 150}
        config |= {"total_episodes": 1024, "response_length": 24, "learning_rate": 3e-4}
    if name == "memory":
        size |= {"hidden_size": 1024, "num_hidden_layers": 12, "pretrain_steps": 0}
        config |= {"per_device_train_batch_size": 8, "total_episodes": 8, "response_length": 16, "num_ppo_epochs": 1}
    if quick:
        size = {"pretrain_steps": 5}
        config |= {"per_device_train_batch_size": 8, "total_episodes": 16, "response_length": 16}
    return size, config


def build(name: str, folder: Path, quick: bool) -> None:
    """A workload: policy, reward model and adapter, prompts and settings."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    from rlhf_ext import assistant_preferences
    from rlhf_ext.embedded import tiny_model

    size, config = settings_of(name, quick)
    # Words for tokens: ours scores text, 1.12 ids, and what is compared must be the same.
    base = tiny_model(folder / "base", words=True, **size)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.eos_token = END[name]
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    reward = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    policy.generation_config.eos_token_id = tokenizer.eos_token_id  # or the base's own would end completions as well
    torch.nn.init.normal_(reward.score.weight, std=2 * reward.config.hidden_size**-0.5)
    for model, kind in ((policy, "policy"), (reward, "reward")):
        model.config.eos_token_id = tokenizer.eos_token_id
        model.save_pretrained(folder / kind)
        tokenizer.save_pretrained(folder / kind)
    adapter = AutoModelForSequenceClassification.from_pretrained(folder / "policy", num_labels=1, dtype=torch.float32)
    lora = LoraConfig(r=16, target_modules="all-linear", task_type="SEQ_CLS")
    get_peft_model(adapter, lora).save_pretrained(folder / "reward_adapter")
    tokenizer.save_pretrained(folder / "reward_adapter")
    texts = [row["prompt"][0]["content"] for row in assistant_preferences("train")]
    if name == "summaries":  # as many rows as needed for the length of a post, which differs as posts do
        joined = [" ".join(texts[i : i + 24]) for i in range(len(texts) - 24)]
        lengths = random.Random(0).choices(range(10, 21) if quick else range(80, 201), k=len(joined))
        texts = [tokenizer.decode(tokenizer(text)["input_ids"][:n]) for text, n in zip(joined, lengths, strict=True)]
    # Between special tokens nothing grows together where prompt and completion meet.
    prompts = [text[:1500] + tokenizer.bos_token for text in texts[: config["total_episodes"]]]
    work = {"config": config, "prompts": prompts, "ends": END[name] == "."}
    (folder / "workload.json").write_text(json.dumps(work), encoding="utf-8")


def fetch_trl(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "trl==1.12.0"]
    subprocess.run(command, check=True)
    return folder


def run(side: str, folder: Path, seed: int, trl: Path, *flags: str) -> dict[str, Any]:
    """One side, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(trl)] * (side == "trl") + [str(HERE.parent), str(HERE)])
    command = [sys.executable, str(HERE / "ppo_sides.py"), side, str(folder), str(seed), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rounds(name: str, folder: Path, pairs: int, trl: Path) -> dict[str, list[dict[str, float]]]:
    order, found = random.Random(0), {side: [] for side in SIDES[name]}
    for seed in range(pairs):
        for side in order.sample(SIDES[name], len(SIDES[name])):
            one = run(side, folder, seed, trl)
            found[side].append(one)
            words = f"{one['cpu_s']:.1f} CPU-s, {one['peak_mb']:.0f} MB"
            sys.stdout.write(f"  {name}, round {seed + 1}/{pairs}, {side}: {words}\n")
            sys.stdout.flush()
    return found


def compare(name: str, found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Ratios within rounds, and score less KL cost against TRL's, with bootstrap intervals over rounds."""
    from rlhf_ext.stats import bootstrap_mean, paired_difference

    def ratio(top: str, bottom: str, figure: str = "cpu_s") -> Any:
        return bootstrap_mean([a[figure] / b[figure] for a, b in zip(found[top], found[bottom], strict=True)])

    ours = [side for side in found if side not in ("trl", "bare")]
    estimates = {f"CPU, trl / {side}": ratio("trl", side) for side in ours}
    estimates |= {f"peak memory, {side} / trl": ratio(side, "trl", "peak_mb") for side in ours}
    if {"bare", "separate"} <= found.keys():
        estimates["CPU, separate / bare"] = ratio("separate", "bare")
    for side in ours:
        balance = [[one["rlhf_reward"] for one in found[which]] for which in ("trl", side)]
        estimates[f"score - KL cost, {side} less trl"] = paired_difference(*balance)
    return estimates


def report(name: str, found: dict[str, list[dict[str, float]]], estimates: dict[str, Any]) -> None:
    sys.stdout.write(
        f"\n{name}\n{'side':<10}{'CPU-s per 1,000':>17}{'peak MB':>9}{'score':>8}{'KL':>7}{'score - KL cost':>17}\n"
    )
    for side, runs in found.items():
        mean = {key: sum(one[key] for one in runs) / len(runs) for key in runs[0]}
        sys.stdout.write(
            f"{side:<10}{1000 * mean['cpu_s'] / mean['completions']:>17.1f}{mean['peak_mb']:>9.0f}"
            f"{mean['scores']:>8.3f}{mean['kl']:>7.2f}{mean['rlhf_reward']:>17.3f}\n"
        )
    for label, estimate in estimates.items():
        sys.stdout.write(f"{label}: {estimate}\n")
    sys.stdout.write("\n")


def report_phases(name: str, folder: Path, trl: Path) -> dict[str, dict[str, float]]:
    """Prints CPU seconds per 1,000 completions by phase and side."""
    found = {}
    for side in SIDES[name]:
        one = run(side, folder, 0, trl, "--phases")
        found[side] = {phase: 1000 * s / one["completions"] for phase, s in one["phases"].items()}
    sys.stdout.write(f"\n{name}: CPU-s per 1,000 completions by phase\n{'':<36}")
    sys.stdout.write("".join(f"{side:>10}" for side in found) + "\n")
    for phase in sorted({phase for one in found.values() for phase in one}):
        sys.stdout.write(f"{phase:<36}" + "".join(f"{one.get(phase, 0.0):>10.1f}" for one in found.values()) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds, each with a seed of its own")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few steps: that it runs, not a figure")
    parser.add_argument("--workloads", nargs="+", choices=list(SIDES), default=list(SIDES), help="which to run")
    parser.add_argument("--sides", nargs="+", help="which sides to run; all that the workload has by default")
    parser.add_argument("--phases", action="store_true", help="also where the seconds go")
    parser.add_argument("--trl", type=Path, help="folder with TRL 1.12 (pip install --no-deps --target)")
    options = parser.parse_args()
    if options.sides:
        for name in SIDES:
            SIDES[name] = tuple(side for side in SIDES[name] if side in ("trl", *options.sides))
    with tempfile.TemporaryDirectory() as scratch:
        trl = options.trl or fetch_trl(Path(scratch) / "trl")
        figures = {}
        for name in options.workloads:
            folder = Path(scratch) / name
            folder.mkdir()
            build(name, folder, options.quick)
            figures[name] = {"phases": report_phases(name, folder, trl)} if options.phases else {}
            if not options.pairs:
                continue
            found = rounds(name, folder, 2 if name == "memory" else options.pairs, trl)
            estimates = compare(name, found)
            report(name, found, estimates)
            figures[name] |= {"runs": found, "estimates": {key: one.to_dict() for key, one in estimates.items()}}
        sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
