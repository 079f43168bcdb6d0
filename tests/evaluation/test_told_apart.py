"""Scorers of one name that do different things: values of one are never those of another."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from rlhf_ext.evaluation.automatic import AnswerMetric, CorpusMetric, Perplexity, automatic_suite
from rlhf_ext.evaluation.running import run_suite
from rlhf_ext.evaluation.safety import HarmfulSuite
from rlhf_ext.evaluation.told_apart import told_apart
from rlhf_ext.generation import ScriptedGenerator
from rlhf_ext.rewards.functions import Rouge

ROWS = [{"prompt": "Why?", "reference": "So."}, {"prompt": "When?", "reference": "Now."}]


def polite(text: str):
    """A function as a file holds it, after an edit: same name, another body."""
    scope: dict = {"__name__": "own"}
    exec(f"def polite(completions, **columns):\n    return [{text} for _ in completions]\n", scope)
    return scope["polite"]


def value(function, folder):
    suite = automatic_suite(ROWS, [function])
    return run_suite(ScriptedGenerator(["a", "b"]), suite, cache=folder).estimates()["automatic.polite"].value


def test_a_metric_that_was_edited_is_measured_again(tmp_path):
    assert value(polite("1.0"), tmp_path) == 1.0
    assert value(polite("0.0"), tmp_path) == 0.0  # not what the cache has of the one before
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert value(polite("1.0"), tmp_path) == 1.0 and len(list(tmp_path.glob("*.jsonl"))) == 2


def share(completions, of="a", **columns):
    return [text.count(of) / max(len(text), 1) for text in completions]


class Judge:
    __name__ = "judge"

    def __init__(self, grade):
        self.grade = grade

    def __call__(self, *, prompts, completions, **columns):
        return [self.grade(text) for text in completions]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(share, of="a"), partial(share, of="b")),
        (Judge(lambda text: 0.0), Judge(lambda text: float(len(text) > 3))),
        (torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)),
        ([torch.nn.Linear(2, 1)], [torch.nn.Linear(2, 1)]),
        *[[SimpleNamespace(safety=Judge(Judge(torch.nn.Linear(2, 1)))) for _ in range(2)]],  # as deep as Detoxify's
    ],
)
def test_what_a_scorer_does_tells_it_apart(one, other):
    assert told_apart(one) != told_apart(other)
    assert told_apart(one) == told_apart(one)


def test_functions_of_the_package_have_its_version():
    assert told_apart(Rouge("reference")) == []
    assert AnswerMetric(Rouge("reference")).settings == AnswerMetric(Rouge("reference")).settings


def test_statistics_and_judges_count_as_well():
    first, second = (CorpusMetric(share, statistic, "m").settings for statistic in (sum, lambda rows: max(rows)))
    assert first != second
    assert HarmfulSuite(judge=polite("1.0")).version != HarmfulSuite(judge=polite("0.0")).version


def test_weights_behind_a_name_tell_models_apart(policy, tokenizer):
    before = Perplexity(policy, tokenizer).settings
    assert Perplexity(policy, tokenizer).settings == before
    with torch.no_grad():
        policy.lm_head.weight[0, 0] += 1
    assert Perplexity(policy, tokenizer).settings != before
