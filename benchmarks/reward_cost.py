"""What mixing rewards costs, beside computing them.

    python benchmarks/reward_cost.py [--quick]

The mixer: a batch of 256 completions, two reward models on a small Llama (0.6M parameters) and a rule, running statistics, a
constraint, a gate and logs, in CPU-seconds at one thread. The mixer's own time is what a call takes less what its components
take within it, by clocks around them; the figure is its share of theirs, with a bootstrap interval over calls. Target: under
1 %. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH = 256


class Clocked:
    """A reward function, and the CPU-seconds it took."""

    def __init__(self, function: Any):
        self.function, self.seconds = function, 0.0

    def __call__(self, **columns: Any) -> Any:
        started = time.process_time()
        scores = self.function(**columns)
        self.seconds += time.process_time() - started
        return scores


def brevity(completions: list[str], **_: Any) -> list[float]:
    return [-len(text) / 100 for text in completions]


def on_long_prompts(row: dict[str, Any], scores: dict[str, float | None]) -> bool:
    return len(row["prompt"]) > 40


def reward_models(folder: str, quick: bool) -> list[Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from rlhf_ext import RewardModel
    from rlhf_ext.embedded import tiny_model

    size = {} if quick else {"hidden_size": 128, "num_hidden_layers": 4}
    model = tiny_model(f"{folder}/model", pretrain_steps=0, **size)
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
        found.append(RewardModel(classifier, AutoTokenizer.from_pretrained(model)))
    return found


def mixer_shares(models: list[Any], rounds: int) -> list[float]:
    """The mixer's own CPU time over its components', by round."""
    from types import SimpleNamespace

    from rlhf_ext import assistant_preferences
    from rlhf_ext.rewards.constraints import Constraint
    from rlhf_ext.rewards.mixing import RewardMixer
    from rlhf_ext.rewards.weights import Linear
    from rlhf_ext.types import text_of

    rows = assistant_preferences("train")
    rows = {
        "prompts": [text_of(rows[i % len(rows)]["prompt"]) for i in range(BATCH)],
        "completions": [text_of(rows[i % len(rows)]["chosen"]) for i in range(BATCH)],
        "category": [rows[i % len(rows)]["category"] for i in range(BATCH)],
    }
    components = {"helpful": Clocked(models[0]), "safe": Clocked(models[1]), "brevity": Clocked(brevity)}
    reward = RewardMixer(
        components,
        weights={"helpful": 1.0, "safe": 0.5, "brevity": Linear(0.0, 0.5)},
        normalize="running",
        transform="clip",
        constraints=[Constraint("safe", at_least=0.0)],
        gates={"brevity": on_long_prompts},
    )
    passed = {
        "trainer_state": SimpleNamespace(global_step=1, max_steps=10),
        "log_metric": lambda name, value: None,
        "log_extra": lambda name, values: None,
    }
    shares = []
    for _ in range(rounds + 1):
        for one in components.values():
            one.seconds = 0.0
        started = time.process_time()
        reward(**rows, **passed)
        total = time.process_time() - started
        theirs = sum(one.seconds for one in components.values())
        shares.append((total - theirs) / theirs)
    return shares[1:]  # the first call warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny model and two rounds: that it runs, not a figure")
    quick = parser.parse_args().quick
    import torch
    import transformers

    from rlhf_ext.stats import bootstrap_mean

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        models = reward_models(folder, quick)
        share = bootstrap_mean([100 * share for share in mixer_shares(models, 2 if quick else 10)])
        sys.stdout.write(
            f"the mixer's own CPU time, % of its components' (batch {BATCH}): {share} ({share.n} calls)\n"
        )
        figures["mixer_percent"] = share.to_dict()
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
