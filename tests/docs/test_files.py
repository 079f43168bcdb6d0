"""The YAML and JSON on the pages is read by what reads it in a user's hands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from trl import TrlParser

from rlhf_ext import ReleaseGate, RLHFConfig, Thresholds, safety_suite
from rlhf_ext.cli.jobs import RunArguments
from rlhf_ext.data.store import FeedbackStore, WorkQueue
from rlhf_ext.deployment.experiments import read_experiments, read_outcomes
from rlhf_ext.deployment.gateway import load_settings
from tests.docs.markdown import PAGES, ROOT, Block, blocks, name_of

AB_TESTS = ROOT / "docs/ab_tests.md"
YAML = [block for page in PAGES for block in blocks(page, "yaml")]
JSON = [block for page in PAGES for block in blocks(page, "json")]

READERS: dict[str, Callable[[Path], object]] = {
    "docs/ab_tests.md": read_experiments,
    "docs/deployment.md": load_settings,
    "docs/evaluation.md": lambda path: ReleaseGate.from_file(path, [safety_suite()], True),
    "docs/monitoring.md": load_settings,
    "docs/reward_models.md": Thresholds.from_file,
    "docs/rewards.md": Thresholds.from_file,
    "docs/recipes.md": lambda path: RLHFConfig(**yaml.safe_load(path.read_text(encoding="utf-8"))),
    "docs/training.md": lambda path: TrlParser([RunArguments, RLHFConfig]).parse_args_and_config(
        ["--config", str(path)]
    ),
}
"""What reads the YAML of each page."""

MY_REWARDS = "def polite(prompts, completions, **columns):\n    return [1.0] * len(completions)\n"


def write(block: Block, folder: Path) -> Path:
    path = folder / "file.yaml"
    text = block.code
    if name_of(block.page) == "docs/monitoring.md":  # a section of the gateway's file
        text = 'upstreams: {vllm: {url: "http://127.0.0.1:8000/v1"}}\n' + text
    path.write_text(text, encoding="utf-8")
    (folder / "my_rewards.py").write_text(MY_REWARDS, encoding="utf-8")
    (folder / "experiments.yaml").write_text(blocks(AB_TESTS, "yaml")[0].code, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a reader stands; the module that it finds there is another test's no more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_rewards", None)


@pytest.mark.parametrize("block", YAML, ids=lambda block: f"{name_of(block.page)}:{block.line}")
def test_the_yaml_of_a_page_is_read(block: Block, folder: Path):
    READERS[name_of(block.page)](write(block, folder))


def test_a_wrong_field_is_found(tmp_path: Path):
    (block,) = blocks(ROOT / "docs/monitoring.md", "yaml")
    (tmp_path / "file.yaml").write_text(write(block, tmp_path).read_text().replace("per_minute", "per_hour"))
    with pytest.raises(ValueError, match="per_hour"):
        load_settings(tmp_path / "file.yaml")


@pytest.mark.parametrize("block", JSON, ids=lambda block: f"{name_of(block.page)}:{block.line}")
def test_each_line_of_json_is_an_object(block: Block):
    assert all(isinstance(json.loads(line), dict) for line in block.code.splitlines())


def test_the_items_and_outcomes_on_the_pages_are_taken(tmp_path: Path):
    from rlhf_ext.cli.feedback_items import read_items

    files = {"items": ROOT / "docs/human_feedback.md", "outcomes": AB_TESTS}
    for name, page in files.items():
        (block,) = blocks(page, "json")
        (tmp_path / f"{name}.jsonl").write_text(block.code, encoding="utf-8")
    items = read_items(str(tmp_path / "items.jsonl"), 1)
    assert WorkQueue(FeedbackStore(tmp_path / "feedback.sqlite")).add(items) == 4
    assert set(read_outcomes(tmp_path / "outcomes.jsonl", "dpo-2").variants) == {"dpo", "sft"}
