"""Influence values: their mean is the statistic, their spread what resampling finds."""

import math

import numpy as np
import pytest

from rlhf_ext.stats import bootstrap, clustered_mean, clustered_rate, contributions, rate_difference, wilson


def ratio(rows):
    return sum(a for a, _ in rows) / sum(b for _, b in rows)


def pairs(count, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, count)
    return [(int(rng.binomial(size, 0.3)), int(size)) for size in sizes]


@pytest.mark.parametrize("count", [2, 7, 200, 201, 350])
def test_their_mean_is_the_statistic_itself(count):
    rows = pairs(count)
    assert np.mean(contributions(ratio, rows)) == pytest.approx(ratio(rows), abs=1e-12)


def test_of_a_mean_they_are_its_values():
    values = [3.0, 5.0, 1.0, 8.0]
    assert contributions(lambda rows: float(np.mean(rows)), values) == pytest.approx(values)


def test_of_a_ratio_their_variance_is_that_of_the_delta_method():
    rows = pairs(150)
    found = np.array(contributions(ratio, rows))
    sizes = np.array([b for _, b in rows])
    residuals = np.array([a - ratio(rows) * b for a, b in rows]) / sizes.mean()
    assert found.std() == pytest.approx(residuals.std(), rel=0.03)
    assert np.corrcoef(found, residuals)[0, 1] > 0.99


def test_groups_spread_as_wide_as_single_clusters():
    rows = pairs(2000, seed=1)
    single = np.std(contributions(ratio, rows, most=2000))
    assert np.std(contributions(ratio, rows, most=200)) == pytest.approx(single, rel=0.15)
    calls = []
    contributions(lambda kept: calls.append(len(kept)) or ratio(kept), rows)
    assert len(calls) == 201 and set(calls[1:]) == {1990}


def test_the_interval_is_that_of_resampling_the_statistic():
    rows = pairs(120, seed=2)
    clusters = [place // 2 for place in range(120)]
    linear = clustered_mean(contributions(ratio, rows, clusters))
    a, b = zip(*rows, strict=True)
    whole = bootstrap(lambda x, y: x.sum() / y.sum(), a, b, clusters=clusters, resamples=4000)
    assert linear.value == pytest.approx(whole.value)
    assert linear.low == pytest.approx(whole.low, abs=0.01) and linear.high == pytest.approx(whole.high, abs=0.01)


def test_rows_of_one_cluster_are_left_out_together():
    rows = [(1, 2), (1, 2), (0, 2), (2, 2)]
    found = contributions(ratio, rows, ["a", "a", "b", "b"])
    assert len(found) == 2 and found == pytest.approx([0.5, 0.5])
    assert contributions(ratio, rows[:2], ["a", "a"]) == [0.5]


def test_a_rate_made_of_them_keeps_to_its_range():
    values = [1.4, 1.0, 1.0, 1.0, 0.9, 0.5, 1.0]
    found = clustered_rate(values, contributed=True)
    assert found.high <= 1 and found.low < found.value
    assert clustered_rate([1.0] * 20, contributed=True) == wilson(20, 20)
    change = rate_difference([-0.2, 0.1, 0.0], [1.3, 0.8, 1.0], contributed=True)
    assert change.high == 1 and change.low > 0
    with pytest.raises(ValueError, match=r"values\[0\] is 1.4; a rate"):
        clustered_rate(values)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"rows": []}, "there are no rows"),
        ({"rows": [(1, 1)], "clusters": [1, 2]}, "1 rows and 2 clusters"),
        ({"rows": [(1, 1), (1, 1)], "most": 1}, "most must be at least 2"),
    ],
)
def test_mistakes(arguments, match):
    with pytest.raises(ValueError, match=match):
        contributions(ratio, **arguments)
    with pytest.raises(ValueError, match="without group 0 is nan"):
        contributions(lambda rows: math.nan if len(rows) == 1 else 1.0, [1, 2])
