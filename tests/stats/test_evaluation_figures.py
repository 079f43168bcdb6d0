"""Rates and changes over answers that share prompts, what is significant, and what could have been seen."""

from __future__ import annotations

import doctest
import importlib
import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from rlhf_ext.stats import (
    bootstrap_mean,
    clustered_mean,
    clustered_rate,
    detectable_difference,
    holm,
    paired_difference,
    rate_difference,
    sign_flip_test,
    wilson,
)


@pytest.mark.parametrize("name", ["clustered", "significance", "power"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.stats.{name}")).failed == 0


# ---- rates and means ----


def test_a_rate_is_wilsons_where_each_prompt_has_one_answer():
    assert clustered_rate([1, None, 0, 0, math.nan, 1], list("abcdef")) == wilson(2, 4)
    assert clustered_rate([1, 0, 0, 1]) == wilson(2, 4)


def test_copies_of_an_answer_say_no_more_than_one():
    """Each of 100 prompts answered four times the same: as sure as one answer each, not as 400 are."""
    once = [1.0] * 30 + [0.0] * 70
    found = clustered_rate([v for v in once for _ in range(4)], [i for i in range(100) for _ in range(4)])
    single = wilson(30, 100)
    assert found.n == 400 and found.value == 0.3
    assert found.high - found.low == pytest.approx(single.high - single.low, rel=0.06)


def test_the_clustered_interval_has_the_closed_form_of_a_cluster_mean():
    rng = np.random.default_rng(0)
    groups = rng.normal(size=200)
    values = np.repeat(groups, 3) + rng.normal(scale=0.3, size=600)
    found = clustered_mean(values, np.repeat(np.arange(200), 3))
    error = values.reshape(200, 3).mean(axis=1).std(ddof=1) / math.sqrt(200)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.05)
    naive = bootstrap_mean(values)
    assert found.high - found.low > 1.5 * (naive.high - naive.low)


@pytest.mark.parametrize(("value", "bound"), [(0.0, wilson(0, 50)), (1.0, wilson(50, 50))])
def test_where_all_say_the_same_the_prompts_still_leave_doubt(value, bound):
    found = clustered_rate([value] * 200 + [None], [*(i // 4 for i in range(200)), 99])
    assert (found.value, found.low, found.high, found.n) == (value, bound.low, bound.high, 200)


def test_shares_are_rates_too():
    found = clustered_rate([0.25, 0.5, 0.75, None])
    assert found.value == 0.5 and found == clustered_mean([0.25, 0.5, 0.75, None])


@pytest.mark.parametrize("values", [[0, 2], [-0.1], [0.5, 1.01]])
def test_what_is_no_rate_is_refused(values):
    with pytest.raises(ValueError, match=rf"values\[{len(values) - 1}\] is .*in \[0, 1\]"):
        clustered_rate(values)
    with pytest.raises(ValueError, match="after"):
        rate_difference([0] * len(values), values)


def test_a_change_of_a_rate_is_the_paired_bootstrap_unless_nothing_varies():
    before, after = [0, 1, 0, 1] * 10, [0, 1, 1, 1] * 10
    assert rate_difference(before, after) == paired_difference(before, after)
    same = rate_difference([0.0, 1.0] * 25, [0.0, 1.0] * 25)
    reach = wilson(0, 50).high
    assert (same.value, same.low, same.high) == (0, -reach, reach)
    clustered = rate_difference([0, 1, 0, 1], [0, 1, 0, 1], ["a", "a", "b", "b"])
    assert clustered.high == wilson(0, 2).high and clustered.n == 4
    opposite = rate_difference([0] * 100, [1] * 100)
    assert opposite.high == 1 and opposite.low == pytest.approx(1 - 2 * wilson(0, 100).high)


# ---- significance ----


@pytest.mark.parametrize(("up", "down"), [(6, 0), (5, 0), (9, 2), (8, 6), (0, 0), (3, 3)])
def test_for_yes_and_no_it_is_mcnemars_exact_test(up, down):
    """Twice the tail of a fair binomial over the pairs that changed, at most 1."""
    before = [0] * up + [1] * down + [0, 1] * 7
    after = [1] * up + [0] * down + [0, 1] * 7
    n = up + down
    tail = sum(math.comb(n, k) for k in range(min(up, down) + 1)) / 2**n
    assert sign_flip_test(before, after) == pytest.approx(min(1, 2 * tail))


def test_drawn_signs_come_near_the_exact_ones():
    before, after = [0] * 14 + [1] * 5 + [0] * 20, [1] * 14 + [0] * 5 + [0] * 20
    exact = 2 * sum(math.comb(19, k) for k in range(6)) / 2**19
    assert sign_flip_test(before, after, resamples=40_000) == pytest.approx(exact, abs=0.006)
    assert sign_flip_test(before, after) == sign_flip_test(before, after)
    assert sign_flip_test([0] * 40, [1] * 40) == pytest.approx(1 / 10_001)


def test_by_hand_for_scores():
    """Changes 3, 1, -2: of 8 patterns, those with |sum| >= 2 are all but 3 - 1 - 2 and its mirror."""
    sums = [abs(3 * a + b + 2 * c) for a, b, c in product((1, -1), repeat=3)]
    assert sign_flip_test([0, 0, 2], [3, 1, 0]) == sum(s >= 2 for s in sums) / 8 == 0.75


def test_answers_to_one_prompt_flip_together():
    before, after = [0] * 12, [1] * 12
    assert sign_flip_test(before, after) == 2 / 2**12
    assert sign_flip_test(before, after, [row // 4 for row in range(12)]) == 2 / 2**3
    assert sign_flip_test([0, None, 1], [1, 1, None], ["a", "b", "c"]) == 1.0


def test_the_test_holds_its_level_where_models_are_alike():
    rng, alarms = np.random.default_rng(3), 0
    for turn in range(300):
        rates = np.repeat(rng.beta(1, 3, size=25), 2)
        a, b = (rng.random(50) < rates for _ in range(2))
        alarms += sign_flip_test(a, b, np.arange(50) // 2, resamples=400, seed=turn) <= 0.05
    assert wilson(alarms, 300).low < 0.05  # and discrete: it may be below


def test_holm_by_hand_and_against_its_definition():
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0] and holm([]) == []
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = (rng.random(6) ** 3).tolist()
        order, rejected = sorted(range(6), key=p.__getitem__), set()
        for rank, row in enumerate(order):  # step down: stop at the first that does not pass
            if p[row] > 0.05 / (6 - rank):
                break
            rejected.add(row)
        assert {row for row, q in enumerate(holm(p)) if q <= 0.05} == rejected


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match=r"p_values\[1\]"):
        holm([0.5, p])


# ---- power ----


def test_the_closed_form_for_independent_pairs():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=400), rng.normal(0.1, 1, size=400)
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    assert z == pytest.approx(2.8016, abs=1e-4)
    error = (after - before).std(ddof=1) / 20
    assert detectable_difference(before, after) == pytest.approx(z * error)
    twice = detectable_difference(np.repeat(before, 2), np.repeat(after, 2), np.repeat(np.arange(400), 2))
    assert twice == pytest.approx(z * error)  # copies add nothing


def test_a_change_of_that_size_is_seen_in_four_of_five():
    rng, n = np.random.default_rng(2), 150
    sizes, seen = [], 0
    for _ in range(200):
        before = rng.normal(size=n)
        after = before + rng.normal(scale=0.8, size=n)
        sizes.append(detectable_difference(before, after))
    size = float(np.mean(sizes))
    for turn in range(200):
        change = rng.normal(size, 0.8, size=n)
        seen += paired_difference(np.zeros(n), change, resamples=500, seed=turn).excludes_zero
    assert wilson(seen, 200).low < 0.8 < wilson(seen, 200).high


def test_where_nothing_changed_a_rate_still_has_a_smallest_change():
    """d = z sqrt(d (1 - d) / n) solved for d."""
    size = detectable_difference([0] * 100, [0] * 100, rate=True)
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    assert size == pytest.approx(z * math.sqrt(size * (1 - size) / 100))
    assert math.isnan(detectable_difference([1.5] * 9, [1.5] * 9))
    assert math.isnan(detectable_difference([0, 1], [1, 1], ["a", "a"]))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"before": [0, 1], "after": [1]}, "row 1 is missing"),
        ({"before": [None], "after": [1]}, "all 1 pairs"),
        ({"before": [0, 1], "after": [1, 1], "clusters": ["a"]}, "clusters"),
    ],
)
def test_bad_input_is_named(arguments, match):
    for function in (sign_flip_test, detectable_difference):
        with pytest.raises(ValueError, match=match):
            function(**arguments)
    with pytest.raises(ValueError, match="power"):
        detectable_difference([0, 1], [1, 1], power=1.0)
