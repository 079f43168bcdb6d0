"""Two rewards in conflict: a learnt multiplier against fixed weights.

    python benchmarks/constraints.py [--quick]

PPO on a tiny model. The reward is highest where 90 % of the characters are vowels, and falls off with the squared distance from
there; the constraint is that 60 % of them are consonants on average. No character is both. One side holds the constraint with
a Lagrangian multiplier, which waits for 15 rollouts until the policy has learnt to follow it; the others mix the two with fixed
weights. After training, 512 completions of each final policy are scored. The settings were found on seeds 0 to 4, which are not
among those of the figures.

To show: on every seed the Lagrangian ends within 0.02 of its threshold; and its reward is at least that of the best fixed weight
that satisfies the constraint on every seed with the same slack, by a paired interval over seeds. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

from quiet import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

THRESHOLD, SLACK, FIRST_SEED, ROLLOUTS = 0.6, 0.02, 100, 150
WEIGHTS = (0.5, 0.6, 0.7)
"""Of the constrained reward; the other has the rest. At 0.5 the constraint is not met, at 0.7 hardly a vowel is left."""


def share(text: str, letters: str) -> float:
    return sum(letter in letters for letter in text.lower()) / max(len(text), 1)


def vowels(completions: list[str], **_: Any) -> list[float]:
    return [1 - ((share(text, "aeiou") - 0.9) / 0.9) ** 2 for text in completions]


def consonants(completions: list[str], **_: Any) -> list[float]:
    return [share(text, "bcdfghjklmnpqrstvwxyz") for text in completions]


def mixed(side: str) -> Any:
    from rlhf_ext.rewards.constraints import Constraint
    from rlhf_ext.rewards.mixing import RewardMixer

    components = {"vowels": vowels, "consonants": consonants}
    if side == "lagrangian":
        constraint = Constraint("consonants", at_least=THRESHOLD, learning_rate=0.13, window=32, delay=15)
        return RewardMixer(components, constraints=[constraint])
    weight = float(side)
    return RewardMixer(components, weights={"vowels": 1 - weight, "consonants": weight})


def train(side: str, seed: int, model: str, rollouts: int) -> dict[str, float]:
    """Trains one side; returns what its final policy scores, what it took, and the last multiplier."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback

    from rlhf_ext import PPOConfig, PPOTrainer, assistant_preferences
    from rlhf_ext.types import text_of

    torch.manual_seed(seed)
    beginnings = [" ".join(text_of(prompt).split()[:2]) for prompt in assistant_preferences("train")["prompt"]]
    with tempfile.TemporaryDirectory() as folder:
        args = PPOConfig(
            folder,
            seed=seed,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=128,
            num_iterations=2,
            max_steps=2 * rollouts,
            max_completion_length=12,
            learning_rate=1e-2,
            kl_coef=0.0,
            entropy_coef=0.02,
            **QUIET,
            logging_strategy="no",
        )
        trainer = PPOTrainer(
            model,
            reward := mixed(side),
            args,
            train_dataset=Dataset.from_dict({"prompt": beginnings}),
            eval_dataset=Dataset.from_dict({"prompt": (beginnings * 4)[:512]}),
            value_model="shared",
        )
        trainer.remove_callback(PrinterCallback)
        started = time.process_time()
        trainer.train()
        seconds = time.process_time() - started
        figures = trainer.evaluate()
    return {
        "vowels": figures["eval_rewards/vowels/mean"],
        "consonants": figures["eval_rewards/consonants/mean"],
        "cpu_s": seconds,
        **{f"{name} multiplier": state.multiplier for name, state in reward.constraints.items()},
    }


def report(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The table, and the two figures."""
    from rlhf_ext.stats import paired_difference

    sys.stdout.write(f"\n{'side':<12}{'reward':>8}{'constrained':>13}{'worst':>8}  by seed\n")
    for side, runs in found.items():
        reward, kept = ([run[name] for run in runs] for name in ("vowels", "consonants"))
        by_seed = " ".join(f"{one:.3f}" for one in kept)
        name = side if side == "lagrangian" else f"weight {side}"
        sys.stdout.write(
            f"{name:<12}{sum(reward) / len(runs):>8.3f}{sum(kept) / len(runs):>13.3f}{min(kept):>8.3f}  {by_seed}\n"
        )
    misses = [abs(run["consonants"] - THRESHOLD) for run in found["lagrangian"]]
    sys.stdout.write(f"the Lagrangian's distance from {THRESHOLD}: largest {max(misses):.3f} (to show: {SLACK})\n")
    figures: dict[str, Any] = {"largest_distance": max(misses), "runs": found}
    fixed = {side: runs for side, runs in found.items() if side != "lagrangian"}
    satisfying = {s: runs for s, runs in fixed.items() if min(run["consonants"] for run in runs) >= THRESHOLD - SLACK}
    if not satisfying:
        sys.stdout.write("no fixed weight satisfies the constraint on every seed\n")
        return figures
    best = max(satisfying, key=lambda side: sum(run["vowels"] for run in satisfying[side]))
    gain = paired_difference(*([run["vowels"] for run in found[side]] for side in (best, "lagrangian")))
    sys.stdout.write(f"reward, the Lagrangian's less that of the best satisfying weight ({best}): {gain}\n")
    return {**figures, "best_weight": float(best), "gain": gain.to_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="pairs: each side is trained on each seed")
    parser.add_argument("--quick", action="store_true", help="two seeds and few rollouts: that it runs, not a figure")
    options = parser.parse_args()
    import torch
    import transformers

    from rlhf_ext._allocator import keep_freed_memory
    from rlhf_ext.embedded import tiny_model

    keep_freed_memory()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sides = ["lagrangian", *(str(weight) for weight in WEIGHTS)]
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(f"{folder}/tiny", pretrain_steps=20 if options.quick else 150)
        for seed in range(FIRST_SEED, FIRST_SEED + (2 if options.quick else options.seeds)):
            for side in sides[:3] if options.quick else sides:
                one = train(side, seed, model, 4 if options.quick else ROLLOUTS)
                found[side].append(one)
                sys.stdout.write(
                    f"  seed {seed}, {side}: reward {one['vowels']:.3f}, constrained {one['consonants']:.3f}, "
                    f"{one['cpu_s']:.1f} CPU-s\n"
                )
                sys.stdout.flush()
    figures = report({side: runs for side, runs in found.items() if runs})
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
