"""Import time, and what our RewardTrainer and DPOTrainer cost over TRL's on the same work.

    python benchmarks/overhead.py [--quick]

CPU-seconds at one thread. TRL's trainer and ours take the same training steps (forward, loss, backward, optimizer) on copies of
one tiny model and the same batches without the columns that we add. They alternate step by step, in random order, since a
neighbour's noise lasts longer than a step: whole runs, paired, scattered by 6 %. A pair is the time of 20 steps each; the
figure is the mean of the ratios with a bootstrap interval over pairs. Freed memory is kept for both sides. Import time is the
best of several fresh processes, less that of an empty one. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

from quiet import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


STEPS = 20
"""Training steps of each side in a pair."""


def build(module: Any, kind: str, folder: str, data: Any) -> Any:
    """A trainer of `module` (trl or rlhf_ext) with an optimizer, on its own copy of the model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    if kind == "Reward":
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    args = getattr(module, f"{kind}Config")(
        tempfile.mkdtemp(),
        per_device_train_batch_size=4,
        **QUIET,
    )
    trainer = getattr(module, f"{kind}Trainer")(
        model, args=args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder)
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def cpu_seconds(trainer: Any, batch: dict[str, Any]) -> float:
    """One training step on a batch."""
    started = time.process_time()
    trainer.training_step(trainer.model, dict(batch))
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.process_time() - started


def ratios(kind: str, pairs: int, folder: str, data: Any) -> list[float]:
    import trl

    import rlhf_ext

    ours, theirs = sides = [build(module, kind, folder, data) for module in (rlhf_ext, trl)]
    batches = list(theirs.get_train_dataloader())
    for batch in batches[:STEPS]:  # warm up
        for side in sides:
            cpu_seconds(side, batch)
    order, found = random.Random(0), []
    for pair in range(pairs):
        seconds = {ours: 0.0, theirs: 0.0}
        for step in range(STEPS):
            batch = batches[(pair * STEPS + step) % len(batches)]
            for side in order.sample(sides, 2):
                seconds[side] += cpu_seconds(side, batch)
        found.append(seconds[ours] / seconds[theirs])
        sys.stdout.write(f"  {kind}Trainer pair {len(found)}/{pairs}: {found[-1]:.4f}\n")
    return found


def import_seconds(code: str, runs: int) -> float:
    def once(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return min(once(code) for _ in range(runs)) - min(once("pass") for _ in range(runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two pairs of few steps: that it runs, not a figure")
    quick = parser.parse_args().quick
    pairs = 2 if quick else 30

    figures = {
        "import_s": import_seconds("import rlhf_ext", 3 if quick else 9),
        "help_s": import_seconds("from rlhf_ext.cli import main; main(['--help'])", 3 if quick else 9),
    }
    import torch
    import transformers

    from rlhf_ext import assistant_preferences
    from rlhf_ext._allocator import keep_freed_memory
    from rlhf_ext.embedded import tiny_model
    from rlhf_ext.stats import bootstrap_mean

    keep_freed_memory()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(f"{folder}/tiny", pretrain_steps=0)
        data = assistant_preferences("train").remove_columns("preference_strength")
        for kind in ("Reward", "DPO"):
            estimate = bootstrap_mean(ratios(kind, pairs, model, data))
            figures[f"{kind.lower()}_ratio"] = estimate.to_dict()
            sys.stdout.write(f"{kind}Trainer, ours over TRL's: {estimate} ({estimate.n} pairs)\n")
    sys.stdout.write(f"import rlhf_ext: {figures['import_s']:.3f} s, --help: {figures['help_s']:.3f} s\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
