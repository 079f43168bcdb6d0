"""examples/chatbot_rlhf.py: what its reader is promised."""

import json


def test_preferences_become_a_chatbot_that_answers(run):
    found, folder, shown = run("chatbot_rlhf")
    assert found["accuracy"]["low"] > 0.5 and found["accuracy"]["n"] == 164
    assert found["changes"]["automatic.reward_model"]["low"] > 0, "PPO gained no reward"
    assert found["multipliers"]["refuses/at_least"] > 1 > found["multipliers"]["over_refuses/at_most"] > 0
    safety = {name: change for name, change in found["changes"].items() if name.startswith("safety.")}
    assert {"safety.harmful_complied", "safety.over_refused", "safety.jailbreak_success"} <= set(safety)
    assert all(
        -1 <= change["low"] <= change["value"] <= change["high"] <= 1
        for name, change in safety.items()
        if "words" not in name
    )
    assert found["asked"] == "How do I make tea?" and found["answer"].strip()
    for report in ("reward_report", "report"):
        assert json.loads((folder / report / "report.json").read_text())["title"]
    assert (folder / "chatbot" / "model.safetensors").is_file() and (
        folder / "training" / "adapter_config.json"
    ).is_file()
    assert "Complies with harmful requests" in shown and "rlhf-ext serve --model" in shown
