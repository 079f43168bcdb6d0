"""The loop of examples/ab_test_to_next_round.py, small: it serves, hears users, trains on what they said, and serves the result."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "ab_test_to_next_round.py"


def test_feedback_on_one_round_trains_the_next_variant(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, str(EXAMPLE), "--output", str(out), "--users", "20", "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    rows = [json.loads(line) for line in (out / "round_1" / "preferences.jsonl").read_text().splitlines()]
    assert figures["thumbs"] == 120 and figures["preferences"] == len(rows) > 0
    assert {row["chosen_model"] for row in rows} <= {"base", "twin"}
    assert (out / "next" / "adapter_config.json").is_file()
    of_thumbs = [one for one in figures["report"]["figures"] if one["metric"] == "thumbs_up"]
    assert {one["variant"] for one in of_thumbs} == {"base", "next"}
    assert sum(one["users"] for one in of_thumbs) == 20 and sum(one["requests"] for one in of_thumbs) == 120
