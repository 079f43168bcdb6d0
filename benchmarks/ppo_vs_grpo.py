"""Completions and CPU time that PPO, GRPO and RLOO need to reach a reward, and the reward they have at equal KL.

    python benchmarks/ppo_vs_grpo.py [--seeds 5] [--quick]

The tiny model learns to write vowels. All methods draw 32 completions a rollout; GRPO and RLOO take 4 for each of 8 prompts, PPO
1 for each of 32, with a value head on the policy. None has a KL penalty: its coefficient means something else in each (PPO and
RLOO sum it over a completion, GRPO averages it over tokens, beside advantages of deviation 1), and KL is what is measured. Each
method gets the best of the same grid (learning rate, epochs over a rollout) on a seed that is not among those of the
comparison. After every rollout, reward and KL are measured on the same held-out prompts, in the same way for all and outside
the CPU time. KL is in nats a completion; a method's reward at equal KL is read off its curve between the two measurements
around it. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from itertools import pairwise, product
from typing import Any

from quiet import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROLLOUT, LENGTH = 32, 24
TARGET, BUDGET = 0.50, 50.0
"""Share of vowels to reach (0.3 at the start), and the KL at which rewards are compared."""
GRID = tuple(product((1e-3, 3e-3, 1e-2), (1, 4)))


def vowels(completions: list, **_: Any) -> list[float]:
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in texts]


def make_probe(reference: Any, tokenizer: Any, prompts: list, updates: int) -> Any:
    """A callback that measures reward and KL once a rollout, and keeps the CPU time of all else."""
    from transformers import TrainerCallback

    from rlhf_ext import LocalGenerator
    from rlhf_ext.evaluation.before_after import sequence_logprobs

    class Probe(TrainerCallback):
        def __init__(self):
            self.curve: list[dict[str, float]] = []
            self.measuring = 0.0
            self.started = time.process_time()

        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step % updates:
                return
            began = time.process_time()
            answers = LocalGenerator(model, tokenizer, len(prompts)).generate(
                prompts, max_new_tokens=LENGTH, temperature=1.0, seed=1
            )
            kls = [
                a - b
                for a, b in zip(
                    *(sequence_logprobs(m, tokenizer, prompts, answers, len(prompts)) for m in (model, reference)),
                    strict=True,
                )
            ]
            model.train()
            self.curve.append(
                {
                    "completions": state.global_step // updates * ROLLOUT,
                    "cpu_s": began - self.started - self.measuring,
                    "reward": sum(vowels(answers)) / len(answers),
                    "kl": sum(kls) / len(kls),
                }
            )
            self.measuring += time.process_time() - began

    return Probe()


def curve_of(method: str, rate: float, epochs: int, seed: int, rollouts: int, work: dict[str, Any]) -> list[dict]:
    """Trains once; reward, KL, completions and CPU time after each rollout."""
    import torch
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    import rlhf_ext

    module = rlhf_ext if method == "PPO" else trl
    kl = {"kl_coef": 0.0} if method == "PPO" else {"beta": 0.0}
    updates = 4 * epochs
    args = getattr(module, f"{method}Config")(
        tempfile.mkdtemp(),
        max_steps=rollouts * updates,
        learning_rate=rate,
        num_iterations=epochs,
        per_device_train_batch_size=ROLLOUT // 4,
        steps_per_generation=4,
        num_generations=1 if method == "PPO" else 4,
        max_completion_length=LENGTH,
        lr_scheduler_type="constant",
        seed=seed,
        **QUIET,
        logging_steps=10,
        **kl,
    )
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(work["folder"])
    reference = AutoModelForCausalLM.from_pretrained(work["folder"], dtype=torch.float32)
    policy = AutoModelForCausalLM.from_pretrained(work["folder"], dtype=torch.float32)
    probe = make_probe(reference, tokenizer, work["heldout"], updates)
    critic = {"value_model": "shared"} if method == "PPO" else {}
    trainer = getattr(module, f"{method}Trainer")(
        policy,
        vowels,
        args=args,
        train_dataset=work["prompts"],
        processing_class=tokenizer,
        callbacks=[probe],
        **critic,
    )
    trainer.remove_callback(PrinterCallback)
    probe.started = time.process_time()
    trainer.train()
    return probe.curve


def reached(curve: list[dict], target: float) -> dict[str, float] | None:
    """The first point from which on the mean of two measurements is at the target."""
    for before, after in pairwise(curve):
        if (before["reward"] + after["reward"]) / 2 >= target:
            return after
    return None


def reward_at(curve: list[dict], budget: float) -> float | None:
    """Reward where the KL first passes the budget, between the measurements around it."""
    last = {"kl": 0.0, "reward": curve[0]["reward"]}
    for point in curve:
        if point["kl"] >= budget:
            share = (budget - last["kl"]) / (point["kl"] - last["kl"])
            return last["reward"] + share * (point["reward"] - last["reward"])
        last = point
    return None


def tuned(method: str, rollouts: int, work: dict[str, Any]) -> tuple[float, int]:
    """The grid's best: fewest completions to the target, else the highest reward at the end."""
    found = []
    for rate, epochs in GRID:
        curve = curve_of(method, rate, epochs, 1000, rollouts, work)
        hit = reached(curve, TARGET)
        last = sum(point["reward"] for point in curve[-3:]) / len(curve[-3:])
        found.append(((hit or {"completions": float("inf")})["completions"], -last, rate, epochs))
        sys.stdout.write(
            f"  tuning {method}, lr {rate:g}, {epochs} epochs: {found[-1][0]:g} completions, {last:.3f} at the end\n"
        )
        sys.stdout.flush()
    return min(found)[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few rollouts: that it runs, not a figure")
    options = parser.parse_args()
    rollouts, seeds = (3, 2) if options.quick else (40, options.seeds)

    import torch
    import transformers

    from rlhf_ext import assistant_preferences
    from rlhf_ext.embedded import tiny_model
    from rlhf_ext.stats import bootstrap_mean, paired_difference

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        work = {
            "folder": tiny_model(f"{scratch}/tiny"),
            "prompts": assistant_preferences("train").select_columns(["prompt"]),
            "heldout": list(assistant_preferences("heldout")["prompt"])[:64],
        }
        curves: dict[str, list[list[dict]]] = {}
        chosen = {}
        for method in ("PPO", "GRPO", "RLOO"):
            chosen[method] = (3e-3, 1) if options.quick else tuned(method, rollouts, work)
            curves[method] = [curve_of(method, *chosen[method], seed, rollouts, work) for seed in range(seeds)]
    sys.stdout.write(
        f"\nto a reward of {TARGET} (mean over seeds that reach it), and the reward at a KL of {BUDGET:g}\n"
    )
    figures: dict[str, Any] = {"chosen": chosen, "curves": curves}
    for method, runs in curves.items():
        hits = [hit for hit in (reached(curve, TARGET) for curve in runs) if hit]
        words = f"{method:<5} lr {chosen[method][0]:g}, {chosen[method][1]} epochs: {len(hits)} of {seeds} reach it"
        for key, label in (("completions", "completions"), ("cpu_s", "CPU-s"), ("kl", "KL")):
            if len(hits) > 1:
                words += f", {label} {bootstrap_mean([hit[key] for hit in hits])}"
        sys.stdout.write(words + "\n")
    at = {method: [reward_at(curve, BUDGET) for curve in runs] for method, runs in curves.items()}
    for method in ("GRPO", "RLOO"):
        both = [(a, b) for a, b in zip(at[method], at["PPO"], strict=True) if a is not None and b is not None]
        if len(both) > 1:
            difference = paired_difference(*map(list, zip(*both, strict=True)))
            figures[f"PPO less {method} at equal KL"] = difference.to_dict()
            sys.stdout.write(f"reward at equal KL, PPO less {method}: {difference} ({len(both)} seeds)\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
