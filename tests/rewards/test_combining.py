"""Combinations, by hand and against TRL's own."""

import math

import numpy as np
import pytest
import torch
from trl.trainer.utils import nanstd

from rlhf_ext.rewards.combining import (
    GroupNormalizedSum,
    Product,
    UncertaintyWeighted,
    WeightedMean,
    WeightedSum,
    WorstCase,
    make_combination,
)

NAN = math.nan
SCORES = np.array([[0.5, 1.0, 0.2], [NAN, 1.0, 0.2], [NAN, NAN, 0.4], [NAN, NAN, NAN]])
WEIGHTS = np.array([2.0, 1.0, 1.0])
ROWS = np.arange(4)


def test_a_weighted_sum_makes_up_for_what_is_missing():
    found = WeightedSum()(SCORES, WEIGHTS, ROWS)
    assert found == pytest.approx([2.2, 2 * (1.0 + 0.2), 4 * 0.4, NAN], nan_ok=True)


def test_a_weighted_mean_is_the_sum_on_the_scale_of_one_score():
    found = WeightedMean()(SCORES, WEIGHTS, ROWS)
    assert found == pytest.approx([2.2 / 4, 1.0 / 2 + 0.2 / 2, 0.4, NAN], nan_ok=True)
    assert WeightedMean()(np.array([[1.0, 3.0]]), np.array([1.0, -1.0]), ROWS[:1]).tolist() == [-1.0]


def test_negative_weights_count_by_their_size():
    found = WeightedSum()(np.array([[1.0, 3.0], [NAN, 3.0]]), np.array([1.0, -1.0]), ROWS[:2])
    assert found.tolist() == [-2.0, -6.0]


def test_a_row_that_only_weightless_components_score_has_no_reward():
    scores, weights = np.array([[NAN, 3.0]]), np.array([1.0, 0.0])
    for combine in (WeightedSum(), WorstCase(), UncertaintyWeighted(), Product(), GroupNormalizedSum()):
        assert math.isnan(combine(scores / 4, weights, ROWS[:1])[0]), combine


def test_the_worst_case_is_the_least_that_applies():
    found = WorstCase()(SCORES, np.array([1.0, 1.0, 0.0]), ROWS)
    assert found == pytest.approx([0.5, 1.0, NAN, NAN], nan_ok=True)


@pytest.mark.parametrize("weights", [[1.0, 2.0, 1.0], [-1.0, -1.0, -1.0]])
def test_the_worst_case_refuses_weights(weights):
    with pytest.raises(ValueError, match="worst case has no weights"):
        WorstCase()(SCORES, np.array(weights), ROWS)


def test_a_product_is_one_of_probabilities():
    found = Product()(SCORES, WEIGHTS, ROWS)
    assert found == pytest.approx([0.5**2 * 0.2, 0.2**2, 0.4**4, NAN], nan_ok=True)
    assert Product()(np.array([[0.0, 0.5]]), np.ones(2), ROWS[:1]).tolist() == [0.0]


def test_a_product_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match='row 1, component 0 is 1.5.*transform="sigmoid"'):
        Product()(np.array([[0.5, 0.5], [1.5, 0.5]]), np.ones(2), ROWS[:2])
    assert Product()(np.array([[0.5, 7.0]]), np.array([1.0, 0.0]), ROWS[:1]).tolist() == [0.5]


def test_uncertainty_takes_off_the_variance():
    scores, weights = np.array([[1.0, 2.0, 6.0], [1.0, NAN, 5.0], [NAN, 3.0, NAN]]), np.array([1.0, 1.0, 2.0])
    found = UncertaintyWeighted(0.5)(scores, weights, ROWS[:3])
    mean = (1 + 2 + 12) / 4
    variance = ((1 - mean) ** 2 + (2 - mean) ** 2 + 2 * (6 - mean) ** 2) / 4
    two = (1 + 10) / 3
    variance_of_two = ((1 - two) ** 2 + 2 * (5 - two) ** 2) / 3
    assert found == pytest.approx([mean - 0.5 * variance, two - 0.5 * variance_of_two, 3.0])


@pytest.mark.parametrize("combine", [Product(), UncertaintyWeighted()])
def test_negative_weights_are_refused(combine):
    with pytest.raises(ValueError, match="no negative weights"):
        combine(SCORES, np.array([1.0, -1.0, 1.0]), ROWS)


def test_the_group_sum_is_trls_normalize_then_sum():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(12, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, -5.0]
    scores[2, 1] = NAN
    weights = np.array([1.0, 0.5, 2.0])
    grouped = torch.tensor(scores).view(-1, 4, 3)
    expected = (grouped - grouped.nanmean(dim=1, keepdim=True)) / (nanstd(grouped, dim=1, keepdim=True) + 1e-4)
    expected = (expected.view(-1, 3) * torch.tensor(weights)).numpy()
    order = rng.permutation(12)  # groups need not stand together
    found = GroupNormalizedSum()(scores[order], weights, (np.arange(12) // 4)[order])
    complete = order != 2
    assert found[complete] == pytest.approx(expected.sum(axis=1)[order][complete], rel=1e-6)
    assert found[~complete] == pytest.approx(np.nansum(expected[2]) * 3.5 / 3.0)


def test_a_completion_alone_in_its_group_scores_nothing():
    assert GroupNormalizedSum()(np.array([[5.0], [7.0]]), np.ones(1), np.array([0, 1])).tolist() == [0.0, 0.0]


def test_names():
    assert isinstance(make_combination("group"), GroupNormalizedSum)
    assert make_combination(max) is max
    with pytest.raises(ValueError, match="No combination 'median': give 'sum', 'mean', 'worst_case'"):
        make_combination("median")
    with pytest.raises(ValueError, match="`coefficient` must be at least 0"):
        UncertaintyWeighted(-1.0)
