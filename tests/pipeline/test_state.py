"""The record of a run: whole at any moment, and never another run's."""

import json

import pytest
from datasets import Dataset

from rlhf_ext.pipeline.state import RunRecord, identity_of

IDENTITY = {"algorithm": "ppo", "seed": 1}


def record(folder):
    made = RunRecord(folder, IDENTITY)
    made.start()
    return made


def checkpoint(run, step, whole=True):
    folder = run.checkpoints("sft") / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("x")
    (folder / "trainer_state.json").write_text("{}" if whole else '{"global_st')
    return folder


def test_finished_stages_are_remembered_and_their_checkpoints_dropped(tmp_path):
    run = record(tmp_path / "run")
    checkpoint(run, 5)
    run.finish("sft", {"path": "x"})
    assert not run.checkpoints("sft").exists()
    again = RunRecord(tmp_path / "run", IDENTITY)
    assert again.finished("sft") == {"path": "x"}
    assert again.finished("policy") is None


def test_a_checkpoint_that_was_cut_off_is_passed_over_and_removed(tmp_path):
    run = record(tmp_path / "run")
    good, cut = checkpoint(run, 9), checkpoint(run, 10, whole=False)
    (run.checkpoints("sft") / "checkpoint-11").mkdir()
    assert run.last_checkpoint("sft") == str(good)
    assert not cut.exists()
    assert run.last_checkpoint("policy") is None


def test_a_write_that_fails_leaves_the_old_record(tmp_path, monkeypatch):
    run = record(tmp_path / "run")
    run.finish("before", {"answers": ["a"]})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run.finish("sft", {"path": "x"})
    assert set(json.loads((tmp_path / "run" / "run.json").read_text())["stages"]) == {"before"}


def test_nothing_is_written_before_the_start(tmp_path):
    RunRecord(tmp_path / "run", IDENTITY)
    assert not (tmp_path / "run").exists()


def test_the_identity_is_settings_model_and_rows_but_not_where_it_goes():
    rows = Dataset.from_list([{"prompt": "a"}])
    other = Dataset.from_list([{"prompt": "b"}])
    base = identity_of({"seed": 1, "output_dir": "x"}, "m", {"train": rows})
    assert base == identity_of({"seed": 1, "output_dir": "y"}, "m", {"train": rows})
    assert base != identity_of({"seed": 2}, "m", {"train": rows})
    assert base != identity_of({"seed": 1}, "n", {"train": rows})
    assert base != identity_of({"seed": 1}, "m", {"train": other})
