"""The loop of examples/active_feedback_loop.py, small: it selects, asks over HTTP, learns, and says how that went."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf_ext.data.store import FeedbackStore

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from simulated_crowd import Page  # noqa: E402


def test_the_loop_goes_round(tmp_path):
    command = [sys.executable, EXAMPLES / "active_feedback_loop.py", "--output", tmp_path / "out"]
    command += ["--tiny"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert [run["labels"] for runs in figures["curves"].values() for run in runs] == [[6, 12], [6, 12]]
    assert all(0 <= share <= 1 for runs in figures["curves"].values() for run in runs for share in run["accuracy"])
    assert "accuracy on held-out pairs" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name in ("active", "random"):
        store = FeedbackStore(tmp_path / "out" / "seed_0" / name / "feedback.sqlite")
        records = list(store.records(kinds=["comparison"]))
        assert len({record.item for record in records}) == len(records) == 12
        store.close()


@pytest.mark.parametrize("answer", ["plain", "<b>&amp;\n two lines", "<div>not a tag</div>"])
def test_the_crowd_reads_answers_as_they_are(answer):
    from html import escape

    shown = f'<div class="text as-written"><div class="prose" dir="auto">{escape(answer)}</div></div>'
    page = Page(f'<input type="hidden" name="assignment" value="7-0">{shown}<p>after</p>{shown}')
    assert page.is_question and page.texts == [answer, answer]
