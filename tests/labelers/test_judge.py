"""What labelers that ask a model have in common."""

import pytest

from rlhf_ext import ScriptedGenerator
from rlhf_ext.data.store import Judgement
from rlhf_ext.labelers import PairwiseLabeler, ScoreLabeler
from rlhf_ext.labelers.judge import read_text
from rlhf_ext.labelers.rubric import read_choice


@pytest.mark.parametrize(
    ("judgement", "read"),
    [
        (Judgement({"text": "2"}), 0.0),
        (Judgement({"text": "1"}), 1.0),
        (Judgement({"text": "both"}), "unreadable: the judge wrote 'both'"),
        (Judgement({"text": None}), "unreadable: the judge wrote ''"),
        (Judgement(None, "timed out"), "failed: timed out"),
    ],
)
def test_what_was_written_is_read_or_explained(judgement, read):
    assert read_text(judgement, lambda text: read_choice(text, False)) == read


@pytest.mark.parametrize("kind", [PairwiseLabeler, ScoreLabeler])
def test_settings_are_checked(kind):
    judge = ScriptedGenerator([])
    for setting, value, message in [
        ("mode", "guess", "'auto', 'logprobs' or 'text', got 'guess'"),
        ("votes", 0, "`votes` should be at least 1"),
        ("min_confidence", 1.1, "in \\[0.5, 1\\], got 1.1"),
    ]:
        with pytest.raises(ValueError, match=message):
            kind(judge, "Be right.", **{setting: value})
    with pytest.raises(TypeError, match="needs a method `each`"):
        kind(object(), "Be right.")


def test_a_job_has_the_same_name_for_the_same_settings_and_data_alone():
    def name(rows=("a", "b"), **settings):
        labeler = ScoreLabeler(ScriptedGenerator([]), settings.pop("rubric", "Be right."), **settings)
        return labeler._new_job(["version"], [["?", list(rows)]]).name

    assert name() == name(min_confidence=0.9)
    others = [name(rows=("a", "c")), name(seed=1), name(model="other"), name(votes=3)]
    assert len({name(), *others}) == 5
