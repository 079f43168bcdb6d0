"""The journal by itself; how a run goes on from it is tested where it is used."""

import pytest

from rlhf_ext.data.journal import Journal


def test_what_is_recorded_is_known_again_by_stage_and_turn(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, {"a": 1}, "answers") as journal:
        journal.record("x", 0, {"1": "one", "2": "two"})
        journal.record("x", 1, {"1": "again"})
    with Journal(path, {"a": 1}, "answers") as journal:
        assert journal.known("x", 0) == {"1": "one", "2": "two"}
        assert journal.known("x", 1) == {"1": "again"} and journal.known("y", 0) == {}


def test_a_journal_of_another_kind_is_left_alone(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, {}, "revisions"):
        pass
    content = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"j.jsonl is no store of answers"):
        Journal(path, {}, "answers")
    assert path.read_bytes() == content


def test_half_a_line_is_dropped(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, {}, "answers") as journal:
        journal.record("x", 0, {"1": "one"})
        journal.record("x", 0, {"2": "two"})
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path, {}, "answers") as journal:
        assert journal.known("x", 0) == {"1": "one"}
