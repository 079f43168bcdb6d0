"""Suites as lm-eval's tasks: lm-eval itself runs them, and finds what our own runner finds."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext.evaluation.harness import export_suite, read_results
from rlhf_ext.evaluation.harness.exporting import command
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.safety import StrongReject, safety_suite
from rlhf_ext.evaluation.suites import load_suite
from rlhf_ext.generation import LocalGenerator, ScriptedGenerator

from .lm import run

SAFETY = {"jailbreaks_per_category": 1, "sampling": {"temperature": 0.0, "max_new_tokens": 6}}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    yield
    sys.modules.pop("small_suite", None)


@pytest.fixture(scope="session")
def long_reader(tiny, tmp_path_factory):
    """The tiny model with room for the longest jailbreak."""
    folder = tmp_path_factory.mktemp("long") / "model"
    shutil.copytree(tiny, folder)
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**settings, key: 8192}))
    return str(folder)


def generator(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return LocalGenerator(model, AutoTokenizer.from_pretrained(folder), 16)


def test_lm_eval_finds_what_our_runner_finds_on_a_small_suite(tiny, tmp_path):
    path = export_suite("small_suite:greedy", tmp_path / "tasks")
    moved = shutil.move(tmp_path / "tasks", tmp_path / "elsewhere")  # nothing in it knows where it lies
    found = run(tiny, path.stem, moved, tmp_path / "results")["results"][path.stem]
    ours = run_suite(generator(tiny), load_suite("small_suite:greedy"))
    for name, estimate in ours.estimates().items():
        if name != "small.failed":
            assert found[f"{name.removeprefix('small.')},none"] == pytest.approx(estimate.value, abs=1e-9), name
    assert "never,none" not in found and found["a_word_stderr,none"] > 0 and found["any_long_stderr,none"] == "N/A"
    # Its samples give back our columns, with None where a figure does not apply.
    [read] = read_results(tmp_path / "results").results
    columns = {column.name: column.values for column in ours.columns}
    assert {column.name: column.values for column in read.columns} == {
        name: columns[name] for name in ("a_word", "long", "shouting", "empty")
    }
    assert read.answers == ours.answers


def test_lm_eval_finds_what_our_runner_finds_on_the_safety_suite(long_reader, tmp_path):
    path = export_suite("safety", tmp_path, SAFETY)
    found = run(long_reader, path.stem, tmp_path, tmp_path / "results")["results"][path.stem]
    suite = load_suite("safety", **SAFETY)
    ours = run_suite(generator(long_reader), suite)
    estimates = ours.estimates()
    assert len(estimates) > 15 and {len(case.prompt) for case in suite.cases} > {1, 2}
    for name in suite.figures:
        assert found[f"{name},none"] == pytest.approx(estimates[f"safety.{name}"].value, abs=1e-9), name
    # Read back, the suite measures the answers anew: every figure has its interval, and the name that it has with us.
    read = read_results(tmp_path / "results")
    assert not read.measures and read.results[0].estimates() == estimates


def test_several_samples_are_documents_of_their_own(tiny, tmp_path):
    path = export_suite("small_suite:make", tmp_path)
    config = yaml.load(path.read_text().replace("!function ", ""), yaml.SafeLoader)
    assert config["generation_kwargs"] == {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}
    assert len(path.with_suffix(".jsonl").read_text().splitlines()) == 48
    run(tiny, path.stem, tmp_path, tmp_path / "results")
    [read] = read_results(tmp_path / "results").results
    assert len(read.answers) == 48 and any(a != b for a, b in zip(read.answers[::2], read.answers[1::2], strict=True))


def test_only_some_documents_and_a_system_prompt(tiny, tmp_path):
    path = export_suite("small_suite:greedy", tmp_path)
    output = tmp_path / "results"
    found = run(tiny, path.stem, tmp_path, output, limit=5, system_instruction="Be kind.")
    assert found["n-samples"][path.stem]["effective"] == 5 and "any_long,none" in found["results"][path.stem]
    samples = next(output.rglob("samples_*.jsonl")).read_text().splitlines()
    assert "Be kind." in json.loads(samples[0])["arguments"]["gen_args_0"]["arg_0"] and len(samples) == 5


def test_chats_without_the_template_and_examples_are_refused(tiny, tmp_path):
    path = export_suite("small_suite:greedy", tmp_path)
    with pytest.raises(ValueError, match="are chats: run lm_eval with --apply_chat_template"):
        run(tiny, path.stem, tmp_path, tmp_path / "results", chat=False)
    with pytest.raises(ValueError, match="has no examples to show"):
        run(tiny, path.stem, tmp_path, tmp_path / "results", num_fewshot=2)


def test_plain_prompts_are_sent_as_they_are_with_or_without_a_template(tiny, tmp_path):
    path = export_suite("small_suite:plain", tmp_path)
    assert "--apply_chat_template" not in command(path)
    for chat in (False, True):
        run(tiny, path.stem, tmp_path, tmp_path / f"results {chat}", chat=chat)
        [samples] = (tmp_path / f"results {chat}").rglob("samples_*.jsonl")
        first = json.loads(samples.read_text().splitlines()[0])
        assert first["arguments"]["gen_args_0"]["arg_0"] == "How do I care for cats?"


def test_another_version_of_the_suite_is_refused(tiny, tmp_path):
    path = export_suite("small_suite:greedy", tmp_path)
    config = path.read_text()
    path.write_text(config.replace(re.search(r"version: (\w+)", config)[1], "0123456789ab"))
    with pytest.raises(ValueError, match="was exported from version 0123456789ab of the suite 'small'"):
        run(tiny, path.stem, tmp_path, tmp_path / "results")


def test_what_needs_a_judge_is_named_and_nothing_is_written(tmp_path):
    judge = StrongReject(ScriptedGenerator(["refused: 1\nconvincing: 1\nspecific: 1"]))
    output = tmp_path / "tasks"
    with pytest.raises(
        ValueError, match=r"harmful_grade.* of the suite 'safety' cannot be exported.*need a judge or a model"
    ):
        export_suite("safety", output, suite=safety_suite(judge=judge))
    with pytest.raises(
        ValueError, match="The settings of 'safety' cannot be written into a task .*a judge or a model"
    ):
        export_suite("safety", output, {"judge": judge})
    with pytest.raises(ValueError, match="has other prompts than 'safety'"):
        export_suite("safety", output, suite=safety_suite(jailbreaks_per_category=1))
    assert export_suite("safety", output, suite=safety_suite()).exists()


def test_names_mixtures_and_files_in_the_way(tmp_path):
    with pytest.raises(ValueError, match="should be letters, digits and underscores"):
        export_suite("small_suite:greedy", tmp_path / "x", task="my task")
    with pytest.raises(ValueError, match="There is no suite 'safty'"):
        export_suite("safty", tmp_path / "x")
    with pytest.raises(ValueError, match="mixes chats .* with plain prompts"):
        export_suite("small_suite:mixed", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        export_suite("small_suite:greedy", tmp_path / "file")
