"""`rlhf-ext evaluate`, run as a user runs it."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from rlhf_ext.cli import main

from ..labelers.endpoint import Endpoint


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "evaluation"))
    yield
    sys.modules.pop("small_suite", None)


@pytest.fixture
def gate(tmp_path):
    def write(**limits):
        path = tmp_path / "gate.yaml"
        path.write_text(yaml.safe_dump({f"small.{name}": limit for name, limit in limits.items()}))
        return ["--thresholds", str(path)]

    return write


@pytest.fixture
def adapter(tiny, tmp_path):
    """A folder with an adapter alone, whose answers are not those of its base."""
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(tmp_path / "adapter")
    return str(tmp_path / "adapter")


def complaint(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]


def test_an_adapter_against_its_base_with_a_gate(tiny, adapter, tmp_path, gate, capsys):
    output = tmp_path / "report"
    command = ["evaluate", "--model", adapter, "--baseline", tiny, "--suite", "small_suite:greedy"]
    command += ["--output", str(output)]
    assert main([*command, *gate(failed={"max": 0.2}, any_long={"not_worse": True})]) == 0
    shown = capsys.readouterr().out
    assert "Any of the samples" in shown and "passes" in shown and "fails" not in shown
    report = json.loads((output / "report.json").read_text())
    assert [figure["name"] for figure in report["figures"]][:2] == ["small.a_word", "small.long"]
    assert report["settings"]["model"] != report["settings"]["baseline"]
    lines = [json.loads(line) for line in (output / "small.jsonl").read_text().splitlines()]
    assert len(lines) == 24 and any(line["before"] != line["after"] for line in lines)
    page = (output / "report.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    # The answers are there: another gate costs no generation, and fails.
    kept = {path: path.stat().st_mtime_ns for path in (output / "cache").iterdir()}
    assert main([*command, *gate(never={"max": 1.0}, failed={"max": 0.01})]) == 1
    shown = capsys.readouterr().out
    assert "fails   small.never was not measured" in shown and "fails   small.failed is 0%" in shown
    assert {path: path.stat().st_mtime_ns for path in (output / "cache").iterdir()} == kept


def test_an_endpoint_that_refuses_some_against_a_model_here(tiny, tmp_path, capsys):
    with Endpoint(share=0.3, faults=("choices",)) as server:
        command = ["evaluate", "--model", "served", "--base_url", server.url, "--baseline", tiny]
        assert main([*command, "--suite", "small_suite:make", "--output", str(tmp_path / "r")]) == 0
    refused = server.given["choices"]
    assert 0 < refused < 48
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["settings"]["model"].startswith("served@http") and report["subtitle"].startswith("served against")
    failed = next(figure for figure in report["figures"] if figure["name"] == "small.failed")
    assert failed["after"]["value"] == pytest.approx(refused / 48) and failed["before"]["value"] == 0
    assert f"{refused} of 48 answers to small could not be generated" in report["notes"][1]


@pytest.mark.parametrize(
    ("options", "limits", "said"),
    [
        (["--suite", "safty"], None, "There is no suite 'safty'; there are safety, "),
        (["--suite", "small_suite:greedy", "--thresholds", "gone.yaml"], None, "gone.yaml"),
        (["--suite", "small_suite:greedy"], {"polite": {"min": 0.5}}, "no figure 'small.polite'"),
        (["--suite", "small_suite:greedy"], {"a_word": {"not_worse": True}}, "compares with a baseline"),
        (
            ["--suite", "small_suite:greedy", "--baseline_base_url", "http://x/v1"],
            None,
            "--baseline, which is not given",
        ),
        (["--suite", "small_suite:greedy", "--output", __file__], None, "is a file"),
    ],
)
def test_mistakes_are_said_before_a_model_is_loaded(options, limits, said, gate, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "--model", "no/such-model", *options, *(gate(**limits) if limits else [])]
    assert main(command) == 2
    assert said in complaint(capsys)
    assert not list(tmp_path.glob("evaluation*"))


def test_a_model_that_is_not_there(tmp_path, capsys):
    assert (
        main(["evaluate", "--model", str(tmp_path), "--suite", "small_suite:greedy", "--output", str(tmp_path / "r")])
        == 2
    )
    assert not (tmp_path / "r").exists() and "rlhf-ext: " in complaint(capsys)


def test_what_the_safety_suite_is_told(tiny):
    from rlhf_ext.cli.evaluation import EvaluateArguments, _safety_settings

    told = _safety_settings(EvaluateArguments(model=tiny, samples=2, judge=tiny))
    assert told["samples"] == 2
    assert told["judge"](prompts=["How?"], completions=["I cannot help with that."]) != [1.0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--suite", "small_suite:make", "--samples", "4"], "--samples is for the suite safety"),
        (["--judge_base_url", "http://127.0.0.1:9"], "--judge_base_url is the endpoint of --judge"),
        (["--toxicity", "mild"], "original"),
    ],
)
def test_what_the_safety_suite_cannot_be_told(tiny, tmp_path, capsys, flags, words):
    assert main(["evaluate", "--model", tiny, "--output", str(tmp_path / "out"), *flags]) == 2
    assert words in complaint(capsys)


def test_the_code_suite_with_its_settings(tmp_path, capsys):
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"id": "add", "prompt": "Write add.", "tests": ["assert add(1, 2) == 3"]}) + "\n")
    settings = ["--problems", str(problems), "--samples", "3", "--ks", "1,3", "--output", str(tmp_path / "report")]
    with Endpoint() as server:
        command = ["evaluate", "--model", "served", "--base_url", server.url, "--suite", "code"]
        assert main([*command, *settings]) == 0
    assert "Solves in 3 attempts (pass@3)" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "code.pass_at_3" in json.dumps(report)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--suite", "code", "--ks", "1,ten"], "--ks should be whole numbers with commas between, got '1,ten'"),
        (["--suite", "code", "--ks", "4"], "pass@4 needs at least 4 samples"),
        (["--suite", "code", "--problems", "gone.jsonl"], "No such file: gone.jsonl"),
        (["--suite", "code", "--toxicity", "original"], "--toxicity is for the suite safety"),
        (["--suite", "safety", "--ks", "2"], "--ks is for the suite code"),
        (["--suite", "small_suite:make", "--samples", "2"], "--samples is for the suite safety or code, which"),
    ],
)
def test_settings_of_the_code_suite_are_checked_before_a_model_is_loaded(arguments, match, tmp_path, capsys):
    assert main(["evaluate", "--model", "gone", "--output", str(tmp_path / "report"), *arguments]) == 2
    assert match in complaint(capsys)
