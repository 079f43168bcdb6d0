"""What the code on the pages finds where it runs: models by the names that pages use, files, and names that pages take as given.

Blocks run as they stand, but for what `REPLACED` shows. A hub name is a folder of that name in the working directory, with the
tests' tiny model in it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from tests.docs.markdown import ROOT

MODELS = ["Qwen/Qwen3-0.6B", "gpt2", "policy"]
REWARDS = ["reward_model"]

REPLACED = {
    'EndpointGenerator("http://localhost:8000/v1", model="Qwen/Qwen3-32B")': "LocalGenerator(model, tokenizer)",
    'DetoxifySafety("unbiased")': "DetoxifySafety(**detoxify)",
    "DetoxifySafety()": "DetoxifySafety(**detoxify)",
    "127.0.0.1:8100": "127.0.0.1:0",
    '"127.0.0.1", 8100': '"127.0.0.1", 0',
    '"127.0.0.1", 8421': '"127.0.0.1", 0',
    '"127.0.0.1", 8400': '"127.0.0.1", 0',
    "budget=500": "budget=4",
    'store="steps.jsonl",': 'store="steps.jsonl", max_new_tokens=16,',
    "members=5": "members=2",
}
"""Text on pages: what stands in its place. Servers that are not there, checkpoints from the hub, ports, and sizes."""

QUICK: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "max_steps": 1,
    "max_completion_length": 8,
    "skip_reward_validation": True,  # of a model that has learnt nothing
    "eval_max_new_tokens": 8,
}
"""Fields of every training configuration that a block makes, where the block does not set them."""

PRINCIPLES = """
name: ours
version: "1"
principles:
  - name: kind
    rule: The answer is kind.
    critique_request: Say what is unkind in the answer.
    revision_request: Make it kind.
"""
EXPERIMENTS = """
experiments:
  - name: dpo-2
    salt: "1"
    variants: {sft: 0.5, dpo: 0.5}
    canary:
      variant: dpo
      steps: [{share: 0.5, users: 10}]
      guards: [{metric: error, at_most: 0.05}]
"""


def lay_out(folder: Path, tiny: str, reward: str, rows: datasets.Dataset) -> None:
    """Models and files in a working directory."""
    for name, target in {**dict.fromkeys(MODELS, tiny), **dict.fromkeys(REWARDS, reward)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / name)
    for name in ("data.jsonl", "heldout.jsonl"):
        lines = (
            json.dumps({key: row[key] for key in ("prompt", "chosen", "rejected", "preference_strength")})
            for row in rows
        )
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.symlink(ROOT / "examples", folder / "examples")
    (folder / "principles.yaml").write_text(PRINCIPLES, encoding="utf-8")
    (folder / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")


def names(policy: Any, tokenizer: Any, rows: datasets.Dataset, folder: Path) -> dict[str, Any]:
    """What blocks use without making it, as a reader would have it."""
    from transformers import Trainer, TrainingArguments

    from rlhf_ext import LocalGenerator, RewardModel, ScriptedGenerator

    prompts = rows.select_columns(["prompt", "category"])
    pair = {"responses": ["An apple.", "No."], "models": ["sft", "ppo"]}
    answers = ScriptedGenerator(
        lambda prompt, sampling: "Name a fruit: an apple.", choice_probs=lambda p, c: [1.0] * len(c)
    )
    return {
        "model": policy,
        "tokenizer": tokenizer,
        "judge_model": policy,
        "judge_tokenizer": tokenizer,
        "prompts": prompts,
        "heldout_prompts": [row["prompt"] for row in prompts.select(range(2))],
        "preference_data": rows,
        "eval_data": rows,
        "preferences": rows,
        "rows": [{"prompt": "Name a fruit.", **pair}, {"prompt": "Name a tree.", **pair}],
        "earlier_comparisons": [],
        "my_function": lambda completions, **columns: [1.0] * len(completions),
        "reward": RewardModel(str(folder / "reward_model")),
        "LocalGenerator": LocalGenerator,
        "trainer": Trainer(policy, TrainingArguments(str(folder / "out"), use_cpu=True, report_to="none")),
        "old": answers,
        "new": answers,
        "args": None,
        "password": "a long one, for the tests",
        "observer": None,
        "chunks": ["It is ", "ada@", "example.org", "."],
        "send": [].append,
    }


def tiny_detoxify(folder: Path) -> dict[str, Any]:
    """Arguments of DetoxifySafety for a checkpoint in Detoxify's format with random weights."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "is", "an", "apple", "."]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=1, **shape))
    for part in (model, tokenizer):
        part.save_pretrained(folder / "bert")
    arch = {
        "model_type": str(folder / "bert"),
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 1,
    }
    config = {"dataset": {"args": {"classes": ["toxicity"]}}, "arch": {"args": arch}}
    torch.save({"config": config, "state_dict": model.state_dict()}, folder / "tiny.ckpt")
    return {"checkpoint": folder / "tiny.ckpt", "huggingface_config_path": folder / "bert"}
