"""examples/code_generation_rlhf.py: what its reader is promised."""

import pytest

from rlhf_ext.sandbox import SandboxUnavailable, available_runner


@pytest.fixture(autouse=True)
def _sandbox():
    try:
        available_runner(None, False)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def test_pass_at_k_is_measured_before_and_after(run):
    found, folder, shown = run("code_generation_rlhf")
    before, after = zip(*(found["before_and_after"][f"code.pass_at_{k}"] for k in (1, 4)), strict=True)
    assert all(0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in (*before, *after))
    assert before[0]["low"] > 0.1, "the warm start taught nothing"
    assert before[0]["value"] <= before[1]["value"] and after[0]["value"] <= after[1]["value"]
    assert (folder / "model" / "model.safetensors").is_file() and (folder / "report" / "report.html").is_file()
    assert "Solves in 4 attempts (pass@4)" in shown
