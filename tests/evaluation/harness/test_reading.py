"""Results that lm-eval itself wrote: by its samples, by its standard errors, and one run against another."""

import json
import math
import re

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_ext.cli import main
from rlhf_ext.evaluation.harness import harness_report, read_results
from rlhf_ext.evaluation.report import render_html, render_table
from rlhf_ext.stats import rate_difference, wilson

from .lm import run

DOCS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two of lm-eval's own kinds of task, with local data: choices, and texts by exact match and chrF."""
    made = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(0)
    rows = [
        {"question": f"{a} + {b} =", "choices": [f"{a + b}", f"{a + b + 1}", f"{a - b}"], "answer": 0}
        for a, b in rng.integers(1, 60, (DOCS, 2)).tolist()
    ]
    (made / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shared = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(made / "sums.jsonl")}}}
    shared |= {"test_split": "test", "doc_to_text": "{{question}}", "metadata": {"version": 1.0}}
    choices = {"task": "sums", "output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer"}
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    (made / "sums.yaml").write_text(yaml.safe_dump({**shared, **choices, "metric_list": metrics}))
    written = {"task": "written", "output_type": "generate_until", "doc_to_target": "{{choices[0]}} is what it is"}
    metrics = [
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
        {"metric": "chrf", "aggregation": "chrf", "higher_is_better": True},
    ]
    kwargs = {"until": ["\n"], "max_gen_toks": 6, "do_sample": False}
    (made / "written.yaml").write_text(
        yaml.safe_dump({**shared, **written, "metric_list": metrics, "generation_kwargs": kwargs})
    )
    return made


@pytest.fixture(scope="module")
def other(tiny, tmp_path_factory):
    """Another model: the tiny one with noise in its weights."""
    made = str(tmp_path_factory.mktemp("models") / "other")
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype="float32")
    torch.manual_seed(0)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def runs(tiny, other, folder, tmp_path_factory):
    """Folders with results: of the tiny model, of the other, and of the other without samples."""
    made = tmp_path_factory.mktemp("runs")
    settings = {"chat": False, "bootstrap_iters": 20}
    for name, model, samples in (("a", tiny, True), ("b", other, True), ("c", other, False)):
        run(model, "sums", folder, made / name, samples=samples, **settings)
    run(tiny, "written", folder, made / "written", **settings)
    return made


def acc(path):
    [file] = path.rglob("samples_*.jsonl")
    return [json.loads(line)["acc"] for line in file.read_text().splitlines()]


def test_samples_give_wilson_and_the_choice_that_was_likeliest(runs):
    read = read_results(runs / "a")
    [result] = read.results
    values = acc(runs / "a")
    assert result.estimates()["sums.acc"] == wilson(round(sum(values)), DOCS)
    assert [column.name for column in result.columns] == ["acc", "acc_norm"] and result.columns[0].better == "higher"
    assert not read.measures and "intervals from the 40 samples" in read.notes[0]
    right = [
        answer.strip() == str(sum(map(int, re.findall(r"\d+", case.prompt))))
        for answer, case in zip(result.answers, result.cases, strict=True)
    ]
    assert right == [bool(value) for value in values]


def test_a_metric_over_all_answers_has_lm_evals_standard_error_and_says_so(runs):
    read = read_results(runs / "written")
    [result] = read.results
    assert [column.name for column in result.columns] == ["exact_match"]
    [chrf] = read.measures
    assert chrf.name == "written.chrf" and "lm-eval's standard error" in chrf.note
    assert chrf.estimate.low < chrf.estimate.value < chrf.estimate.high
    assert any("not means of samples" in note and "chrf" in note for note in read.notes)


def test_without_samples_the_interval_is_from_the_standard_error(runs):
    read = read_results(runs / "c")
    assert not read.results and {measure.name for measure in read.measures} == {"sums.acc", "sums.acc_norm"}
    [file] = (runs / "c").rglob("*.json")
    told = json.loads(file.read_text())["results"]["sums"]
    one = next(measure for measure in read.measures if measure.name == "sums.acc")
    assert one.estimate.value == told["acc,none"] and one.estimate.n == DOCS
    assert one.estimate.high - one.estimate.value == pytest.approx(1.96 * told["acc_stderr,none"], rel=1e-3)
    assert "no samples (run lm_eval with --log_samples)" in read.notes[0]


def test_two_runs_are_paired_by_document(runs):
    before, after = read_results(runs / "a"), read_results(runs / "b")
    report = harness_report(after, before)
    figure = next(figure for figure in report.figures if figure.name == "sums.acc")
    old, new = acc(runs / "a"), acc(runs / "b")
    assert sum(x != y for x, y in zip(old, new, strict=True)) > 5
    wanted = rate_difference(old, new)
    assert (figure.difference.value, figure.difference.low, figure.difference.high) == (
        wanted.value,
        wanted.low,
        wanted.high,
    )
    assert figure.p_value is not None and figure.detectable is not None
    assert "sums" in render_table(report) and "<script" not in render_html(report)


def test_documents_of_one_run_alone_are_left_out_and_said(tiny, runs, folder, tmp_path):
    run(tiny, "sums", folder, tmp_path, chat=False, limit=25)
    report = harness_report(read_results(tmp_path), read_results(runs / "b"))
    assert report.figures[0].difference.n == 25
    assert "sums: 15 documents are in one run alone, and left out." in report.notes


def test_a_run_without_samples_is_compared_unpaired_and_wider(runs):
    unpaired = harness_report(read_results(runs / "c"), read_results(runs / "a")).figures
    paired = harness_report(read_results(runs / "b"), read_results(runs / "a")).figures
    one, two = (next(f for f in found if f.name == "sums.acc") for found in (unpaired, paired))
    assert one.difference.value == pytest.approx(two.difference.value) and "Not paired" in one.note
    assert one.p_value is None
    sides = (one.before.high - one.before.low, one.after.high - one.after.low)
    assert one.difference.high - one.difference.low == pytest.approx(math.hypot(*sides), rel=0.02)


def changed(runs, tmp_path, edit, name="a"):
    """A copy of a run whose results and samples are edited."""
    [results] = (runs / name).rglob("results_*.json")
    for file in results.parent.iterdir():
        text = edit(file.name, file.read_text())
        if text is not None:
            (tmp_path / file.name).write_text(text)
    return tmp_path


def test_another_document_under_the_same_number_is_refused(runs, tmp_path):
    def edit(name, text):
        return text.replace('"doc_hash": "', '"doc_hash": "0', 1) if name.startswith("samples") else text

    with pytest.raises(ValueError, match="sums: document 0 is another one in the two runs"):
        harness_report(read_results(changed(runs, tmp_path, edit)), read_results(runs / "a"))


def test_other_shots_are_not_comparable(runs, tmp_path):
    def edit(name, text):
        return re.sub(r'("n-shot": \{\s*"sums": )0', r"\g<1>5", text)

    with pytest.raises(ValueError, match="not comparable: `version` is '1.0, 0-shot' before and '1.0, 5-shot' after"):
        harness_report(read_results(changed(runs, tmp_path, edit)), read_results(runs / "a"))


def test_several_filters_are_figures_of_their_own(runs, tmp_path):
    def edit(name, text):
        if name.startswith("samples"):
            second = text.replace('"filter": "none"', '"filter": "strict"').replace('"acc": 1.0', '"acc": 0.0')
            return text + second
        found = json.loads(text)
        found["results"]["sums"] |= {"acc,strict": 0.0, "acc_stderr,strict": 0.0}
        return json.dumps(found)

    read = read_results(changed(runs, tmp_path, edit))
    estimates = read.results[0].estimates()
    assert set(estimates) == {"sums.acc,none", "sums.acc_norm,none", "sums.acc,strict"}
    assert estimates["sums.acc,strict"].value == 0 and len(read.results[0].cases) == DOCS


def test_a_value_that_is_not_the_mean_of_its_samples_is_not_taken_for_it(runs, tmp_path):
    def edit(name, text):
        if name.startswith("samples"):
            return text
        found = json.loads(text)
        found["results"]["sums"]["acc,none"] += 0.25
        return json.dumps(found)

    read = read_results(changed(runs, tmp_path, edit))
    assert [column.name for column in read.results[0].columns] == ["acc_norm"]
    assert [measure.name for measure in read.measures] == ["sums.acc"]


def test_groups_are_left_to_their_tasks_and_values_that_are_none_are_said(runs, tmp_path):
    def edit(name, text):
        if name.startswith("samples"):
            return None
        found = json.loads(text)
        found["results"] |= {"both": {"alias": "both", "acc,none": 0.5}}
        found["group_subtasks"] = {"both": ["sums"]}
        found["results"]["sums"] |= {
            "acc,none": 1.0,
            "acc_stderr,none": 0.0,
            "ppl,none": float("nan"),
            "f1,none": 0.4,
            "f1_stderr,none": "N/A",
            "bleu,none": 0.0,
            "bleu_stderr,none": 0.0,
        }
        return json.dumps(found)

    read = read_results(changed(runs, tmp_path, edit))
    measures = {measure.name: measure for measure in read.measures}
    assert set(measures) == {"sums.acc", "sums.acc_norm", "sums.f1", "sums.bleu"}
    assert measures["sums.bleu"].estimate.high == 0  # a corpus figure of 0 is no share of documents
    assert measures["sums.acc"].estimate == wilson(DOCS, DOCS) and "Wilson" in measures["sums.acc"].note
    assert measures["sums.f1"].estimate.high == math.inf and "no standard error" in measures["sums.f1"].note
    assert "sums: ppl is nan, and left out." in read.notes


def test_a_file_of_results_does_not_say_what_is_imported(runs, tmp_path):
    def edit(name, text):
        if name.startswith("samples"):
            return text
        found = json.loads(text)
        found["configs"]["sums"]["metadata"] = {"source": "antigravity:fly", "settings": {}, "version": "1"}
        return json.dumps(found)

    assert read_results(changed(runs, tmp_path, edit)).results[0].suite == "sums"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is no file of results of lm-eval"),
        ('{"results": {}}', "it has no `results` and `configs`"),
        ('{"results": {}, "configs": {}}', "has no task with a number in it"),
    ],
)
def test_files_that_are_not_lm_evals(tmp_path, text, said):
    (tmp_path / "results_x.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_results(tmp_path)


def test_folders_without_or_with_several_results_and_broken_samples(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*gone"):
        read_results(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="no results_"):
        read_results(tmp_path)
    with pytest.raises(ValueError, match="holds 4 results; give one"):
        read_results(runs)

    def edit(name, text):
        return text + "{}\n" if name.startswith("samples") else text

    with pytest.raises(ValueError, match="line 41: a sample of lm-eval has `doc_id`"):
        read_results(changed(runs, tmp_path, edit))


def test_nothing_in_common_is_refused(runs):
    with pytest.raises(ValueError, match="no task and metric in common"):
        harness_report(read_results(runs / "a"), read_results(runs / "written"))


def test_the_command_exports_and_reads(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["harness", "export", "--suite", "safety", "--settings", '{"jailbreaks_per_category": 1}']) == 0
    shown = capsys.readouterr().out
    assert "--tasks rlhf_ext_safety --include_path tasks --apply_chat_template --log_samples" in shown
    assert (tmp_path / "tasks" / "rlhf_ext_safety.yaml").is_file()
    assert main(["harness", "read", "--results", str(runs / "b"), "--baseline", str(runs / "a")]) == 0
    shown = capsys.readouterr().out
    assert "acc_norm" in shown and "report  harness/report.html" in shown
    assert json.loads((tmp_path / "harness" / "report.json").read_text())["figures"]
    assert len((tmp_path / "harness" / "sums.jsonl").read_text().splitlines()) == DOCS


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["write"], "unknown action 'write'; there are export, read"),
        (["export"], "--suite is needed"),
        (["export", "--suite", "safty"], "There is no suite 'safty'"),
        (["export", "--suite", "safety", "--settings", "[1]"], "--settings should be a JSON object"),
        (["export", "--suite", "safety", "--settings", "{"], "--settings should be a JSON object"),
        (["read"], "--results is needed"),
        (["read", "--results", "gone"], "There is no gone"),
    ],
)
def test_mistakes_end_in_a_line(command, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["harness", *command]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and not list(tmp_path.iterdir())


def test_help_says_what_there_is(capsys):
    assert main(["harness"]) == 0
    assert "rlhf-ext harness export --suite NAME" in capsys.readouterr().out
