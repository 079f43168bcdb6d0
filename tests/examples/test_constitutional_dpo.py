"""examples/constitutional_dpo.py: what its reader is promised."""


def test_revisions_become_pairs_and_the_model_follows_them(run):
    found, folder, shown = run("constitutional_dpo")
    assert found["pairs"] + found["left_out"] == 96 and found["pairs"] > 48
    assert found["revisions"]["words"]["high"] < 0, "the critic asks for brevity"
    assert found["changes"]["automatic.length"]["high"] < 0, "DPO did not follow the revisions"
    assert (folder / "steps.jsonl").is_file() and (folder / "model" / "model.safetensors").is_file()
    assert "prompts revised" in shown and (folder / "report" / "report.html").is_file()
    steps = (folder / "steps.jsonl").read_bytes()
    again, _, _ = run("constitutional_dpo")  # nothing is left to do, and nothing is done anew
    assert again == found and (folder / "steps.jsonl").read_bytes() == steps
