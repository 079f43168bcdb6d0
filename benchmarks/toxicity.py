"""Toxicity of many texts: our scoring against Detoxify's own `predict`, on the same checkpoint.

    python benchmarks/toxicity.py [--quick]

2,000 texts, most of them short and a few long, as answers are: their lengths in words are log-normal (median 25, at most
400). The checkpoint is in Detoxify's format with a very small BERT (2 layers, 128 wide) and random weights. One thread;
CPU-seconds; in rounds, each side in turn.

`predict` can be asked in three ways, and each is a side: all texts in one list, which pads every text to the longest and runs
them as one batch (many gigabytes with a BERT of full size); lists of 32 in the order they come in, as one would batch by hand;
and one by one, which pads nothing: there, batches save only the cost of a call, which weighs less the wider the model (one run
with layers 768 wide on 1,000 texts: 1.3x). Ours is one call.

To show: at least 3x against `predict` on one list, and the same scores to 1e-5. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH, TARGET = 32, 3.0


def texts(count: int, words: list[str]) -> list[str]:
    """Texts whose lengths are log-normal."""
    rng = random.Random(0)
    lengths = (min(400, max(1, round(rng.lognormvariate(3.2, 1.0)))) for _ in range(count))
    return [" ".join(rng.choices(words, k=length)) for length in lengths]


def checkpoint(folder: str, words: list[str]) -> dict[str, str]:
    """A checkpoint in Detoxify's format."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(0)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate([*special, *words])})
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        initializer_range=0.2,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    arch = {
        "model_type": folder,
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 2,
    }
    settings = {"dataset": {"args": {"classes": ["toxic", "insult"]}}, "arch": {"args": arch}}
    torch.save({"config": settings, "state_dict": model.state_dict()}, f"{folder}/tiny.ckpt")
    return {"checkpoint": f"{folder}/tiny.ckpt", "huggingface_config_path": folder}


def sides(files: dict[str, str]) -> dict[str, Callable[[list[str]], list[float]]]:
    """What is compared: each gives the toxicity of every text."""
    from detoxify import Detoxify

    from rlhf_ext.evaluation.safety import Toxicity

    detoxify, ours = Detoxify(**files), Toxicity(**files)

    def in_lists(rows: list[str], size: int) -> list[float]:
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        return [score for part in parts for score in detoxify.predict(part)["toxicity"]]

    return {
        "ours": lambda rows: ours(prompts=rows, completions=rows),
        "predict, one list": lambda rows: in_lists(rows, len(rows)),
        f"predict, lists of {BATCH}": lambda rows: in_lists(rows, BATCH),
        "predict, one by one": lambda rows: [detoxify.predict(row)["toxicity"] for row in rows],
    }


def measure(rounds: int, count: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU-seconds of each side by round, and its largest distance from our scores."""
    words = [f"word{number}" for number in range(2000)]
    rows = texts(count, words)
    seconds: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        compared = sides(checkpoint(folder, words))
        for side in compared.values():
            side(rows[:BATCH])
        for number in range(rounds):
            for name, side in compared.items():
                started = time.process_time()
                scores[name] = side(rows)
                seconds.setdefault(name, []).append(time.process_time() - started)
                sys.stdout.write(f"  round {number + 1}, {name}: {seconds[name][-1]:.1f} CPU-s\n")
                sys.stdout.flush()
    apart = {
        name: max(abs(mine - its) for mine, its in zip(scores["ours"], found, strict=True))
        for name, found in scores.items()
    }
    return seconds, apart


def report(seconds: dict[str, list[float]], apart: dict[str, float], count: int) -> dict[str, Any]:
    """The table, and the figures."""
    from rlhf_ext.stats import bootstrap_mean

    figures: dict[str, Any] = {"texts": count, "rounds": len(seconds["ours"])}
    sys.stdout.write(f"\n{'side':<24}{'CPU-s':>8}{'times ours':>24}{'scores apart':>15}\n")
    for name, spent in seconds.items():
        ratio = bootstrap_mean([its / mine for its, mine in zip(spent, seconds["ours"], strict=True)])
        sys.stdout.write(f"{name:<24}{sum(spent) / len(spent):>8.1f}{ratio!s:>24}{apart[name]:>15.1e}\n")
        figures[name] = {"cpu_s": spent, "times_ours": ratio.to_dict(), "scores_apart": apart[name]}
    whole = figures["predict, one list"]["times_ours"]
    sys.stdout.write(f"to show: at least {TARGET:.0f}x against one list, scores within 1e-5\n")
    figures["shown"] = whole["low"] >= TARGET and max(apart.values()) <= 1e-5
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 texts and two rounds: that it runs, not a figure")
    options = parser.parse_args()
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    count = 200 if options.quick else 2000
    seconds, apart = measure(2 if options.quick else 3, count)
    sys.stdout.write(json.dumps(report(seconds, apart, count)) + "\n")


if __name__ == "__main__":
    main()
