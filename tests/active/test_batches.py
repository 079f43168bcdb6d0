"""Batches: the best, quotas, spread, no two alike."""

import numpy as np
import pytest

from rlhf_ext.active import (
    deduplicate,
    k_center,
    k_means_plus_plus,
    over_threshold,
    quota_counts,
    top_k,
    with_quotas,
)

NO = -np.inf


def test_top_k_is_the_best_in_order_and_never_what_has_no_utility():
    assert top_k([3.0, NO, 5.0, 4.0], 2).tolist() == [2, 3]
    assert top_k([3.0, NO, 5.0], 9).tolist() == [2, 0]
    assert top_k([NO, NO], 1).tolist() == []


def test_ties_are_broken_at_random_not_by_place():
    counts = np.zeros(10)
    for seed in range(300):
        counts[top_k([1.0] * 10, 3, seed)] += 1
    assert counts.min() > 50  # 90 each on average
    assert top_k([1.0] * 10, 3, 7).tolist() == top_k([1.0] * 10, 3, 7).tolist()


def test_over_a_threshold():
    assert over_threshold([0.2, 0.5, 0.9, NO], 0.5).tolist() == [2, 1]
    assert over_threshold([0.2, 0.5, 0.9], 0.5, k=1).tolist() == [2]
    assert over_threshold([0.2], 0.5).tolist() == []


def test_quotas_are_shared_out_by_largest_remainders():
    assert quota_counts({"a": 1 / 3, "b": 1 / 3}, 10) == {"a": 4, "b": 3, None: 3}
    assert quota_counts({"a": 0.1, "b": 0.9}, 10) == {"a": 1, "b": 9, None: 0}
    for k in range(1, 40):
        assert sum(quota_counts({"a": 0.17, "b": 0.41}, k).values()) == k


def test_each_category_gets_its_best_and_the_rest_fills_up():
    utilities, categories = [9, 8, 7, 6, 5, 4, 3], ["a", "a", "a", "a", "b", "c", "d"]
    assert with_quotas(utilities, categories, 4, {"a": 0.5, "b": 0.25}).tolist() == [0, 1, 4, 5]
    # There is one b only: its second place goes to the best of the rest.
    assert with_quotas(utilities, categories, 4, {"a": 0.5, "b": 0.5}).tolist() == [0, 1, 4, 2]
    assert with_quotas(utilities, categories, 9, {"b": 0.5}).tolist()[:1] == [4]


def slow_k_center(points, k, taken):
    chosen = []
    for _ in range(k):
        held = [*taken, *(points[place] for place in chosen)]
        gaps = [min(np.linalg.norm(p - q) for q in held) if i not in chosen else -1 for i, p in enumerate(points)]
        chosen.append(int(np.argmax(gaps)))
    return chosen


def test_k_center_against_a_slow_one_with_what_was_taken():
    points = np.random.default_rng(0).normal(size=(50, 3))
    taken = np.random.default_rng(1).normal(size=(4, 3))
    assert k_center(points, 12, taken).tolist() == slow_k_center(points, 12, list(taken))
    started = k_center(points, 12, start=17)
    assert started[0] == 17 and started.tolist()[1:] == slow_k_center(points, 11, [points[17]])
    assert sorted(k_center(np.ones((6, 2)), 6)) == list(range(6))  # all alike: still each once


def test_k_means_plus_plus_draws_by_squared_distance_and_utility():
    points, counts = np.array([[0.0], [1.0], [3.0]]), np.zeros(3)
    for seed in range(2000):
        counts[k_means_plus_plus(points, 1, taken=[[0.0]], seed=seed)[0]] += 1
    np.testing.assert_allclose(counts / 2000, [0, 0.1, 0.9], atol=0.02)
    counts[:] = 0
    for seed in range(2000):
        counts[k_means_plus_plus(points, 1, [1.0, 9.0, 1.0], taken=[[0.0]], seed=seed)[0]] += 1
    np.testing.assert_allclose(counts / 2000, [0, 0.5, 0.5], atol=0.03)
    for seed in range(20):  # what is alike comes last, and everything comes once
        order = k_means_plus_plus([[0.0], [0.0], [5.0], [9.0]], 4, seed=seed).tolist()
        assert sorted(order) == [0, 1, 2, 3] and order[3] in (0, 1)


def test_of_two_that_are_alike_the_more_useful_stays():
    points = np.array([[1.0, 0.0], [2.0, 0.01], [0.0, 1.0], [-1.0, 0.0]])
    assert deduplicate(points, 0.95).tolist() == [0, 2, 3]
    assert deduplicate(points, 0.95, [0.1, 0.2, 0.9, NO]).tolist() == [2, 1]
    many = np.random.default_rng(0).normal(size=(600, 2))
    unit = many / np.linalg.norm(many, axis=1, keepdims=True)
    kept = deduplicate(many, 0.999)
    cosines = unit[kept] @ unit[kept].T - 2 * np.eye(len(kept))
    assert cosines.max() <= 0.999 and ((unit @ unit[kept].T).max(axis=1) >= 0.999 - 1e-12).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: top_k([1.0, np.nan], 1), "utility of prompt 1 is nan"),
        (lambda: top_k([1.0, np.inf], 1), "utility of prompt 1 is inf"),
        (lambda: top_k([], 1), "at least one prompt"),
        (lambda: top_k([1.0], 0), "`k` should be a whole number of at least 1, got 0"),
        (lambda: top_k([1.0], True), "`k` should be a whole number"),
        (lambda: over_threshold([1.0], np.nan), "`threshold` is NaN"),
        (lambda: quota_counts({"a": 0.0}, 3), "quota of 'a' should be a share"),
        (lambda: quota_counts({"a": 0.7, "b": 0.5}, 3), "sum to at most 1, got 1.2"),
        (lambda: with_quotas([1.0], ["a", "b"], 1, {}), "2 categories for 1 prompts"),
        (lambda: k_center([[1.0], [np.nan]], 1), "embedding of prompt 1 is not finite"),
        (lambda: k_center([[1.0]], 2), "`k` should be at most 1"),
        (lambda: k_center([[1.0]], 1, start=4), "`start` should be in 0 ... 0"),
        (lambda: k_center([[1.0]], 1, taken=[[1.0, 2.0]]), "`taken` should have the shape"),
        (lambda: k_center([1.0], 1), r"shape \(prompts, dimensions\)"),
        (lambda: k_means_plus_plus([[1.0]], 1, [-1.0]), "finite numbers of at least 0"),
        (lambda: deduplicate([[1.0]], 2), r"in \[-1, 1\], got 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
