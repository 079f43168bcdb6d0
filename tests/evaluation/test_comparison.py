"""Two results as figures: paired, with the intervals that belong to them, and what is left out said."""

import math

import pytest

from rlhf_ext.evaluation.comparison import compare, compare_categories, measures, paired_figure, plots
from rlhf_ext.evaluation.suite import Column
from rlhf_ext.stats import (
    clustered_rate,
    detectable_difference,
    paired_difference,
    rate_difference,
    sign_flip_test,
    wilson,
)

from .results import rate, result

OLD, NEW = [1] * 12 + [0] * 28, [1] * 3 + [0] * 37


def test_a_figure_has_the_estimates_that_belong_to_it():
    (figure,) = compare(result([rate(OLD)]), result([rate(NEW)], model="new"))
    assert (figure.name, figure.label, figure.group, figure.unit) == ("s.harm", "Harm", "s", "%")
    assert figure.before == wilson(12, 40) and figure.after == wilson(3, 40)
    assert figure.difference == rate_difference(OLD, NEW) and figure.verdict == "better"
    assert figure.p_value == sign_flip_test(OLD, NEW) == 2 / 2**9
    assert figure.detectable == detectable_difference(OLD, NEW, rate=True)
    (still,) = compare(result([rate([0] * 40)]), result([rate([0] * 40)]))
    assert still.detectable == detectable_difference([0] * 40, [0] * 40, rate=True) > 0.1 and still.p_value == 1


def test_samples_of_a_case_stay_together():
    old, new = [1, 1, 0, 0] * 10, [1, 1, 1, 1] * 5 + [0] * 20
    (figure,) = compare(result([rate(old)], samples=2), result([rate(new)], samples=2))
    clusters = [row // 2 for row in range(40)]
    assert figure.after == clustered_rate(new, clusters) and figure.after.n == 40
    assert figure.difference == rate_difference(old, new, clusters)
    assert figure.p_value == sign_flip_test(old, new, clusters)
    wider = figure.difference.high - figure.difference.low
    alone = rate_difference(old, new)
    assert wider > 1.2 * (alone.high - alone.low)


def test_a_figure_of_cases_counts_cases():
    old = result([rate([0] * 40), rate([0] * 20, "any", per="case")], samples=2)
    new = result([rate([0] * 40), rate([1] * 10 + [0] * 10, "any", per="case")], samples=2)
    figure = compare(old, new)[1]
    assert figure.name == "s.any" and figure.after == wilson(10, 20) and figure.verdict == "worse"


def test_means_are_bootstrapped_and_paired():
    old, new = [float(i % 7) for i in range(60)], [i % 7 + 0.5 + i % 2 for i in range(60)]
    pair = [Column("length", "Length", values, "mean") for values in (old, new)]
    (figure,) = compare(result([pair[0]]), result([pair[1]]))
    assert figure.unit == "" and figure.difference == paired_difference(old, new)
    assert figure.verdict == "higher"


def test_what_one_side_lacks_is_in_no_pair():
    old, new = [1, 0, None, 1], [0, None, 1, 1]
    (figure,) = compare(result([rate(old)]), result([rate(new)]))
    assert figure.before.n == figure.after.n == 3 and figure.difference.n == 2
    assert compare(result([rate([1, None])]), result([rate([None, 1])])) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0] * 150, "None in 150 cases, so the true rate is likely below 2 % (rule of three)."),
        ([1] * 300 + [None] * 10, "All of 300 cases, so the true rate is likely above 99 % (rule of three)."),
        ([1] + [0] * 149, ""),
    ],
)
def test_at_either_end_the_rule_of_three_is_said(values, said):
    (figure,) = compare(result([rate([1, 0] * (len(values) // 2))]), result([rate(values, note="")]))
    assert figure.note == said


def test_the_rule_of_three_counts_cases_not_answers():
    assert "50 cases" in compare(result([rate([0] * 100)], samples=2), result([rate([0] * 100)], samples=2))[0].note


def test_failures_and_empty_answers_are_figures_where_there_are_any():
    answers = ["a", None, "", "b"]
    old = result([rate([1, 0, 1, 0])])
    new = result([rate([1, None, 1, 0])], answers=answers)
    assert [figure.name for figure in compare(old, new)] == ["s.harm", "s.failed", "s.empty"]
    assert [figure.name for figure in compare(new, old)] == ["s.harm", "s.failed", "s.empty"]
    assert compare(old, new)[1].after == wilson(1, 4) and compare(old, new)[2].after.n == 3


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"suite": "t"}, "`suite` is 's' before and 't' after"),
        ({"version": "2"}, "`version` is '1' before and '2' after"),
        ({"sampling": {"temperature": 0.0}}, "`sampling`"),
    ],
)
def test_what_is_not_comparable_is_refused(fields, match):
    with pytest.raises(ValueError, match=match):
        compare(result([rate(OLD)]), result([rate(NEW)], **fields))
    with pytest.raises(ValueError, match="`samples` is 1 before and 2 after"):
        compare(result([rate(OLD)]), result([rate(NEW)], samples=2))


def test_categories_have_figures_of_their_own():
    old = result([rate([1, 0] * 30, by_category=True), rate([0] * 60, "other")])
    new = result([rate([0, 0] * 30, by_category=True), rate([0] * 60, "other")])
    found = compare_categories(old, new)
    assert [(f.name, f.category, f.verdict) for f in found] == [
        ("s.harm", "even", "better"),
        ("s.harm", "odd", "no clear change"),
    ]
    assert found[0].before == wilson(30, 30) and found[1].before == wilson(0, 30)


def test_one_model_alone():
    one = result([rate([1, 0] * 20, by_category=True, note="Of all."), rate([None] * 40, "never")])
    first, second = measures(one)
    assert (first.name, first.estimate, first.note, first.group) == ("s.harm", wilson(20, 40), "Of all.", "s")
    assert second.estimate is None
    whole, parts = plots(one)
    assert whole.estimates == {"Harm": wilson(2000, 4000)} or whole.estimates["Harm"].value == 50
    assert list(parts.estimates) == ["even", "odd"] and parts.estimates["even"].low == 100 * wilson(20, 20).low


def test_a_figure_without_clusters_takes_each_row_alone():
    figure = paired_figure(rate(OLD), rate(NEW))
    assert figure.name == "harm" and figure.difference == rate_difference(OLD, NEW)
    assert math.isfinite(figure.detectable) and paired_figure(rate([None]), rate([1])) is None


def test_a_figure_of_the_corpus_is_made_of_what_cases_contribute():
    def corpus(values):
        return result([rate([0] * len(values)), rate(values, "f1", "higher", per="case", corpus=True)])

    old, new = [0.5, 1.2, -0.1, 0.4] * 10, [1.0, 1.3, 0.6, 0.7] * 10
    figure = compare(corpus(old), corpus(new))[1]
    assert figure.before == clustered_rate(old, contributed=True) and figure.after.value == pytest.approx(0.9)
    assert figure.difference == rate_difference(old, new, contributed=True) and figure.verdict == "better"
    assert figure.p_value == sign_flip_test(old, new) and figure.unit == "%"
    perfect = compare(corpus([1.0] * 20), corpus([1.0] * 20))[1]
    assert perfect.after == wilson(20, 20) and perfect.note == "" and perfect.difference.low < -0.05
