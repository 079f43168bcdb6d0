"""Whether users were dealt as they should be."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from rlhf_ext.stats import always_valid_sample_ratio, sample_ratio_test


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        ([510, 490], [0.5, 0.5]),
        ([95, 3, 12], [0.85, 0.05, 0.1]),
        ([10, 12, 9, 30], [0.25] * 4),
        ([7, 8, 9, 1, 3], [0.2] * 5),
    ],
)
def test_the_test_for_one_look_is_scipys(counts, shares):
    expected = scipy.stats.chisquare(counts, [sum(counts) * share for share in shares]).pvalue
    assert sample_ratio_test(counts, shares) == pytest.approx(expected, rel=1e-10)


def test_counts_that_fit_exactly_or_are_none_say_nothing():
    assert sample_ratio_test([50, 50], [0.5, 0.5]) == sample_ratio_test([30, 30, 30], [1 / 3] * 3) == 1
    assert sample_ratio_test([0, 0], [0.5, 0.5]) == always_valid_sample_ratio([0, 0], [0.5, 0.5]) == 1


def test_the_always_valid_one_is_one_over_a_mixed_likelihood_ratio():
    doubled = -2 * np.log(0.01)
    weight = 1_000 / (doubled + np.log(doubled) + 1)
    ratio, _ = scipy.integrate.quad(
        lambda q: (
            scipy.stats.beta.pdf(q, weight * 0.3, weight * 0.7)
            * np.exp(80 * np.log(q / 0.3) + 120 * np.log((1 - q) / 0.7))
        ),
        0.2,
        0.5,
    )
    assert always_valid_sample_ratio([80, 120], [0.3, 0.7]) == pytest.approx(1 / ratio, rel=1e-4)


def test_right_shares_are_called_wrong_in_at_most_one_of_a_hundred_at_any_look():
    rng, naive, always = np.random.default_rng(0), 0, 0
    shares = [0.8, 0.15, 0.05]
    looks = range(20, 2001, 20)
    for _ in range(300):
        counts = np.cumsum(rng.multinomial(20, shares, size=len(looks)), axis=0)
        always += any(always_valid_sample_ratio([int(c) for c in row], shares) <= 0.01 for row in counts)
        naive += any(sample_ratio_test([int(c) for c in row], shares) <= 0.01 for row in counts)
    assert always <= 8  # 3 expected at most, 9 or more in one of 250 cases
    assert naive > 20  # looked at a hundred times, the usual test is wrong far more often than it says


def test_lost_users_are_noticed():
    assert always_valid_sample_ratio([5_000, 4_600], [0.5, 0.5]) < 0.01


@pytest.mark.parametrize(
    ("counts", "shares", "said"),
    [
        ([1], [1.0], "two or more"),
        ([1, 2], [0.5, 0.25, 0.25], "two or more"),
        ([1, -2], [0.5, 0.5], r"counts\[1\] is -2"),
        ([1, 2], [1.0, 0.0], r"shares\[1\]"),
        ([1, 2], [0.5, 0.4], "sum to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(counts, shares, said):
    for test in (sample_ratio_test, always_valid_sample_ratio):
        with pytest.raises(ValueError, match=said):
            test(counts, shares)
