"""Confidence sequences: closed forms, coverage at every look, and what naive intervals do beside them."""

import doctest
import importlib
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from rlhf_ext.stats import (
    Moments,
    difference_confidence_sequence,
    difference_p_value,
    mean_confidence_sequence,
    rate_confidence_sequence,
    wilson,
)


@pytest.mark.parametrize("module", ["moments", "sequential", "sample_ratio"])
def test_the_examples_run(module):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.stats.{module}")).failed == 0


def test_moments_are_numpys_whatever_the_mean():
    values = np.random.default_rng(0).normal(1e6, 1e-3, 500)
    seen = Moments.of(values)
    assert (seen.n, seen.mean) == (500, pytest.approx(values.mean(), rel=1e-14))
    assert seen.variance == pytest.approx(values.var(ddof=1), rel=1e-4)
    assert Moments().merged(seen) == seen
    assert Moments.of(values[:200]).merged(Moments.of(values[200:])).squares == pytest.approx(seen.squares, rel=1e-4)
    with pytest.raises(ValueError, match="finite"):
        seen.added(math.inf)


def test_values_of_moments_can_change_and_go():
    values = [0.2, 0.9, 0.4, 0.4]
    changed = Moments.of(values).replaced(0.9, 0.1)
    again = Moments.of([0.2, 0.1, 0.4, 0.4])
    assert (changed.n, changed.mean, changed.squares) == pytest.approx((4, again.mean, again.squares))
    assert Moments.of([3.0]).removed(3.0) == Moments()
    assert Moments.of([3.0, 3.0]).removed(3.0).squares == 0


def test_the_interval_of_a_rate_holds_where_the_mixed_ratio_is_below_its_bound():
    """The ratio by numerical integration over the prior, at both ends: 1 / alpha."""
    estimate = rate_confidence_sequence(7, 40, 0.9)
    for end in (estimate.low, estimate.high):
        ratio, _ = scipy.integrate.quad(
            lambda q, end=end: (
                scipy.stats.beta.pdf(q, 0.5, 0.5)
                * math.exp(7 * math.log(q / end) + 33 * math.log((1 - q) / (1 - end)))
            ),
            0,
            1,
        )
        assert ratio == pytest.approx(10, rel=1e-4)


def test_the_interval_of_a_rate_contains_the_one_of_a_single_look_and_ends_at_0_and_1():
    for total, n in ((0, 5), (3, 50), (400, 1000), (50, 50)):
        always, once = rate_confidence_sequence(total, n), wilson(total, n)
        assert always.low <= once.low and once.high <= always.high
    assert rate_confidence_sequence(0, 30).low == 0 and rate_confidence_sequence(30, 30).high == 1
    assert rate_confidence_sequence(0.5, 1).value == 0.5
    assert rate_confidence_sequence(3 - 1e-15, 3).high == pytest.approx(1.0)


def test_the_ratio_of_a_difference_is_that_of_a_mixture():
    """With so many values that Student's tails are normal: the closed form of the normal mixture, by integration."""
    before, after = Moments(400_000, 0.0, 400_000.0), Moments(100_000, 0.011, 100_000.0)
    error = math.sqrt(1 / 400_000 + 1 / 100_000)
    doubled = -2 * math.log(0.05)
    tau = error * math.sqrt(500_000 / 250_000 * (doubled + math.log(doubled) + 1))
    ratio, _ = scipy.integrate.quad(
        lambda effect: (
            scipy.stats.norm.pdf(effect, 0, tau)
            * scipy.stats.norm.pdf(0.011, effect, error)
            / scipy.stats.norm.pdf(0.011, 0, error)
        ),
        -0.2,
        0.2,
        points=[0, 0.011],
    )
    assert difference_p_value(before, after, planned=250_000) == pytest.approx(1 / ratio, rel=1e-3)


def test_the_p_value_and_the_interval_agree():
    for apart in np.linspace(0.05, 2.0, 40):
        before, after = Moments(60, 0.0, 50.0), Moments(25, apart, 30.0)
        clear = difference_confidence_sequence(before, after, planned=100).excludes_zero
        assert clear == (difference_p_value(before, after, planned=100) <= 0.05)
    assert clear  # both sides were seen
    assert not difference_confidence_sequence(
        Moments(60, 0.0, 50.0), Moments(25, 0.05, 30.0), planned=100
    ).excludes_zero


def test_the_interval_is_tightest_where_it_was_planned_to_be():
    def width(planned):
        group = Moments(1_000, 0.0, 999.0)
        estimate = difference_confidence_sequence(group, group, planned=planned)
        return estimate.high - estimate.low

    assert width(2_000) < width(200) and width(2_000) < width(20_000)
    once = 2 * 1.96 * math.sqrt(2 / 1_000)
    assert 1.4 < width(2_000) / once < 1.6  # the price of looking


def test_what_can_say_nothing_says_nothing():
    one = difference_confidence_sequence(Moments.of([1.0]), Moments.of([0.0, 2.0, 1.0]))
    assert (one.low, one.high) == (-math.inf, math.inf)
    same = Moments.of([1.0, 1.0])
    assert difference_p_value(same, Moments.of([2.0, 2.0])) == 1.0
    assert mean_confidence_sequence(Moments.of([1.0])).high == math.inf
    for call in (
        lambda: difference_confidence_sequence(Moments(), same),
        lambda: rate_confidence_sequence(0, 0),
        lambda: rate_confidence_sequence(2, 1),
        lambda: mean_confidence_sequence(Moments()),
        lambda: mean_confidence_sequence(same, confidence=1.0),
        lambda: mean_confidence_sequence(same, planned=0),
    ):
        with pytest.raises(ValueError, match="must be|need"):
            call()


def ever_wrong(draw, share, rates, n, looks, runs, seed=0):
    """How often the difference of equals is called clear at any look."""
    rng, wrong = np.random.default_rng(seed), 0
    for _ in range(runs):
        values, second = draw(rng, n), rng.random(n) < share
        for look in looks:
            first_group, second_group = values[:look][~second[:look]], values[:look][second[:look]]
            if min(len(first_group), len(second_group)) < 2:
                continue
            pair = (
                Moments(len(v), float(v.mean()), float(((v - v.mean()) ** 2).sum()))
                for v in (first_group, second_group)
            )
            if difference_p_value(*pair, planned=500, rates=rates) <= 0.05:
                wrong += 1
                break
    return wrong / runs


@pytest.mark.parametrize(
    ("draw", "share", "rates"),
    [
        (lambda rng, n: rng.normal(size=n), 0.5, False),
        (lambda rng, n: (rng.random(n) < 0.5).astype(float), 0.1, True),
        (lambda rng, n: (rng.random(n) < 0.03).astype(float), 0.05, True),
        (lambda rng, n: rng.lognormal(0, 1, n), 0.05, False),
    ],
    ids=["normal", "even odds", "rare, unequal shares", "skewed, unequal shares"],
)
def test_equals_are_told_apart_in_at_most_one_of_twenty_experiments_however_often_one_looks(draw, share, rates):
    looks = [*range(4, 200, 4), *range(200, 1001, 50)]
    # 300 runs: at 5 % more than 26 alarms come in one of 200 cases.
    assert ever_wrong(draw, share, rates, 1000, looks, 300) <= 26 / 300


def test_the_rate_is_in_its_interval_at_all_looks():
    rng, missed = np.random.default_rng(1), 0
    for _ in range(300):
        totals = np.cumsum(rng.random(400) < 0.1)
        missed += any(
            not (e := rate_confidence_sequence(float(totals[look - 1]), look)).low <= 0.1 <= e.high
            for look in range(1, 401, 7)
        )
    assert missed <= 26


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        first, second = rng.random(3000) < 0.10, rng.random(3000) < 0.15
        pair = (Moments.of(map(float, group)) for group in (first, second))
        found += difference_p_value(*pair, rates=True) <= 0.05
    assert found >= 95
