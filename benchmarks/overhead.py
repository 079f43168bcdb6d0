"""Import time, and what our RewardTrainer and DPOTrainer cost over TRL's on the same work.

    python benchmarks/overhead.py [--quick]

CPU-seconds at one thread. Each pair trains TRL's class and ours in turn, in random order, on the same tiny model and data
without the columns that we add; the figure is the mean of the ratios with a bootstrap interval over pairs. Freed memory is
kept for both sides, so that page faults add no noise. Import time is the best of several fresh processes, less that of
an empty one. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def cpu_seconds(trainer_class, config_class, model_class, folder, data, steps) -> float:
    import torch
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    kind = {"num_labels": 1} if "Sequence" in model_class.__name__ else {}
    model = model_class.from_pretrained(folder, dtype=torch.float32, **kind)
    args = config_class(
        tempfile.mkdtemp(),
        max_steps=steps,
        per_device_train_batch_size=4,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=10,
    )
    trainer = trainer_class(
        model, args=args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder)
    )
    gc.collect()
    started = time.process_time()
    trainer.train()
    return time.process_time() - started


def ratios(kind: str, pairs: int, steps: int, folder: str, data) -> list[float]:
    import trl
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    import rlhf_ext

    model_class = AutoModelForSequenceClassification if kind == "Reward" else AutoModelForCausalLM
    sides = [
        (getattr(module, f"{kind}Trainer"), getattr(module, f"{kind}Config"), model_class)
        for module in (rlhf_ext, trl)
    ]
    for side in sides:  # warm up
        cpu_seconds(*side, folder, data, 5)
    order = random.Random(0)
    found = []
    for _ in range(pairs):
        seconds = {}
        for side in order.sample(sides, 2):
            seconds[side[0].__module__.split(".")[0]] = cpu_seconds(*side, folder, data, steps)
        found.append(seconds["rlhf_ext"] / seconds["trl"])
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
    pairs, steps = (2, 5) if quick else (30, 30)

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
            estimate = bootstrap_mean(ratios(kind, pairs, steps, model, data))
            figures[f"{kind.lower()}_ratio"] = estimate.to_dict()
            sys.stdout.write(f"{kind}Trainer, ours over TRL's: {estimate} ({estimate.n} pairs)\n")
    sys.stdout.write(f"import rlhf_ext: {figures['import_s']:.3f} s, --help: {figures['help_s']:.3f} s\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
