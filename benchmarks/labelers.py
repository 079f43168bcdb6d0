"""What labels by a judge cost, and how far they can be trusted.

    python benchmarks/labelers.py [--quick]

- speed: pairs judged a CPU-second in both orders by a small Llama in process, batches of 32 against one call an item, in turn,
  with the same model and pairs: comparisons written in 64 tokens, and choices read from log-probabilities. Target: 8 times.
- orders: CPU time of log-probabilities in both orders over that in one order, which is read as economically, and over one order
  in which each question is read whole. For two shapes: the project's own pairs (a short request, two long answers), and
  RLAIF's (a long post, two short summaries: both orders begin alike for most of their length). Target: under 1.5. Beside it
  the same ratio of ids that go through the model, padding included, and the share of ids that the two orders begin with alike.
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


def posts(count: int) -> list[tuple[list, list]]:
    """For each pair the question in both orders, about two summaries of a post of about 300 words."""
    from rlhf_ext import assistant_preferences
    from rlhf_ext.labelers import RUBRICS

    texts = [row["chosen"][0]["content"] for row in assistant_preferences("train")]
    pick, rubric, found = random.Random(0), RUBRICS["summary"], []
    for _ in range(count):
        post = ""
        while len(post.split()) < 300:
            post += f"{pick.choice(texts)}\n"
        one, other = (" ".join(pick.choice(texts).split()[:30]) for _ in range(2))
        request = [{"role": "user", "content": f"Summarise this post in one sentence.\n\n{post}"}]
        found.append((rubric.ask(request, one, other), rubric.ask(request, other, one)))
    return found


def read(generator: Any, questions: list) -> list:
    return generator.choice_logprobs(questions, ["1", "2"])


def reading(generator: Any, shapes: dict[str, list[tuple[list, list]]]) -> dict[str, float]:
    """What both orders have to read, by shape: ids through the model over those of one order, and the share that begins alike."""
    from rlhf_ext.generation.prefixes import common_length

    count, found = [0], {}
    embeddings = generator.model.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda module, args, output: count.append(args[0].numel()))
    for shape, asked in shapes.items():
        sums = []
        for questions in ([question for pair in asked for question in pair], [first for first, _ in asked]):
            count.clear()
            read(generator, questions)
            sums.append(sum(count))
        found[f"{shape}: ids read, both orders over one"] = sums[0] / sums[1]
        ids = [[generator._ids(question) for question in pair] for pair in asked]
        alike, whole = sum(map(common_length, ids)), sum(len(one) for one, _ in ids)
        found[f"{shape}: share of a question that both orders begin with"] = alike / whole
    hook.remove()
    return found


def cpu_seconds(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def speeds(generator: Any, shapes: dict[str, list[tuple[list, list]]], rounds: int) -> dict[str, list[float]]:
    """CPU-seconds of all rounds: batched in both orders and in one, and one call an item; texts for the first shape alone."""

    def written(questions: list) -> Any:
        return generator.generate(questions, max_new_tokens=64, temperature=0)

    ways: dict[str, Any] = {}
    for shape, asked in shapes.items():
        both, one = [question for pair in asked for question in pair], [first for first, _ in asked]
        if not ways:
            ways["written"] = lambda both=both: written(both)
            ways["written singly"] = lambda both=both: [written([question]) for question in both]
        ways[f"{shape}: both"] = lambda both=both: read(generator, both)
        ways[f"{shape}: both singly"] = lambda both=both: [read(generator, [question]) for question in both]
        ways[f"{shape}: one"] = lambda one=one: read(generator, one)
        ways[f"{shape}: one singly"] = lambda one=one: [read(generator, [question]) for question in one]
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
        pairs = 8 if quick else 32
        shapes = {"long answers": questions(pairs), "summaries": posts(pairs)}
        shares = reading(generator, shapes)
        found = speeds(generator, shapes, 2 if quick else 8)

    def ratio(top: str, bottom: str) -> Any:
        return bootstrap_mean([a / b for a, b in zip(found[top], found[bottom], strict=True)])

    estimates = {
        "written, one call an item over batches of 32": ratio("written singly", "written"),
        **{
            f"{shape}: one call an item over batches": ratio(f"{shape}: both singly", f"{shape}: both")
            for shape in shapes
        },
        **{f"{shape}: both orders over one": ratio(f"{shape}: both", f"{shape}: one") for shape in shapes},
        **{f"{shape}: over one read whole": ratio(f"{shape}: both", f"{shape}: one singly") for shape in shapes},
        **trust(200 if quick else 2000),
    }
    for name, share in shares.items():
        sys.stdout.write(f"{name:<66} {share:.2f}\n")
    for name, estimate in estimates.items():
        sys.stdout.write(f"{name:<66} {estimate} (n {estimate.n})\n")
    figures = {name: estimate.to_dict() for name, estimate in estimates.items()}
    sys.stdout.write(json.dumps({**figures, **shares, "cpu_s": found}) + "\n")


if __name__ == "__main__":
    main()
