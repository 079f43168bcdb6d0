"""A run with a reward mix and suites: what it measures, its thresholds, its model cards, and how it goes on."""

import json
import re
import sys

import pytest
from huggingface_hub import ModelCard

from rlhf_ext import RLHFConfig, RLHFTrainer, assistant_preferences
from rlhf_ext.cli import main
from rlhf_ext.evaluation.excerpt import Excerpt
from rlhf_ext.evaluation.suite import Case, Column
from rlhf_ext.pipeline.evaluation import Evaluation

from ..conftest import vowels

QUICK = {"gradient_checkpointing": False, "max_steps": 1}
REWARDS = {
    "components": {
        "quality": {"function": "reward_model", "weight": 1.0},
        "brief": {"function": "Length", "highest": 20, "unit": "tokens", "weight": 0.5},
        "refuses": {"function": "rlhf_ext.rewards.refusal.Refusal", "where": {"category": "harmful"}},
    },
    "constraints": [{"component": "refuses", "at_least": 0.9}],
}
EVALUATION = {
    "suites": {
        "greets": {},
        "automatic": {"metrics": ["rougeL", {"function": "Regex", "pattern": "[.]$", "name": "ends", "kind": "rate"}]},
    },
    "thresholds": {
        "rewards.brief": {"min": 0.5},
        "greets.greets": {"min": 0.9},
        "automatic.rougeL": {"not_worse": True},
    },
}
OWN = """
from rlhf_ext.evaluation.suite import Case, Column, version_of

class Greets:
    name, samples, sampling, figures = "greets", 1, {"max_new_tokens": 4, "temperature": 0}, ["greets"]
    cases = [Case(str(i), f"Say hello {i}.", columns={"i": i}) for i in range(6)]
    version = version_of(cases)

    def measure(self, cases, answers):
        return [Column("greets", "Greets", [float("hello" in answer) for answer in answers], better="higher")]
"""


@pytest.fixture(scope="module")
def data():
    rows = assistant_preferences("train")
    harmful = [i for i, kind in enumerate(rows["category"]) if kind == "harmful"][:4]
    return rows.select([*harmful, *[i for i in range(40) if i not in harmful][:8]])


@pytest.fixture
def suites(tmp_path, monkeypatch):
    (tmp_path / "my_suites.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield {**EVALUATION, "suites": {"my_suites:Greets": {}, "automatic": EVALUATION["suites"]["automatic"]}}
    sys.modules.pop("my_suites", None)


def config(tiny, folder, **changes):
    settings = {
        "model_name": tiny,
        "output_dir": str(folder),
        "batch_size": 12,
        "bf16": False,
        "eval_max_new_tokens": 6,
    }
    settings |= {"skip_reward_validation": True, "sft": QUICK, "reward": QUICK}
    settings |= {"ppo": {**QUICK, "max_completion_length": 6}, "rewards": REWARDS}
    return RLHFConfig(**{**settings, **changes})


def test_a_mix_and_suites_from_before_to_after(tiny, tmp_path, data, suites, monkeypatch):
    result = RLHFTrainer(config=config(tiny, tmp_path / "run", evaluation=suites)).train(data, data)
    figures = {figure.name: figure for figure in result.report.figures}
    assert {"rewards.quality", "rewards.brief", "rewards.refuses", "greets.greets", "automatic.rougeL"} <= set(figures)
    assert "reward" not in figures
    assert figures["rewards.refuses"].after.n == 4 and "at least 0.9" in figures["rewards.refuses"].note
    assert figures["automatic.ends"].unit == "%"
    curves = {curve.title for curve in result.report.curves}
    assert {"PPO: components", "PPO: constraints met", "PPO: multipliers"} <= curves
    assert [row.verdict for row in result.report.gate] == ["passes", "fails", "passes"]
    assert len(result.failures) == 1 and result.failures[0].startswith("greets.greets is 0%")
    lines = (tmp_path / "run" / "evaluation" / "rewards.jsonl").read_text().splitlines()
    assert len(lines) == len(data) and {"quality", "brief", "refuses"} <= set(json.loads(lines[0])["after_values"])

    stages = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]
    for before, after in json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text()):
        assert (before["model"], after["model"]) == (tiny, str(tmp_path / "run" / "policy"))
        if before["suite"] == "rewards":
            assert [before["answers"], after["answers"]] == [stages[side]["answers"] for side in ("before", "after")]

    # A finished run that is asked something else: nothing is trained, the new suites are measured, old answers kept.
    monkeypatch.setattr("trl.trainer.base_trainer._BaseTrainer.train", None)
    changed = {"suites": {"my_suites:Greets": {}}, "thresholds": {"greets.greets": {"max": 0.9}}}
    again = RLHFTrainer(config=config(tiny, tmp_path / "run", evaluation=changed)).train(data, data)
    assert again.failures == [] and "automatic.rougeL" not in {figure.name for figure in again.report.figures}
    with pytest.raises(FileExistsError, match="`rewards` is"):
        other = {"components": {"brief": {"function": "Length", "highest": 3}}}
        RLHFTrainer(config=config(tiny, tmp_path / "run", rewards=other)).train(data, data)

    card = ModelCard.load(tmp_path / "run" / "policy" / "README.md")
    assert card.data.model_name == "tiny-ppo" and {"rlhf_ext", "ppo"} <= set(card.data.tags)
    values = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert values["rewards.brief"] == pytest.approx(figures["rewards.brief"].after.value, abs=1e-6)
    assert "from 12 preferences" in card.text and "| refuses |" in card.text and "at least 0.9" in card.text
    reward = ModelCard.load(tmp_path / "run" / "reward_model" / "README.md")
    assert "It failed its validation" in reward.text
    assert {one.metric_type for one in reward.data.eval_results} >= {"accuracy"}


def test_evaluation_alone_is_for_dpo_too(tiny, tmp_path, data, suites):
    (tmp_path / "base").mkdir()
    for path in map(type(tmp_path), [f"{tiny}/{name}" for name in ("config.json", "model.safetensors")]):
        (tmp_path / "base" / path.name).write_bytes(path.read_bytes())
    for path in type(tmp_path)(tiny).glob("*token*"):
        (tmp_path / "base" / path.name).write_bytes(path.read_bytes())
    for path in type(tmp_path)(tiny).glob("*.jinja"):
        (tmp_path / "base" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "base" / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: some/model\n---\n# Base\n")
    limits = {"automatic.rougeL": {"not_worse": True}}
    run = config(
        str(tmp_path / "base"),
        tmp_path / "run",
        algorithm="dpo",
        dpo=QUICK,
        rewards=None,
        evaluation={"suites": {"automatic": suites["suites"]["automatic"]}, "thresholds": limits},
    )
    result = RLHFTrainer(config=run).train(data, data)
    assert result.failures == [] and {row.name for row in result.report.gate} == set(limits)
    card = ModelCard.load(tmp_path / "run" / "policy" / "README.md")
    assert (card.data.license, card.data.base_model) == ("apache-2.0", "some/model")


def test_the_exit_code_is_the_gates(tiny, tmp_path, data, capsys):
    data.to_json(tmp_path / "rows.jsonl")
    command = ["run", "--model_name", tiny, "--preferences", str(tmp_path / "rows.jsonl"), "--bf16", "False"]
    command += [
        "--heldout",
        str(tmp_path / "rows.jsonl"),
        "--eval_max_new_tokens",
        "4",
        "--supervised_warm_start",
        "False",
    ]
    command += ["--output_dir", str(tmp_path / "run"), "--ppo", json.dumps({**QUICK, "max_completion_length": 4})]
    command += ["--rewards", json.dumps({"components": {"brief": {"function": "Length", "highest": 20}}})]
    limits = {"thresholds": {"rewards.brief": {"min": 1.5}}}
    assert main([*command, "--evaluation", json.dumps(limits)]) == 1
    assert re.search("fails   rewards.brief is .* at least 1.5", capsys.readouterr().out)
    assert not (tmp_path / "run" / "reward_model").exists()
    limits["thresholds"]["rewards.brief"]["min"] = -1
    assert main([*command, "--evaluation", json.dumps(limits)]) == 0


class TestRefusedBeforeAnythingIsLoaded:
    @pytest.fixture(autouse=True)
    def _nothing_happens(self, monkeypatch, tmp_path):
        monkeypatch.setattr("rlhf_ext.pipeline.stages.AutoModelForCausalLM", None)
        yield
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("component", "words"),
        [
            ({"function": "Rouge", "column": "reference"}, "`rewards.components.a` reads the column 'reference'"),
            ({"function": "Length", "highest": 3, "where": {"kind": "x"}}, "reads the column 'kind'"),
            ({"function": "Length", "highest": 3, "where": {"category": "none"}}, "counts in no row"),
            (
                {"function": "Length", "highest": 3, "tokenizer": 3, "unit": "tokens"},
                "`rewards.components.a`, tried on",
            ),
        ],
    )
    def test_a_function_that_does_not_fit_the_data(self, component, words, tiny, tmp_path, data):
        run = config(tiny, tmp_path / "run", rewards={"components": {"a": component}})
        with pytest.raises((ValueError, TypeError), match=words):
            RLHFTrainer(config=run).train(data, data)

    def test_a_threshold_on_nothing(self, tiny, tmp_path, data):
        run = config(tiny, tmp_path / "run", evaluation={"thresholds": {"rewards.breif": {"min": 1}}})
        with pytest.raises(ValueError, match="There is no figure 'rewards.breif'.*rewards.brief"):
            RLHFTrainer(config=run).train(data, data)

    def test_rewards_twice(self, tiny, tmp_path):
        with pytest.raises(ValueError, match="Both `reward_funcs` and `rewards`"):
            RLHFTrainer(config=config(tiny, tmp_path / "run"), reward_funcs=vowels)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"suite": {}}, "`evaluation` has no 'suite'. Did you mean 'suites'"),
        ({"suites": {"safty": {}}}, "there is no such suite. Did you mean 'safety'"),
        ({"suites": {"safety": {"sample": 2}}}, "`evaluation.suites.safety.sample`.*Did you mean 'samples'"),
        ({"suites": {"rewards": {}}}, "measured in any case"),
        ({"suites": {"automatic": {}}}, "`evaluation.suites.automatic.metrics` must be a list"),
        ({"suites": {"automatic": {"metrics": ["bleu"], "samples": 2}}}, "has no 'samples' without `rows`"),
        (
            {"suites": {"automatic": {"metrics": [{"function": "Lenght"}]}}},
            r"metrics\[0\].function.*Did you mean 'Length'",
        ),
        ({"suites": ["safety"]}, "`evaluation.suites` must be a mapping"),
        ({"max_cases": 0}, "`evaluation.max_cases` must be a positive"),
        ({"thresholds": {"safety.x": {"min": "a"}}}, "`min` must be a finite number"),
    ],
)
def test_what_is_wrong_with_an_evaluation_is_named(given, words):
    with pytest.raises(ValueError, match=words):
        RLHFConfig("gpt2", evaluation=given)


def test_what_a_mix_does_not_go_with():
    with pytest.raises(ValueError, match="`rewards` are for PPO"):
        RLHFConfig("gpt2", algorithm="dpo", rewards=REWARDS)
    brief = {"components": {"brief": REWARDS["components"]["brief"]}}
    with pytest.raises(ValueError, match="no component of `rewards` is one"):
        RLHFConfig("gpt2", rewards=brief, reward_thresholds={"ece": {"max": 0.1}})


def test_an_excerpt_is_spread_over_its_suite_and_is_another_version():
    class Whole:
        name, version, samples, sampling, figures = "whole", "1", 1, {}, ["a"]
        cases = [Case(str(i), f"Prompt {i}") for i in range(10)]

        def measure(self, cases, answers):
            return [Column("a", "A", [1.0] * len(cases))]

    few = Excerpt(Whole(), 4)
    assert [case.id for case in few.cases] == ["0", "2", "5", "7"]
    assert few.version != Excerpt(Whole(), 5).version != "1"
    assert len(few.measure(few.cases, ["x"] * 4)[0].values) == 4


def test_metrics_compare_with_the_chosen_answer_where_there_is_no_reference():
    plan = Evaluation.from_config({"suites": {"automatic": {"metrics": ["token_f1"]}}})
    bare = [Case("0", "?", columns={"chosen": "four", "rejected": "no"})]
    suite = plan.make(bare, []).on_answers[0]
    assert suite.measure(bare, ["four"])[0].values == [1.0]
    full = [Case("0", "?", columns={"chosen": "four", "reference": "five"})]
    assert plan.make(full, []).on_answers[0].measure(full, ["four"])[0].values == [0.0]
