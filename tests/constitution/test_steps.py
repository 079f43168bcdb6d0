import json

import pytest

from rlhf_ext.constitution import Revision, Revisions, RevisionStep

TAKEN = RevisionStep(1, "tone", "style", "Curt.", "revise", "Better.", 0.7, 0.9)
REFUSED = RevisionStep(2, "truth", "honesty", "Wrong?", "unreadable", "Off.", 0.0, None, "drifted")
KEPT = RevisionStep(3, "brevity", "style", "", "keep")


def revisions():
    rows = (
        Revision("Q", "First", (TAKEN, REFUSED), "drifted", 0.9),
        Revision([{"role": "user", "content": "Q"}], "First", (KEPT,), "rounds"),
    )
    return Revisions(rows, "constitution:x@1#0", "m", "j")


def test_a_row_knows_what_became_of_it():
    first, second = revisions()
    assert (first.last, first.revised, first.objected, first.principles) == ("Better.", True, True, ["tone"])
    assert (second.last, second.revised, second.objected, second.principles) == ("First", False, False, [])
    assert [step.accepted for step in (TAKEN, REFUSED, KEPT)] == [True, False, False]
    assert Revision("Q", "F", (REFUSED,), "drifted").objected


def test_everything_goes_through_json(tmp_path):
    whole = revisions()
    assert Revisions.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    whole.save(tmp_path / "rows.json")
    assert Revisions.load(tmp_path / "rows.json") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_it_is_a_sequence_and_its_parts_know_where_they_come_from():
    whole = revisions()
    assert len(whole) == 2 and whole[1].first == "First"
    assert whole[:1] == Revisions(whole.rows[:1], "constitution:x@1#0", "m", "j")
    assert len(whole.where(lambda row: row.revised)) == 1
    with pytest.raises(IndexError):
        whole[2]
