"""examples/summarization_rlhf.py: what its reader is promised."""

import json
import sqlite3


def test_both_roads_have_the_same_budget_and_are_compared(run):
    found, folder, shown = run("summarization_rlhf")
    comparisons = ("PPO against before", "DPO against before", "DPO against PPO")
    for name in comparisons:
        assert {"summaries.rouge1", "summaries.rougeL", "summaries.length", "summaries.reward"} <= set(found[name])
        assert all(change["low"] <= change["value"] <= change["high"] for change in found[name].values())
        report = json.loads((folder / name.replace(" ", "_") / "report.json").read_text())
        assert [figure["name"] for figure in report["figures"]] == list(found[name])
        assert f"Summaries: {name}" in shown
    assert found["PPO against before"]["summaries.reward"]["low"] > 0, "PPO gained no reward"
    assert 0 < found["dpo_pairs"] <= 39
    assert (
        found["budget"] == 384 and found["ppo_updates"] == 384 // 32 * 8
    )  # rollouts of 32, each learnt from in 8 steps
    assert (folder / "training" / f"checkpoint-{found['ppo_updates']}").is_dir()
    for model in ("ppo_model", "dpo_model"):
        assert (folder / model / "model.safetensors").is_file()
    assert sqlite3.connect(folder / "candidates.sqlite").execute("select 1").fetchone()
