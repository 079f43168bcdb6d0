"""What labels by a judge cost, and how far they can be trusted.

    python benchmarks/labelers.py [--quick]

- speed: pairs judged a CPU-second in both orders by a small Llama in process, batches of 32 against one call an item, in turn,
  with the same model and pairs: comparisons written in 64 tokens, and choices read from log-probabilities. Target: 8 times.
- orders: CPU time of log-probabilities in both orders over that in one order, which is read as economically, and over one order
  in which each question is read whole. Target: under 1.5.
- position: a judge with a planted preference for the answer that it sees first; the bias of the labels is how much more often
  they prefer the answer that the row names first than the truth does. Target: 0 within its interval.
- calibration: a judge that knows the true probabilities; the expected calibration error of the labels against outcomes drawn from
  them. Target: at most 0.05.

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH = 32


def questions(count: int) -> list[tuple[list, list]]:
    """For each pair the question in both orders, about the project's own answers."""
    from rlhf_ext import assistant_preferences
    from rlhf_ext.labelers import RUBRICS

    rows, rubric = assistant_preferences("train"), RUBRICS["assistant"]
    found = []
    for index in range(count):
        row = rows[index % len(rows)]
        found.append(
            (
                rubric.ask(row["prompt"], row["chosen"], row["rejected"]),
                rubric.ask(row["prompt"], row["rejected"], row["chosen"]),
            )
        )
    return found


def cpu_seconds(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def speeds(generator: Any, asked: list[tuple[list, list]], rounds: int) -> dict[str, list[float]]:
    """CPU-seconds of all rounds: batched in both orders and in one, and one call an item."""
    both, one = [question for pair in asked for question in pair], [first for first, _ in asked]

    def written(questions: list) -> Any:
        return generator.generate(questions, max_new_tokens=64, temperature=0)

    def read(questions: list) -> Any:
        return generator.choice_logprobs(questions, ["1", "2"])

    ways = {
        "written": lambda: written(both),
        "written singly": lambda: [written([question]) for question in both],
        "read": lambda: read(both),
        "read singly": lambda: [read([question]) for question in both],
        "one order": lambda: read(one),
        "one order singly": lambda: [read([question]) for question in one],
    }
    for work in ways.values():
        work()
    order, found = random.Random(0), {name: [] for name in ways}
    for _ in range(rounds):
        for name in order.sample(list(ways), len(ways)):
            found[name].append(cpu_seconds(ways[name]))
    return found


def truths(count: int, seed: int) -> list[float]:
    """True p(first is better) of each pair."""
    pick = random.Random(seed)
    return [1 / (1 + math.exp(-pick.gauss(0, 1.5))) for _ in range(count)]


def labels(true: list[float], bias: float, on_disagreement: str) -> list[float | None]:
    """p(first is better) as labelled by a judge whose logit for the answer shown first is too high by `bias`."""
    from rlhf_ext import ScriptedGenerator
    from rlhf_ext.labelers import PairwiseLabeler

    def probs(prompt: Any, choices: list[str]) -> list[float]:
        row, shown = prompt[0]["content"].split("Answer 1: ")[1].split('"')[1].split()
        p = true[int(row)] if shown == "a" else 1 - true[int(row)]
        biased = 1 / (1 + math.exp(-(math.log(p / (1 - p)) + bias)))
        return [biased, 1 - biased]

    judge = PairwiseLabeler(
        ScriptedGenerator([], choice_probs=probs), "helpful", on_disagreement=on_disagreement, progress=False
    )
    return judge.compare(["?"] * len(true), [f"{i} a" for i in range(len(true))], [f"{i} b" for i in range(len(true))])


def calibration_error(p: Any, outcomes: Any, bins: int = 10) -> float:
    """Mean distance of labelled and observed probability, over equally full bins."""
    import numpy as np

    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    return float(sum(len(part) * abs(p[part].mean() - outcomes[part].mean()) for part in parts) / len(p))


def trust(count: int) -> dict[str, Any]:
    import numpy as np

    from rlhf_ext.stats import bootstrap, paired_difference

    true, found = truths(count, 0), {}
    truth = [float(p > 0.5) for p in true]
    for on_disagreement in ("abstain", "average"):
        given = labels(true, 1.0, on_disagreement)
        prefers_first = [None if p is None else float(p > 0.5) for p in given]
        found[f"label bias of a biased judge, {on_disagreement}"] = paired_difference(truth, prefers_first)
    one_order = [1 / (1 + math.exp(-(math.log(p / (1 - p)) + 1.0))) for p in true]
    found["the same judge asked in one order"] = paired_difference(truth, [float(p > 0.5) for p in one_order])
    outcomes = (np.random.default_rng(1).random(count) < np.array(true)).astype(float)
    calibrated = np.array(labels(true, 0.0, "average"), dtype=float)
    found["calibration error of a calibrated judge"] = bootstrap(
        calibration_error, calibrated, outcomes, pivotal=True, resamples=500
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few pairs: that it runs, not a figure")
    quick = parser.parse_args().quick
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlhf_ext import LocalGenerator
    from rlhf_ext._allocator import keep_freed_memory
    from rlhf_ext.embedded import tiny_model
    from rlhf_ext.stats import bootstrap_mean

    keep_freed_memory()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny_model(f"{scratch}/tiny", pretrain_steps=0, words=True, vocab_size=2000)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        generator = LocalGenerator(model, AutoTokenizer.from_pretrained(folder), BATCH)
        found = speeds(generator, questions(8 if quick else 32), 2 if quick else 8)

    def ratio(top: str, bottom: str) -> Any:
        return bootstrap_mean([a / b for a, b in zip(found[top], found[bottom], strict=True)])

    estimates = {
        "written, one call an item over batches of 32": ratio("written singly", "written"),
        "log-probabilities, one call an item over batches": ratio("read singly", "read"),
        "both orders over one": ratio("read", "one order"),
        "both orders over one that is read whole": ratio("read", "one order singly"),
        **trust(200 if quick else 2000),
    }
    for name, estimate in estimates.items():
        sys.stdout.write(f"{name:<50} {estimate} (n {estimate.n})\n")
    figures = {name: estimate.to_dict() for name, estimate in estimates.items()}
    sys.stdout.write(json.dumps({**figures, "cpu_s": found}) + "\n")


if __name__ == "__main__":
    main()
