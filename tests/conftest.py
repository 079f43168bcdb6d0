"""Shared by all tests: no network, one thread, and a tiny model with its reward model, built once a session."""

from __future__ import annotations

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rlhf_ext.data.preferences import assistant_preferences, prepare_preferences
from rlhf_ext.embedded import tiny_model

torch.set_num_threads(1)


THINKING = (
    "{% set off = '<think></think>' if enable_thinking is defined and not enable_thinking else '' %}"
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{{ off }}{% endif %}"
    "{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant:{{ off }}{% endif %}"
)
"""A chat template with a switch like Qwen3's: thinking that is switched off is a thought that is over."""


_LONG = ("notebooks", "pipeline", "trainers", "examples", "drop_in")
"""Rooms with files that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: two processes that take one file after the other then end together."""
    rooms = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rooms.get(item.path.parent.name, len(_LONG)))


@pytest.fixture(scope="session", autouse=True)
def collected_once() -> Iterator[None]:
    """Each training ends with a garbage collection over all that was imported: longer than two steps of a tiny model take."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of the tiny language model."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", pretrain_steps=60)


@pytest.fixture
def policy(tiny: str):
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)


@pytest.fixture
def tokenizer(tiny: str):
    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture(scope="session")
def reward_folder(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a reward model with a random, but fixed head that is large enough to tell texts apart."""
    folder = str(tmp_path_factory.mktemp("models") / "reward")
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1, dtype=torch.float32)
    torch.nn.init.normal_(model.score.weight, std=0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def preferences() -> Dataset:
    """64 rows of the project's own preferences, as messages, with strengths."""
    return prepare_preferences(assistant_preferences("train").select(range(64)))


@pytest.fixture(scope="session")
def plain(preferences: Dataset) -> Dataset:
    """The same rows as plain text, without strengths."""
    rows = [
        {
            "prompt": "Question: " + row["prompt"][0]["content"] + "\nAnswer:",
            "chosen": " " + row["chosen"][0]["content"],
            "rejected": " " + row["rejected"][0]["content"],
        }
        for row in preferences
    ]
    return Dataset.from_list(rows)


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, Any]:
    """Arguments of a training in seconds: float32 on the CPU, nothing written but checkpoints."""
    return {
        "output_dir": str(tmp_path / "out"),
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
    }


def vowels(prompts: list, completions: list, **columns: Any) -> list[float]:
    """A reward that a tiny model learns within seconds: the share of vowels."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in texts]
