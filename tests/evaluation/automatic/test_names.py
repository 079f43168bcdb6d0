"""Every short name makes a metric that measures."""

import sys
from pathlib import Path

import pytest

from rlhf_ext.evaluation.automatic import Metric, ReferenceKL, metric_named
from rlhf_ext.evaluation.automatic.metrics import Answers
from rlhf_ext.evaluation.automatic.names import PLAIN, WITH_ARGUMENT
from rlhf_ext.evaluation.suite import Case

from ...tiny_bert import tiny_bert

ROWS = [
    {"target": "the old tower is red .", "document": "the tower is old . it is red ."},
    {"target": "a good day", "document": "it was a good day ."},
]
CASES = [Case(str(n), f"Prompt {n}", columns=row) for n, row in enumerate(ROWS)]
TEXTS = ["the old red tower .", ""]


@pytest.fixture(scope="module")
def arguments(tiny, tmp_path_factory):
    return {
        "bertscore": tiny_bert(tmp_path_factory.mktemp("bert")),
        "similarity": tiny_bert(tmp_path_factory.mktemp("bert")),
        "faithfulness": tiny_bert(tmp_path_factory.mktemp("nli"), ["entailment", "neutral", "contradiction"]),
        "perplexity": tiny,
        "language": "en",
        "classification": "the old tower is red . | a good day",
        "evaluate": f"{Path(__file__).parent / 'word_share.py'}:share",
    }


def measured(name):
    metric = metric_named(name, "target", "document")
    assert isinstance(metric, Metric)
    metric.check(CASES)
    columns = metric.measure(Answers(CASES, TEXTS))
    assert [column.name for column in columns] == list(metric.figures)
    return columns


@pytest.mark.parametrize("name", PLAIN)
def test_plain_names(name):
    (column,) = measured(name)
    assert column.name == name
    empty = {"distinct_1": 1.0, "distinct_2": 1.0, "readability": None}.get(name, 0.0)
    if not column.corpus:
        assert column.values[1] == empty
    assert column.values[0] is not None and (name == "readability" or column.values[0] >= 0)


def test_names_with_an_argument(arguments):
    assert {*arguments, "kl"} == set(WITH_ARGUMENT)
    for name, value in arguments.items():
        columns = measured(f"{name}={value}")
        assert all(column.values[0] is not None for column in columns), name


def test_kl_waits_for_its_policy(tiny):
    assert isinstance(metric_named(f"kl={tiny}"), ReferenceKL)


def test_ones_own(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for name in ("polite", "Polite", "polite_rate"):
        metric = metric_named(f"own_metrics:{name}")
        assert metric.measure(Answers(CASES, ["yes please", "no"]))[0].values == [1.0, 0.0]
    with pytest.raises(ValueError, match="no 'rude' in 'own_metrics'"):
        metric_named("own_metrics:rude")
    sys.modules.pop("own_metrics")
    with pytest.raises(ImportError):
        metric_named("gone_module:polite")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("rouge", "no metric 'rouge'; there are rouge1, rouge2, rougeL, .*kl=..., .*module:function"),
        ("perplexity", "'perplexity' needs a language model: write perplexity=..."),
        ("bleu=4", "no metric 'bleu=4'"),
        ("classification=a", "at least two labels"),
    ],
)
def test_mistakes(name, match):
    with pytest.raises(ValueError, match=match):
        metric_named(name)
