"""`rlhf-ext evaluate`, run as a user runs it."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from rlhf_ext.cli import main
from rlhf_ext.cli.evaluation import EvaluateArguments
from rlhf_ext.sandbox import check_sandbox

from ..conftest import THINKING
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
    from rlhf_ext.cli.evaluation import EvaluateArguments
    from rlhf_ext.cli.suite_settings import settings_of_suites

    told = settings_of_suites(EvaluateArguments(model=tiny, samples=2, judge=tiny))["safety"]
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


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    words = ["owls", "bees", "ants", "eels"]
    path.write_text(
        "".join(json.dumps({"prompt": f"Tell me about {w}.", "answer": f"I like {w}."}) + "\n" for w in words)
    )
    return ["--suite", "automatic", "--data", str(path), "--reference", "answer"]


def test_metrics_over_ones_own_rows(tiny, adapter, rows, tmp_path, gate, capsys):
    metrics = f"rougeL,corpus_bleu,length,perplexity={tiny},kl={tiny}"
    command = ["evaluate", "--model", adapter, "--baseline", tiny, *rows, "--metrics", metrics, "--chat"]
    path = tmp_path / "limits.yaml"
    path.write_text("automatic.corpus_bleu: {min: 0.5}\nautomatic.kl: {max: 1000}\n")
    assert main([*command, "--output", str(tmp_path / "r"), "--thresholds", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "BLEU of the corpus" in shown and "fails   automatic.corpus_bleu is" in shown
    assert "automatic.kl" not in shown.split("fails")[-1]
    figures = {one["name"]: one for one in json.loads((tmp_path / "r" / "report.json").read_text())["figures"]}
    kl = figures["automatic.kl"]
    assert kl["before"]["value"] == pytest.approx(0, abs=1e-4) and kl["after"]["value"] > 0.01
    assert figures["automatic.perplexity"]["after"]["value"] > 1
    line = json.loads((tmp_path / "r" / "automatic.jsonl").read_text().splitlines()[0])
    assert "rougeL" in line["after_values"] and "corpus_bleu" not in line["after_values"]


def test_instructions_beside_them(tiny, rows, tmp_path, capsys, monkeypatch):
    from rlhf_ext.evaluation.instructions import InstructionsSuite, instruction_prompts

    few = [case for case in instruction_prompts() if case.category == "question"]
    monkeypatch.setattr("rlhf_ext.evaluation.instructions.instructions_suite", lambda **k: InstructionsSuite(few, **k))
    rows[1] = "instructions,automatic"
    command = ["evaluate", "--model", tiny, *rows, "--metrics", "token_f1", "--output", str(tmp_path / "r")]
    assert main([*command, "--samples", "2"]) == 0
    assert "Follows all constraints of a prompt, strict" in capsys.readouterr().out
    names = {one["name"] for one in json.loads((tmp_path / "r" / "report.json").read_text())["measures"]}
    assert {"instructions.prompt_strict", "instructions.instruction_loose", "automatic.token_f1"} <= names


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metrics", "bleu"], "--metrics is for the suite automatic, which is not among --suite safety"),
        (
            ["--suite", "instructions", "--judge", "x"],
            "--judge is for the suite safety, which is not among --suite instructions",
        ),
        (["--suite", "automatic", "--metrics", "bleu"], "--data is needed"),
        (["--suite", "automatic", "--data", "gone.jsonl"], "--metrics is needed"),
        (["--suite", "automatic", "--data", "gone.jsonl", "--metrics", "bleu"], "No such file: gone.jsonl"),
    ],
)
def test_what_automatic_needs(flags, words, tmp_path, capsys):
    assert main(["evaluate", "--model", "no/such-model", "--output", str(tmp_path / "out"), *flags]) == 2
    assert words in complaint(capsys)


def test_a_column_that_is_not_there_is_said_before_a_model_is_loaded(rows, tmp_path, capsys):
    command = ["evaluate", "--model", "no/such-model", *rows[:-2], "--metrics", "bleu"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    assert "'bleu' reads the column 'reference', which is not there; the columns are answer" in complaint(capsys)


def test_a_judge_compares_both_models_answers_in_both_orders(tiny, adapter, tmp_path, gate, capsys):
    command = [
        "evaluate",
        "--model",
        adapter,
        "--baseline",
        tiny,
        "--suite",
        "small_suite:greedy",
        "--win_rate",
        "assistant",
    ]
    command += ["--judge", "judge", "--output", str(tmp_path / "r"), *gate(win_rate={"min": 0.6})]
    with Endpoint() as server:
        assert main([*command, "--judge_base_url", server.url]) == 1
        asked = server.requests
    shown = capsys.readouterr().out
    assert "Preferred by the judge" in shown and "fails   small.win_rate is 50%" in shown
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    # The endpoint prefers the second answer, whichever it is: both orders make a tie.
    ties = next(measure for measure in report["measures"] if measure["name"] == "small.win_rate_ties")
    assert ties["estimate"]["value"] == 1 and ties["estimate"]["n"] == 24
    lines = [json.loads(line) for line in (tmp_path / "r" / "small.jsonl").read_text().splitlines()]
    different = sum(line["before"].strip() != line["after"].strip() for line in lines)
    assert 0 < 2 * different <= asked and lines[0]["after_values"]["win_rate"] == 0.5


@pytest.mark.parametrize("flags", [["--win_rate", "assistant"], ["--win_rate", "assistant", "--judge", "j"]])
def test_a_win_rate_needs_a_judge_and_a_baseline(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--model", "no/such-model", "--suite", "small_suite:greedy", *flags]) == 2
    assert "--win_rate compares by --judge with a --baseline" in complaint(capsys)


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


def test_where_code_cannot_be_contained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap
    check_sandbox.cache_clear()
    with Endpoint() as server:
        command = ["evaluate", "--model", "served", "--base_url", server.url, "--suite", "code", "--output", "report"]
        assert main(command) == 2
    assert "bubblewrap" in complaint(capsys)


def test_a_quick_look(tmp_path, capsys):
    with Endpoint() as server:
        command = ["evaluate", "--model", "served", "--base_url", server.url, "--suite", "instructions"]
        assert main([*command, "--max_cases", "7", "--output", str(tmp_path)]) == 0
    assert len((tmp_path / "instructions.jsonl").read_text().splitlines()) == 7
    assert main(
        [*command, "--max_cases", "0"]
    ) == 2 and "`max_cases` must be a positive whole number, got 0" in complaint(capsys)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--suite", "code", "--ks", "1,ten"], "--ks should be whole numbers with commas between, got '1,ten'"),
        (["--suite", "code", "--ks", "4"], "pass@4 needs at least 4 samples"),
        (["--suite", "code", "--problems", "gone.jsonl"], "No such file: gone.jsonl"),
        (["--suite", "code", "--toxicity", "original"], "--toxicity is for the suite safety"),
        (["--suite", "safety", "--ks", "2"], "--ks is for the suite code"),
        (
            ["--suite", "small_suite:make", "--samples", "2"],
            "--samples is for the suite safety or instructions or code or automatic, which",
        ),
    ],
)
def test_settings_of_the_code_suite_are_checked_before_a_model_is_loaded(arguments, match, tmp_path, capsys):
    assert main(["evaluate", "--model", "gone", "--output", str(tmp_path / "report"), *arguments]) == 2
    assert match in complaint(capsys)


@pytest.fixture
def thinker(tiny, tmp_path):
    """The tiny model with a chat template that has a switch."""
    folder = str(tmp_path / "thinker")
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(folder)
    return folder


def test_model_and_baseline_are_asked_without_thinking_and_the_judge_as_it_is_told(thinker, tmp_path, monkeypatch):
    told = []
    fill = PreTrainedTokenizerBase.apply_chat_template

    def spy(self, conversation, *args, **kwargs):
        told.append(kwargs.get("enable_thinking"))
        return fill(self, conversation, *args, **kwargs)

    monkeypatch.setattr(PreTrainedTokenizerBase, "apply_chat_template", spy)
    switch = ["--chat_template_kwargs", '{"enable_thinking": false}']
    command = ["evaluate", "--model", thinker, "--suite", "small_suite:greedy", "--output", str(tmp_path / "r")]
    assert main(command) == 0 and set(told) == {None}
    answers = {path: path.read_bytes() for path in (tmp_path / "r" / "cache").iterdir()}
    told.clear()
    assert main([*command, "--baseline", thinker, *switch]) == 0
    assert len(told) == 24 and set(told) == {False}, "asked anew, not read from the cache; the baseline from the cache"
    assert answers.items() <= {path: path.read_bytes() for path in (tmp_path / "r" / "cache").iterdir()}.items()
    ours = {"model": thinker, "judge": thinker, "chat_template_kwargs": {"enable_thinking": False}}
    assert EvaluateArguments(**ours).judge_generator.chat_template_kwargs == {}
    judge = EvaluateArguments(**ours, judge_chat_template_kwargs='{"enable_thinking": true}').judge_generator
    assert judge.chat_template_kwargs == {"enable_thinking": True}


def test_a_switch_that_is_no_json_is_refused_before_anything_is_loaded(tmp_path, capsys):
    command = ["evaluate", "--model", "no/such", "--suite", "small_suite:greedy", "--output", str(tmp_path / "r")]
    assert main([*command, "--chat_template_kwargs", "{enable"]) == 2
    assert "`chat_template_kwargs` is not JSON" in complaint(capsys)
