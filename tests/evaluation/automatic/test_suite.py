"""Rows of one's own as a suite: where they come from, what is refused, and results of two models."""

import json

import pytest
from datasets import Dataset
from trl.rewards import think_format_reward

from rlhf_ext.evaluation.automatic import (
    AnswerMetric,
    AutomaticSuite,
    Classification,
    CorpusMetric,
    ReferenceKL,
    automatic_suite,
)
from rlhf_ext.evaluation.comparison import compare
from rlhf_ext.evaluation.gate import ReleaseGate, failures
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.generation import LocalGenerator, ScriptedGenerator
from rlhf_ext.rewards.functions import Rouge
from rlhf_ext.trainers.safety_eval import SafetyEvalCallback

ROWS = [
    {"prompt": f"What is {n} + {n}?", "reference": str(2 * n), "category": "even" if n % 2 == 0 else "odd"}
    for n in range(12)
]


def asked(answer):
    """A model that is right about every prompt of which `answer` says so."""
    return ScriptedGenerator(lambda prompt, sampling: answer(int(str(prompt).split(" is ")[1].split(" ")[0])))


def test_rows_from_a_file_a_data_set_and_a_list_are_the_same_suite(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    made = [
        automatic_suite(rows, ["exact_match"]) for rows in (path, str(path), ROWS, iter(ROWS), Dataset.from_list(ROWS))
    ]
    assert len({suite.version for suite in made}) == 1
    case = made[0].cases[2]
    assert (case.id, case.prompt, case.category, case.columns) == ("2", "What is 2 + 2?", "even", {"reference": "4"})


def test_ids_messages_and_text_as_a_chat():
    rows = [{"id": "sum", "question": "1 + 1?", "reference": "2"}]
    suite = automatic_suite(rows, ["length"], prompt="question", chat=True)
    assert suite.cases[0].id == "sum" and suite.cases[0].prompt == [{"role": "user", "content": "1 + 1?"}]
    messages = [{"role": "user", "content": "1 + 1?"}]
    suite = automatic_suite([{"prompt": messages, "reference": "2"}], ["length"], chat=True)
    assert suite.cases[0].prompt == messages


def test_any_reward_function_is_a_metric_and_reads_messages_where_prompts_are():
    seen = {}

    def twice(prompts, completions, factor, **columns):
        seen.update(prompts=prompts, completions=completions, factor=factor)
        return [None if f is None else 2.0 * f for f in factor]

    rows = [{"prompt": [{"role": "user", "content": "a"}], "factor": 2}, {"prompt": "b", "factor": None}]
    suite = automatic_suite(rows, [twice, AnswerMetric(Rouge("factor"), "r", reads=[])][:1])
    result = run_suite(ScriptedGenerator(["x", "y"]), suite)
    assert result.columns[0].values == [4.0, None] and seen["factor"] == [2, None]
    assert seen["completions"] == [[{"role": "assistant", "content": "x"}], "y"]
    # One of TRL's own, which reads messages alone.
    rows = [{"prompt": [{"role": "user", "content": "a"}]}, {"prompt": [{"role": "user", "content": "b"}]}]
    suite = automatic_suite(rows, [AnswerMetric(think_format_reward, kind="rate")])
    result = run_suite(ScriptedGenerator(["<think>\nhm\n</think>\nyes", "no"]), suite)
    assert result.columns[0].values == [1.0, 0.0] and result.columns[0].label == "Think format reward"


def test_async_reward_functions_are_awaited():
    async def length(completions, **columns):
        return [len(text) for text in completions]

    assert run_suite(ScriptedGenerator(["abc"]), automatic_suite(ROWS[:1], [length])).columns[0].values == [3.0]


def test_two_models_are_compared_and_gated_with_figures_of_the_corpus(tmp_path):
    rows = [{**row, "reference": row["category"]} for row in ROWS]
    suite = automatic_suite(rows, [Classification(["even", "odd"]), "length"])
    before = run_suite(asked(lambda n: "even"), suite)
    after = run_suite(asked(lambda n: "even" if n % 2 == 0 else "odd"), suite)
    figures = {figure.name: figure for figure in compare(before, after)}
    f1 = figures["automatic.macro_f1"]
    assert f1.before.value == pytest.approx(1 / 3) and f1.after.value == 1
    assert f1.difference.value == pytest.approx(2 / 3) and f1.difference.low > 0 and f1.verdict == "better"
    assert f1.after.low < 0.8 and f1.after.high == 1  # twelve cases cannot pass for certainty
    gate = ReleaseGate({"automatic.macro_f1": {"min": 0.9, "not_worse": True}}, [suite], True)
    report = evaluation_report([after], [before], gate)
    assert len(failures(report.gate)) == 1
    assert all("Macro-F1" not in example.scores for example in report.examples)
    assert report.examples[0].scores["Accuracy"] == (0.0, 1.0)
    cached = [run_suite(asked(lambda n: "even"), suite, cache=tmp_path).estimates() for _ in range(2)]
    assert cached[0] == cached[1] == before.estimates()


def test_several_samples_of_a_case_stay_together():
    suite = automatic_suite(ROWS, ["corpus_bleu", "rouge1"], samples=2, sampling={"temperature": 1.0})
    result = run_suite(ScriptedGenerator(lambda prompt, sampling: "4 or 6"), suite)
    bleu, rouge = result.columns[:2]
    assert len(bleu.values) == 12 and len(rouge.values) == 24
    assert result.estimates()["automatic.corpus_bleu"].n == 12


def test_the_version_follows_metrics_and_their_settings():
    versions = {
        automatic_suite(ROWS, metrics).version
        for metrics in (
            ["rouge1"],
            ["rouge2"],
            [AnswerMetric(Rouge(variant="rouge1"), kind="rate")],
            [AnswerMetric(Rouge(variant="rouge1", stemmer=True), kind="rate")],
            ["rouge1", "bleu"],
        )
    }
    assert len(versions) == 4
    assert automatic_suite(ROWS, ["bleu"]).version == automatic_suite(ROWS, ["bleu"]).version


def test_the_divergence_is_that_of_each_model(tiny, policy, tokenizer):
    sampling = {"max_new_tokens": 4, "temperature": 0}
    suite = automatic_suite(ROWS[:2], [ReferenceKL(tiny)], sampling=sampling, chat=True)
    generator = LocalGenerator(policy, tokenizer)
    result = run_suite(generator, suite)
    known = [value for value in result.columns[0].values if value is not None]
    assert known == pytest.approx([0.0] * len(known), abs=1e-5) and known
    assert result.version == suite.version


def length(completions, **columns):
    return [len(text) for text in completions]


@pytest.mark.parametrize(
    ("rows", "metrics", "match"),
    [
        ([], ["bleu"], "There are no rows"),
        ([{"question": "a"}], ["bleu"], "Row 0 has no column 'prompt'; its columns are question"),
        ([{"prompt": "a"}, "b"], ["bleu"], "Row 1 should be a dict"),
        ([{"prompt": " "}], ["length"], "Row 0: 'prompt' should be text or messages"),
        (
            [{"prompt": "a", "b": 1}],
            ["bleu"],
            "'bleu' reads the column 'reference', which is not there; the columns are b",
        ),
        ([{"prompt": "a", "reference": ""}], ["rougeL"], "'reference', which is empty in every row"),
        (ROWS, [], "has no metrics"),
        (ROWS, ["length", length], "Two metrics have a figure called 'length'"),
        (ROWS, ["faithfulness"], "'faithfulness' needs an NLI model"),
        ([*ROWS, ROWS[0]], ["bleu"], "'0' and '12' are the same prompt"),
        ([{"prompt": "a", "completions": "b"}], ["length"], "'completions', which reward functions are given"),
        ([{"prompt": "a", "x": object()}], ["length"], "Row 0: the column 'x' holds no plain value"),
        ([{"prompt": "a", "id": 1}, {"prompt": "b", "id": 1}], ["length"], "1 ids come more than once"),
    ],
)
def test_mistakes_are_refused_before_anything_is_generated(rows, metrics, match):
    with pytest.raises(ValueError, match=match):
        automatic_suite(rows, metrics)


def test_more_mistakes(tmp_path):
    with pytest.raises(TypeError, match="a reward function, a name or a Metric, got 3"):
        automatic_suite(ROWS, [3])
    with pytest.raises(ValueError, match="A metric of a lambda needs a `name`"):
        automatic_suite(ROWS, [lambda completions, **c: [0.0]])
    with pytest.raises(FileNotFoundError):
        automatic_suite(tmp_path / "gone.jsonl", ["bleu"])

    def answer(completions, solution, **columns):
        return [0.0 for _ in completions]

    with pytest.raises(ValueError, match="'answer' reads the column 'solution'"):
        automatic_suite(ROWS, [answer])
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": 3}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl line 2: 'prompt' should be text or messages, got 3"):
        automatic_suite(tmp_path / "rows.jsonl", ["length"])


def test_a_metric_that_fails_or_gives_no_number_ends_the_run():
    suite = automatic_suite(
        ROWS[:2], [AnswerMetric(lambda completions, **c: [float("nan")] * len(completions), "bad")]
    )
    with pytest.raises(ValueError, match="nan for completion 0"):
        run_suite(ScriptedGenerator(["a", "b"]), suite)


def test_a_figure_of_the_corpus_of_ones_own():
    def sizes(completions, limit, **columns):
        return [(len(text), most) for text, most in zip(completions, limit, strict=True)]

    used = CorpusMetric(sizes, lambda rows: sum(a for a, _ in rows) / sum(b for _, b in rows), "used", better="lower")
    with pytest.raises(ValueError, match="'used' reads the column 'limit'"):
        automatic_suite(ROWS, [used])
    suite = automatic_suite([{"prompt": "a", "limit": 4}, {"prompt": "b", "limit": 8}], [used])
    assert isinstance(suite, AutomaticSuite) and suite.figures == ("used",)
    assert run_suite(ScriptedGenerator(["ab", "abcd"]), suite).estimates()["automatic.used"].value == pytest.approx(
        0.5
    )


def test_figures_of_the_corpus_while_a_model_trains():
    rows = [{**row, "reference": row["category"]} for row in ROWS]
    suite = automatic_suite(rows, [Classification(["even", "odd"])])
    logged = SafetyEvalCallback(suite, cases=None)._measure(["even"] * 11 + ["odd"])
    (column,) = [c for c in suite.measure(suite.cases, ["even"] * 11 + ["odd"]) if c.corpus]
    assert logged["eval_automatic_macro_f1"] == pytest.approx(sum(column.values) / 12)
    assert 0 <= logged["eval_automatic_macro_f1_low"] < logged["eval_automatic_macro_f1_high"] <= 1
