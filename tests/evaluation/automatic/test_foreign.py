"""Metrics of `evaluate`, by script and by object: lists, single numbers, and what is neither."""

from pathlib import Path

import evaluate
import pytest

from rlhf_ext.evaluation.automatic import EvaluateMetric
from rlhf_ext.evaluation.automatic.metrics import Answers
from rlhf_ext.evaluation.suite import Case

ANSWERS = ["the cat sat", "a dog", "", "owls hunt at night"]
REFERENCES = ["the cat", "the dog ran", "bees", "owls hunt"]


def script(name):
    return str(Path(__file__).parent / f"{name}.py")


@pytest.fixture(scope="module")
def module():
    return evaluate.load(script("word_share"))


def answers(columns=None, texts=ANSWERS):
    rows = [{"reference": r} for r in REFERENCES] if columns is None else columns
    return Answers([Case(str(n), f"Prompt {n}?", columns=row) for n, row in enumerate(rows)], texts)


def test_a_list_gives_a_value_for_each_answer(module):
    metric = EvaluateMetric(module, "each", kind="mean", better=None, note="Words.", penalty=0.5)
    assert metric.figures == ("word_share_each",)
    (column,) = metric.measure(answers())
    assert column.values == [1.5, 0.5, -0.5, 1.5] and not column.corpus
    assert (column.label, column.note, column.better) == ("Word share each", "Words.", None)


def test_one_number_is_a_figure_of_the_corpus(module):
    (column,) = EvaluateMetric(module, "share", kind="rate").measure(answers())
    assert column.corpus and column.per == "case"
    assert sum(column.values) / 4 == pytest.approx(5 / 8)
    assert len(set(column.values)) > 1


def test_each_by_itself_is_another_figure(module):
    (column,) = EvaluateMetric(module, ["share"], kind="rate", each=True).measure(answers())
    assert column.values == [1.0, pytest.approx(1 / 3), 0.0, 1.0] and not column.corpus


def test_several_results_and_rows_without_a_reference(module):
    given = answers([{"reference": "the cat"}, {"reference": None}, {}, {"reference": "owls"}])
    each, share = EvaluateMetric(module, ["each", "share"]).measure(given)
    assert each.values == [2.0, None, None, 1.0]
    assert share.values[1] is share.values[2] is None and (share.values[0] + share.values[3]) / 2 == pytest.approx(1)
    nothing = EvaluateMetric(module, "share").measure(answers([{}] * 4))
    assert nothing[0].values == [None] * 4


def test_predictions_that_are_no_text_and_other_inputs():
    inputs = {"references": "gold", "sources": "prompt"}
    metric = EvaluateMetric(script("numbers_equal"), "equal", inputs, lambda text: len(text.split()), kind="rate")
    given = answers([{"gold": 3}, {"gold": 5}, {"gold": 0}, {"gold": 4}])
    metric.check(given.cases)
    (column,) = metric.measure(given)
    assert sum(column.values) / 4 == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("results", "columns", "match"),
    [
        ("shares", None, "'word_share' gives each, share, odd, wordshare, and no 'shares'"),
        (None, None, "and no 'word_share'"),
        ("odd", None, "'odd' of the metric 'word_share' is much: one finite number"),
        ("share", [{"gold": "a"}] * 4, "reads the column 'reference', which is not there; the columns are gold"),
        ("share", [{"reference": ""}] * 4, "empty in every row"),
    ],
)
def test_mistakes_are_seen_before_anything_is_generated(module, results, columns, match):
    with pytest.raises(ValueError, match=match):
        EvaluateMetric(module, results).check(answers(columns).cases)


def test_what_is_no_metric():
    with pytest.raises(TypeError, match="a name, a script or a module of evaluate"):
        EvaluateMetric(object())


def test_settings_decide_the_version(module):
    one = EvaluateMetric(module, "share").settings
    assert one != EvaluateMetric(module, "share", penalty=1).settings
    assert one != EvaluateMetric(module, "each").settings and one == EvaluateMetric(module, "share").settings
