"""pass@k against counting all choices."""

import doctest
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from rlhf_ext.stats import pass_at_k, passing


def test_it_is_the_share_of_choices_with_a_right_one():
    for n in range(1, 8):
        for c in range(n + 1):
            answers = [1] * c + [0] * (n - c)
            for k in range(1, n + 1):
                chosen = [any(choice) for choice in combinations(answers, k)]
                assert pass_at_k(n, c, k) == pytest.approx(sum(chosen) / len(chosen), abs=1e-15)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(200, 1, 100), (200, 3, 10), (2000, 1, 1), (5000, 7, 2500), (100000, 2, 50000)]
)
def test_it_is_exact_where_binomials_overflow(n, c, k):
    assert pass_at_k(n, c, k) == pytest.approx(float(1 - Fraction(comb(n - c, k), comb(n, k))), rel=1e-12)


def test_it_has_no_bias_where_the_naive_estimate_has():
    rng = np.random.default_rng(0)
    rate, n, k = 0.1, 10, 5
    right = rng.binomial(n, rate, size=40_000)
    truth = 1 - (1 - rate) ** k
    assert pass_at_k(n, right, k).mean() == pytest.approx(truth, abs=0.005)
    assert (1 - (1 - right / n) ** k).mean() < truth - 0.02


def test_one_number_or_one_a_problem():
    assert isinstance(pass_at_k(5, 2, 1), float) and pass_at_k(5, 2, 1) == 0.4
    found = pass_at_k([5, 10], np.array([2, 0]), 2)
    assert found.tolist() == [pass_at_k(5, 2, 2), 0.0] and found.dtype == np.float64
    assert pass_at_k(3, [], 1).shape == (0,)


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ((5, 2, 0), "k must be at least 1, got 0"),
        (([9, 3], [1, 1], 4), "pass@4 needs at least 4 answers, problem 1 has 3"),
        ((5, 6, 1), r"c must be in \[0, 5\], problem 0 has 6"),
        ((5, -1, 1), "problem 0 has -1"),
        (([1, 2], [1, 2, 3], 1), "shape mismatch|broadcast"),
    ],
)
def test_counts_are_checked(counts, match):
    with pytest.raises(ValueError, match=match):
        pass_at_k(*counts)


def test_counts_are_whole_numbers():
    for counts in ((5, 2.0, 1), (5, 2, 1.5), ([5.0], [2], 1), (5, [True], 1)):
        with pytest.raises(TypeError):
            pass_at_k(*counts)


def test_examples():
    assert doctest.testmod(passing).failed == 0
