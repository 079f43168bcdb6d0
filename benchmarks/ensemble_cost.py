"""What an ensemble of five LoRA reward models costs beside one of its members.

    python benchmarks/ensemble_cost.py [--pairs 12] [--quick]

CPU-seconds at one thread, on a Llama of 16 layers and width 256, where arithmetic and not Python takes the time. One member is a
`RewardModel` with its adapter. Against it: five such models (what an ensemble costs that shares nothing), five adapters on one
base with a common trunk (on the last eighth and on the last quarter of the layers), and five heads on one backbone. All score
the same texts; the sides take turns in random order within a pair, and the figure is the mean of the paired ratios with a
bootstrap interval over pairs. Beside it stands what the arithmetic of the layers alone gives: 1 + 4 x the share of the layers
that are adapted. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

MEMBERS, LAYERS, WIDTH, TEXTS = 5, 16, 256, 4
TARGET = 1.6
"""At most this many times one member's time, with adapters on the last eighth of the layers (the default)."""


def adapters(base: str, folder: Path, share: float) -> list[str]:
    """Folders of members that adapt a share of the layers, as training would write them."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rlhf_ext.trainers.reward_ensemble import last_layers

    folders = []
    for member in range(MEMBERS):
        torch.manual_seed(member)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
        model = get_peft_model(model, last_layers(base, share))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        folders.append(str(folder / f"share_{share:g}" / f"member_{member}"))
        model.save_pretrained(folders[-1])
        AutoTokenizer.from_pretrained(base).save_pretrained(folders[-1])
    return folders


def build(base: str, folder: Path) -> dict[str, tuple[Any, float | None]]:
    """The sides by name, each with its ratio by arithmetic."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rlhf_ext import RewardModel
    from rlhf_ext.rewards.ensemble import RewardEnsemble

    eighth, quarter = (adapters(base, folder, share) for share in (1 / 8, 1 / 4))
    heads = AutoModelForSequenceClassification.from_pretrained(base, num_labels=MEMBERS)
    return {
        "one": (RewardModel(eighth[0]), None),
        "naive": (RewardEnsemble([RewardModel(member) for member in eighth]), float(MEMBERS)),
        "eighth": (RewardEnsemble(eighth), 1 + (MEMBERS - 1) / 8),
        "quarter": (RewardEnsemble(quarter), 1 + (MEMBERS - 1) / 4),
        "heads": (RewardEnsemble.from_heads(heads, AutoTokenizer.from_pretrained(base)), 1.0),
    }


def cpu_seconds(side: Any, prompts: list, responses: list) -> float:
    started = time.process_time()
    side(prompts=prompts, completions=responses)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="two pairs on a small model: that it runs, not a figure")
    options = parser.parse_args()
    pairs, layers, width = (2, 8, 64) if options.quick else (options.pairs, LAYERS, WIDTH)

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
    rows = assistant_preferences("train").select(range(TEXTS))
    prompts, responses = list(rows["prompt"]), list(rows["chosen"])
    with tempfile.TemporaryDirectory() as scratch:
        base = tiny_model(f"{scratch}/base", pretrain_steps=0, hidden_size=width, num_hidden_layers=layers)
        sides = build(base, Path(scratch))
        for side, _ in sides.values():  # warms up, and passes the check of the first batch
            side(prompts=prompts, completions=responses)
        order, seconds = random.Random(0), []
        for pair in range(pairs):
            names = order.sample(list(sides), len(sides))
            seconds.append({name: cpu_seconds(sides[name][0], prompts, responses) for name in names})
            sys.stdout.write(f"  pair {pair + 1}/{pairs}: one member {seconds[-1]['one']:.2f} CPU-s\n")
            sys.stdout.flush()
    figures: dict[str, Any] = {"one_cpu_s": bootstrap_mean([pair["one"] for pair in seconds]).to_dict()}
    sys.stdout.write(f"\n{MEMBERS} members, times one member's {figures['one_cpu_s']['value']:.2f} CPU-s\n")
    for name, (_, arithmetic) in sides.items():
        if arithmetic is None:
            continue
        ratio = bootstrap_mean([pair[name] / pair["one"] for pair in seconds])
        figures[name] = ratio.to_dict()
        sys.stdout.write(f"{name:<11} {ratio}   by arithmetic {arithmetic:.2f}\n")
    met = figures["eighth"]["high"] <= TARGET
    figures["target_met"] = met
    sys.stdout.write(f"the default (an eighth) stays under {TARGET}: {'yes' if met else 'no'}\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
