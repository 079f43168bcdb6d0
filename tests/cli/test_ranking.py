"""`rlhf-ext feedback ranking`, run as a user runs it."""

import json

import pytest

from rlhf_ext.cli import main
from rlhf_ext.data.store import FeedbackItem, FeedbackRecord

from ..evaluation.human.crowd import filled


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


def test_a_store_becomes_a_leaderboard(folder, capsys):
    filled("feedback.sqlite", items=60, judge=0.9)
    assert main(["feedback", "ranking", "--output", "report", "--cluster_by", "both", "--anchor", "sft"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("ppo") < shown.index("dpo") < shown.index("sft") and "Strength (Elo)" in shown
    assert "3 are few for that" in shown and "report  report/report.html" in shown
    board = json.loads((folder / "report" / "leaderboard.json").read_text())
    assert board["models"] == ["ppo", "dpo", "sft"] and board["elo"]["sft"]["value"] == 1000
    assert (
        board["counts"]["votes"] == 180 and board["settings"]["intervals"] == "bootstrap by item and annotator, seed 0"
    )
    assert json.loads((folder / "report" / "report.json").read_text())["matrices"]
    assert main(["feedback", "ranking", "--source", "ai", "--output", "judged"]) == 0
    assert json.loads((folder / "judged" / "leaderboard.json").read_text())["counts"]["votes"] == 60


def test_who_fails_gold_questions_is_left_out(folder, capsys):
    store, _ = filled("feedback.sqlite", items=30)
    golden = [
        FeedbackItem("comparison", f"Gold {i}?", ("yes", "no"), models=("a", "b"), gold={"strength": 1.0})
        for i in range(6)
    ]
    store.add_items(golden)
    store.add([FeedbackRecord("comparison", item.id, "cy", {"strength": 0.0}) for item in golden])
    assert main(["feedback", "ranking", "--min_gold_right", "0.7"]) == 0
    assert "30 their annotator is left out" in capsys.readouterr().out
    board = json.loads((folder / "ranking" / "leaderboard.json").read_text())
    assert board["counts"]["annotators"] == 2 and board["left_out"]["gold items"] == 6


def test_rows_of_a_judge_with_what_it_left_out(folder, capsys):
    rows = [
        {"prompt": f"q{i}", "chosen": "x", "rejected": f"y{i}", "source": "ai", "annotator": "judge"}
        | {"chosen_model": "ppo" if i % 4 else "sft", "rejected_model": "sft" if i % 4 else "ppo"}
        for i in range(40)
    ]
    (folder / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    left = {
        "prompt": "q",
        "responses": ["x", "y"],
        "reason": "abstained, the orders disagree: p(first shown) 0.9 and 0.8",
    }
    (folder / "left_out.jsonl").write_text(json.dumps(left) + "\n")
    (folder / "empty.jsonl").write_text("")
    files = ["preferences.jsonl", "left_out.jsonl", "empty.jsonl"]
    assert main(["feedback", "ranking", "--rows", *files, "--output", "r"]) == 0
    assert "Not counted: 1 abstained, the orders disagree." in capsys.readouterr().out
    board = json.loads((folder / "r" / "leaderboard.json").read_text())
    assert board["win_rates"]["ppo > sft"]["value"] == 0.75 and board["settings"]["votes of"] == "judges"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--database", "gone.sqlite"], "There is no database 'gone.sqlite'"),
        (["--anchor", "gpt"], "`anchor` is 'gpt', which is none of the models"),
        (["--wins", "sum"], "invalid choice: 'sum'"),
        (["--output", "feedback.sqlite"], "is a file; give a folder"),
        (["--rows", "feedback.sqlite", "--gold", "True"], "--gold is for a --database"),
        (["--rows", "gone.jsonl"], "gone.jsonl"),
    ],
)
def test_mistakes_end_in_a_line(folder, options, said, capsys):
    filled("feedback.sqlite", items=6)
    assert main(["feedback", "ranking", *options]) == 2
    assert said in complaint(capsys)
    assert not (folder / "ranking").exists() and not (folder / "gone.sqlite").exists()


def test_unknown_models_are_refused_or_left_out(folder, capsys):
    filled("feedback.sqlite", items=6, models=False)
    assert main(["feedback", "ranking"]) == 2
    assert "6 of 6 items do not say which models wrote the answers" in complaint(capsys)
    filled("feedback.sqlite", items=20, seed=1)
    assert main(["feedback", "ranking", "--unknown", "leave_out"]) == 0
    assert "18 who wrote an answer is unknown" in capsys.readouterr().out
