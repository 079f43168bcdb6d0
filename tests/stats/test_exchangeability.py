"""The conformal martingale: false alarms over all looks, what it finds and how soon, and what it refuses."""

import numpy as np
import pytest

from rlhf_ext.stats import ConformalMartingale, wilson


def run(rng, seed, before, after, shown=150, bins=20):
    """The largest log evidence while nothing changes, and after how many values of the change it reaches 1 in 1,000."""
    test = ConformalMartingale(bins, seed)
    test.show(before(rng, shown))
    quiet = max([test.add(int(value)) for value in before(rng, 400)], default=0.0)
    for number, value in enumerate(after(rng, 500), 1):
        if test.add(int(value)) >= np.log(1000):
            return quiet, number
    return quiet, None


def binned(rng, size, shift=0.0, spread=1.0):
    return np.clip(np.floor((rng.normal(size=size) * spread + shift) * 4 + 10), 0, 19).astype(int)


def test_false_alarms_stay_below_the_nominal_rate_over_all_looks():
    rng = np.random.default_rng(5)
    alpha, streams = 0.1, 100
    # Ties, few bins and a skewed distribution: the p-values are exact for any.
    alarms = 0
    for seed in range(streams):
        test = ConformalMartingale(6, seed)
        test.show(rng.geometric(0.4, 100).clip(max=6) - 1)
        for value in rng.geometric(0.4, 300).clip(max=6) - 1:
            test.add(int(value))
        alarms += test.most_evidence >= np.log(1 / alpha)
    assert wilson(alarms, streams).low <= alpha
    assert alarms <= 10  # which 100 streams at 10 % would exceed in half of all cases, were the bound just kept


@pytest.mark.parametrize(
    ("after", "soon"),
    [
        (lambda rng, n: binned(rng, n, shift=1.0), 90),
        (lambda rng, n: binned(rng, n, shift=-1.0), 90),
        (lambda rng, n: binned(rng, n, spread=2.5), 200),  # the mean stays where it is
        (lambda rng, n: binned(rng, n, spread=0.25), 200),
    ],
)
def test_shifts_and_changes_of_spread_are_found_soon(after, soon):
    rng = np.random.default_rng(1)
    found = [run(rng, seed, binned, after) for seed in range(6)]
    assert all(quiet < np.log(1000) for quiet, _ in found)
    delays = [delay for _, delay in found]
    assert None not in delays and np.median(delays) <= soon


def test_a_change_after_a_long_quiet_time_is_found_about_as_soon():
    rng = np.random.default_rng(2)
    test = ConformalMartingale(20)
    test.show(binned(rng, 150))
    for value in binned(rng, 4000):
        test.add(int(value))
    assert len(test._logs) == test.most  # memory does not grow
    after = [test.add(int(value)) for value in binned(rng, 150, shift=1.0)]
    assert max(after) >= np.log(1000)


def test_capital_is_a_martingale_at_its_first_bets():
    """The mean of the capital over all that can come is what it was: a bet that pays on average is no test."""
    rng = np.random.default_rng(3)
    capital = []
    for seed in range(3000):
        test = ConformalMartingale(4, seed, every=3)
        values = rng.integers(0, 4, 12)
        test.show(values[:4])
        for value in values[4:]:
            test.add(int(value))
        capital.append(np.exp(test.log_evidence))
    assert abs(np.mean(capital) - 1) < 4 * np.std(capital) / np.sqrt(len(capital))


def test_the_same_seed_gives_the_same_evidence():
    def evidence(seed):
        test = ConformalMartingale(5, seed)
        test.show([0, 1, 2, 3, 4] * 20)
        return [test.add(value) for value in [4, 4, 3, 0, 2, 4]]

    assert evidence(0) == evidence(0) != evidence(1)


@pytest.mark.parametrize("values", [[5], [-1], [0.5], ["a"]])
def test_values_outside_of_the_bins_are_refused(values):
    test = ConformalMartingale(5)
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 5\)"):
        test.show(values)
    with pytest.raises(ValueError, match=r"whole numbers"):
        test.add(values[0])
    assert test.counts.sum() == 0


def test_settings_that_make_no_test_are_refused():
    for arguments in ({"bins": 1}, {"bins": 5, "every": 0}, {"bins": 5, "most": 1}):
        with pytest.raises(ValueError, match="at least"):
            ConformalMartingale(**arguments)
