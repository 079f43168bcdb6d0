"""The configurations for `accelerate launch`: Accelerate takes each as it is, and the one for two CPU processes runs a recipe."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands import launch
from accelerate.commands.config.config_args import load_config_from_file

from .recipe_runs import RECIPES, rows_of, shrunk

CONFIGS = sorted((RECIPES.parent / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    config = load_config_from_file(str(path))
    said = yaml.safe_load(path.read_text())
    assert config.num_processes == said["num_processes"] and config.use_cpu == said["use_cpu"]
    assert config.distributed_type == said["distributed_type"]
    for part in ("fsdp_config", "deepspeed_config"):
        assert getattr(config, part, None) in (said.get(part), {})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_table_says_where_it_was_run(path):
    assert f"[{path.name}]({path.name})" in (path.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fsdp2_8_gpus", {"use_fsdp": True, "fsdp_version": "2", "fsdp_state_dict_type": "FULL_STATE_DICT"}),
        ("zero3_8_gpus", {"use_deepspeed": True, "zero_stage": "3", "zero3_save_16bit_model": "true"}),
    ],
)
def test_launch_makes_of_it_what_shards_a_model(name, wanted):
    path = str(RECIPES.parent / "accelerate" / f"{name}.yaml")
    arguments = launch.launch_command_parser().parse_args(["--config_file", path, "x.py"])
    found = vars(launch._validate_launch_command(arguments)[0])
    assert {key: str(found[key]).lower() for key in wanted} == {key: str(one).lower() for key, one in wanted.items()}


def test_a_recipe_runs_on_two_processes(tiny, tmp_path):
    recipe = shrunk(yaml.safe_load((RECIPES / "classification.yaml").read_text()), {})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "batch_size": 4}))
    rows = rows_of("classification")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["--preferences", str(tmp_path / "rows.jsonl"), "--heldout", str(tmp_path / "rows.jsonl")]
    command = ["run", "--config", str(tmp_path / "recipe.yaml"), "--model_name", tiny, *data]
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "rlhf_ext"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *command, "--output_dir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert (tmp_path / "run" / "report.json").is_file(), done.stderr[-4000:]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert {"rewards.right", "rewards.label_alone", "automatic.accuracy"} <= {f["name"] for f in report["figures"]}
    assert all(row["verdict"] for row in report["gate"])
    assert Path(tmp_path / "run" / "policy" / "README.md").is_file()
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()
