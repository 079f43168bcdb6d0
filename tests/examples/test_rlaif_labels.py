"""examples/rlaif_labels.py: what its reader is promised."""

import json

import pytest


def test_a_budget_stops_it_and_a_larger_one_goes_on(run):
    with pytest.raises(SystemExit, match="pairs are not judged"):
        run("rlaif_labels", "--max_requests", "60")
    found, folder, _ = run("rlaif_labels")
    rows = [json.loads(line) for line in (folder / "labels" / "preferences.jsonl").read_text().splitlines()]
    assert len(rows) == found["labels"] > 100
    assert found["requests"] >= 2 * found["labels"]
    assert all(0.5 <= row["preference_strength"] <= 1 for row in rows)
    assert len({row["preference_strength"] for row in rows}) > 10, "labels without degrees"
    assert found["measures"]["position_bias"]["low"] > 0, "the judge likes what it is shown first, and it is not seen"
    assert found["accuracy"]["value"] > 0.5
    assert (folder / "training" / "adapter_config.json").is_file() and (folder / "report" / "report.html").is_file()
