"""What the tests of the recipes share: rows for each, tiny classifiers in place of the hub's, and a run by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from rlhf_ext import assistant_preferences
from rlhf_ext.cli import main

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
_KINDS = ["harmful", "borderline", "everyday", "code"]
_STEPS = {"gradient_checkpointing": False, "max_steps": 1}


def rows_of(task: str) -> list[dict[str, Any]]:
    """Eight rows with the columns that the recipe says it wants."""
    if task == "chat":
        data = assistant_preferences("train")
        by_kind = [[n for n, c in enumerate(data["category"]) if c == kind] for kind in _KINDS]
        return [data[rows[rank]] for rank in range(2) for rows in by_kind]
    return [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            **columns,
        }
        for prompt, chosen, rejected, columns in map(_MAKERS[task], range(8))
    ]


def _code(i: int, page: str = "{}") -> tuple[str, str, str, dict]:
    block = f"```python\ndef add_{i}(a):\n    return a + {i}\n```"
    return f"Write add_{i}, which adds {i}.", page.format(block), "No.", {"tests": [f"assert add_{i}(1) == {i + 1}"]}


def _question(i: int) -> tuple[str, str, str, dict]:
    passage, known = f"The tower was opened in {1880 + i}. It is red.", i % 2 == 0
    chosen = f"In {1880 + i}." if known else "The passage does not say."
    columns = {"source": passage, "reference": chosen if known else "", "answerable": known}
    return f"{passage} {'When was it opened?' if known else 'Who built it?'}", chosen, "In 1900, by a king.", columns


def _moderated(i: int) -> tuple[str, str, str, dict]:
    right, wrong = ("remove", "allow") if i % 2 else ("allow", "remove")
    said = [json.dumps({"decision": one, "reason": "By rule 1 on insults."}) for one in (right, wrong)]
    return f"Rule 1: no insults. Post {i}: {'You fool!' if i % 2 else 'Nice day.'}", *said, {"decision": right}


_PAGE = "# add\nIt adds.\n\n## Parameters\na: a number\n\n## Returns\nthe sum\n\n## Example\n\n{}\n"
_MAKERS: dict[str, Any] = {
    "creative_writing": lambda i: (f"A story on owl {i}.", f"Owl {i} flew over the red tower.", "owl owl owl owl", {}),
    "code": _code,
    "technical_documentation": lambda i: _code(i, _PAGE),
    "question_answering": _question,
    "summarization": lambda i: (
        f"The tower was opened in {1880 + i}. It is red. Sum up.",
        f"A tower of {1880 + i}.",
        "It is blue.",
        {"source": f"The tower was opened in {1880 + i}. It is red.", "reference": f"A red tower of {1880 + i}."},
    ),
    "translation": lambda i: (
        f"Translate into German: I have {i} old books.",
        f"Ich habe {i} alte Bücher.",
        f"I have {i} old books.",
        {"reference": f"Ich habe {i} alte Bücher.", "language": "de"},
    ),
    "classification": lambda i: (
        f"Film {i} was {'great' if i % 2 else 'awful'}. Positive, negative or neutral?",
        "positive" if i % 2 else "negative",
        "neutral",
        {"reference": "positive" if i % 2 else "negative"},
    ),
    "moderation": _moderated,
    "tutoring": lambda i: (
        f"What is {i} times 12?",
        "What is it times ten?",
        f"The answer is {12 * i}.",
        {"solution": f"{i} times ten and {i} times two make {12 * i}."},
    ),
    "customer_service": lambda i: (
        f"Parcel {i} is late.",
        "Parcels take five days. We look into it.",
        "We promise a full refund!",
        {"policy": "Parcels take five days."},
    ),
}


def classifiers(tiny: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Tiny classifiers with the labels that the recipes' own have, and the settings that point at them, by function."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    for name, labels in (("nli", ["entailment", "neutral", "contradiction"]), ("tone", ["neutral", "formal"])):
        ids = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes, **ids)
        LlamaForSequenceClassification(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {
        "Factuality": {"model": str(folder / "nli")},
        "ClassifierLabel": {"model": str(folder / "tone")},
        "DetoxifySafety": _detoxify(folder / "detoxify", sizes),
    }


def _detoxify(folder: Path, sizes: dict[str, int]) -> dict[str, str]:
    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "owl", "tower"])}
    tokenizer = BertTokenizer(vocab=words)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=2, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    args = {"model_type": str(folder), "model_name": type(model).__name__, "tokenizer_name": "BertTokenizer"}
    config = {"dataset": {"args": {"classes": ["toxic", "insult"]}}, "arch": {"args": {**args, "num_classes": 2}}}
    torch.save({"config": config, "state_dict": model.state_dict()}, folder / "tiny.ckpt")
    return {"checkpoint": str(folder / "tiny.ckpt"), "huggingface_config_path": str(folder)}


def shrunk(recipe: dict[str, Any], local: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The same recipe in seconds: one step a stage, a few tokens, a few cases of each suite, local classifiers."""
    made = {**recipe, "bf16": False, "batch_size": 8, "eval_max_new_tokens": 6, "skip_reward_validation": True}
    made |= {stage: {**recipe.get(stage, {}), **_STEPS} for stage in ("sft", "reward", "ppo")}
    made["ppo"] |= {"max_completion_length": 6, "num_iterations": 1}
    for one in made["rewards"]["components"].values():
        one |= local.get(one["function"], {})
    made["evaluation"]["max_cases"] = 4
    for name, settings in made["evaluation"]["suites"].items():
        if name != "automatic":
            settings["sampling"] = {"temperature": float("samples" in settings), "max_new_tokens": 6}
    return made


def run_recipe(task: str, tiny: str, local: dict[str, dict[str, Any]], folder: Path) -> tuple[int, dict, dict]:
    """Runs a recipe whole by the command line.

    Returns:
        The exit code, the recipe as it stands in its file, and the report.
    """
    path = RECIPES / f"{task}.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    merged = folder / "merged.yaml"
    merged.write_text(yaml.safe_dump(shrunk(yaml.safe_load(path.read_text(encoding="utf-8")), local)))
    rows = rows_of(task)
    for name, part in (("train", rows), ("heldout", rows[::-1][:6])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    flags = ["--model_name", tiny, "--output_dir", str(folder / "run")]
    flags += ["--preferences", str(folder / "train.jsonl"), "--heldout", str(folder / "heldout.jsonl")]
    code = main(["run", "--config", str(merged), *flags])
    return code, recipe, json.loads((folder / "run" / "report.json").read_text())


def check_recipe(task: str, tiny: str, local: dict[str, dict[str, Any]], folder: Path) -> None:
    """Every component was measured on held-out rows and in PPO, every suite answered, every threshold held against a figure."""
    code, recipe, report = run_recipe(task, tiny, local, folder)
    figures = {figure["name"] for figure in report["figures"]}
    components = recipe["rewards"]["components"]
    assert {f"rewards.{name}" for name in components} <= figures
    log = json.loads((folder / "run" / "policy" / "log.json").read_text())
    seen = {key for entry in log for key in entry}
    assert {f"rewards/{name}/mean" for name in components} <= seen
    held = {
        f"{one['component']}/{'at_most' if 'at_most' in one else 'at_least'}"
        for one in recipe["rewards"]["constraints"]
    }
    assert {f"constraints/{name}/satisfied" for name in held} <= seen
    suites = set(recipe["evaluation"]["suites"])
    assert {name.split(".")[0] for name in figures if "." in name} == {"rewards", *suites}
    assert {row["name"] for row in report["gate"]} == set(recipe["evaluation"]["thresholds"])
    assert code == int(any(row["verdict"] == "fails" for row in report["gate"]))
    stages = json.loads((folder / "run" / "run.json").read_text())["stages"]
    trains = any(one["function"] == "reward_model" for one in components.values())
    assert trains == ("reward_model" in stages) == (folder / "run" / "reward_model" / "README.md").is_file()
    card = (folder / "run" / "policy" / "README.md").read_text()
    assert all(f"| {name} |" in card for name in components)
