"""Strengths against closed forms, scipy's optimiser, simulated truth, and what must be refused or left open."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from rlhf_ext.stats import ELO, bradley_terry, two_way_mean, win_rate


def simulated(strengths, rows, seed=0, ties=0.0):
    rng = np.random.default_rng(seed)
    names = [chr(97 + i) for i in range(len(strengths))]
    i = rng.integers(len(names), size=rows)
    j = (i + rng.integers(1, len(names), size=rows)) % len(names)
    wins = (rng.random(rows) < expit(np.array(strengths)[i] - np.array(strengths)[j])).astype(float)
    wins[rng.random(rows) < ties] = 0.5
    return [names[k] for k in i], [names[k] for k in j], wins


def log_loss(theta, first, second, wins, ridge=0.0):
    values = dict(zip(sorted({*first, *second}), theta, strict=True))
    logits = np.array([values[a] - values[b] for a, b in zip(first, second, strict=True)])
    return (wins * np.logaddexp(0, -logits) + (1 - wins) * np.logaddexp(0, logits)).sum() + ridge / 2 * (
        theta**2
    ).sum()


def test_two_models_have_the_logit_of_the_win_rate():
    wins = [1.0] * 60 + [0.5] * 20 + [0.0] * 20 + [None] * 5
    found = bradley_terry(["a"] * 105, ["b"] * 105, wins)
    assert found.differences["a", "b"].value == pytest.approx(logit(0.7), abs=1e-3)
    assert found.strengths["a"].value == pytest.approx(logit(0.7) / 2, abs=1e-3)
    assert found.differences["a", "b"].n == 100 and found.strengths["b"].n == 100
    assert found.elo()["a"].value - found.elo()["b"].value == pytest.approx(400 * math.log10(7 / 3), abs=0.3)
    assert found.elo(1500)["a"].value + found.elo(1500)["b"].value == pytest.approx(3000)


def test_its_interval_is_that_of_the_win_rate_where_there_are_two():
    rng = np.random.default_rng(1)
    wins = rng.choice([0.0, 0.5, 1.0], size=300, p=[0.2, 0.3, 0.5])
    difference = bradley_terry(["a"] * 300, ["b"] * 300, wins, resamples=4000).differences["a", "b"]
    rate = win_rate(wins)
    assert (difference.low, difference.high) == pytest.approx((logit(rate.low), logit(rate.high)), abs=0.03)


def test_a_balanced_cycle_is_even_and_odds_multiply():
    cycle = bradley_terry(list("aaabbbccc"), list("bbbcccaaa"), [1, 1, 0] * 3)
    assert [one.value for one in cycle.strengths.values()] == pytest.approx([0, 0, 0], abs=1e-9)
    assert cycle.ranks() == dict.fromkeys("abc", (1, 3))
    # Without a cycle each difference is its own pair's: 3 to 1 and 4 to 1 are 12 to 1.
    chain = bradley_terry(["a"] * 8 + ["b"] * 10, ["b"] * 8 + ["c"] * 10, [1] * 6 + [0] * 2 + [1] * 8 + [0] * 2)
    assert chain.differences["a", "c"].value == pytest.approx(math.log(12), abs=0.02)


@pytest.mark.parametrize("soft", [False, True])
def test_strengths_are_those_that_scipy_finds(soft):
    first, second, wins = simulated([0.9, 0.3, -0.2, -1.0], 400, ties=0.2)
    if soft:
        wins = np.random.default_rng(2).random(400)
    found = bradley_terry(first, second, wins, resamples=2)
    best = minimize(log_loss, np.zeros(4), args=(first, second, wins, 0.01), method="BFGS", tol=1e-9).x
    wanted = dict(zip("abcd", best - best.mean(), strict=True))
    assert {name: one.value for name, one in found.strengths.items()} == pytest.approx(wanted, abs=1e-5)
    plain = minimize(log_loss, np.zeros(4), args=(first, second, wins), method="BFGS", tol=1e-9).x
    assert (
        max(abs(one.value - (plain - plain.mean())["abcd".index(name)]) for name, one in found.strengths.items())
        < 1e-3
    )
    assert found.models == sorted("abcd", key=lambda name: -wanted[name])


def test_ranks_are_those_of_davidson_where_all_pairs_are_compared_equally_often():
    rng = np.random.default_rng(3)
    truth, rows = np.array([0.8, 0.2, -0.4, -0.6]), []
    for i in range(4):
        for j in range(i):
            d = math.exp(truth[i] - truth[j])
            chances = np.array([d, 0.8 * math.sqrt(d), 1])
            rows += [(i, j, w) for w in rng.choice([1, 0.5, 0], size=80, p=chances / chances.sum())]
    one, two, wins = (np.array(column) for column in zip(*rows, strict=True))

    def davidson(x):
        half, nu = (x[one] - x[two]) / 2, x[4]
        total = np.log(np.exp(half) + np.exp(-half) + math.exp(nu))
        return -np.where(wins == 1, half, np.where(wins == 0, -half, nu)).sum() + total.sum() + 1e-6 * (x**2).sum()

    best = minimize(davidson, np.zeros(5), method="BFGS").x[:4]
    found = bradley_terry([str(i) for i in one], [str(i) for i in two], wins.astype(float), resamples=2)
    assert found.models == [str(i) for i in np.argsort(-best)]


def test_intervals_hold_the_truth_and_narrow_with_rows():
    truth, held, widths = [0.7, 0.0, -0.7], 0, []
    for seed in range(60):
        found = bradley_terry(*simulated(truth, 240, seed), resamples=300, seed=seed)
        held += sum(found.strengths[n].low <= t <= found.strengths[n].high for n, t in zip("abc", truth, strict=True))
        widths.append(found.strengths["a"].high - found.strengths["a"].low)
    assert 160 <= held <= 180  # of 180; 171 nominal
    wide = bradley_terry(*simulated(truth, 60), resamples=300).strengths["a"]
    assert wide.high - wide.low > 1.6 * np.mean(widths)


def test_the_bootstrap_agrees_with_the_information_of_the_likelihood():
    first, second, wins = simulated([0.5, 0.1, -0.6], 900, seed=4)
    found = bradley_terry(first, second, wins, resamples=3000)
    names = "abc"
    information = np.zeros((3, 3))
    values = [found.strengths[name].value for name in names]
    for a, b in zip(first, second, strict=True):
        i, j = names.index(a), names.index(b)
        p = expit(values[i] - values[j])
        information[[i, j], [i, j]] += p * (1 - p)
        information[[i, j], [j, i]] -= p * (1 - p)
    errors = np.sqrt(np.diag(np.linalg.pinv(information, rcond=1e-9)))
    for name, error in zip(names, errors, strict=True):
        estimate = found.strengths[name]
        assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(error, rel=0.08)


def test_ties_make_the_intervals_narrower_than_the_likelihood_would():
    half = bradley_terry(["a"] * 200, ["b"] * 200, [0.5] * 180 + [1.0, 0.0] * 10).differences["a", "b"]
    hard = bradley_terry(["a"] * 200, ["b"] * 200, [1.0, 0.0] * 100).differences["a", "b"]
    assert (half.high - half.low) < 0.5 * (hard.high - hard.low)


def test_rows_of_one_item_or_one_person_are_resampled_together():
    first, second, wins = simulated([0.4, -0.4], 60)
    many = [one * 5 for one in (list(first), list(second), list(wins))]
    items, people = list(range(60)) * 5, [person for person in "vwxyz" for _ in range(60)]

    def width(**labels):
        one = bradley_terry(*many, **labels, resamples=1500).differences["a", "b"]
        return one.high - one.low

    assert width(clusters=items) == pytest.approx(math.sqrt(5) * width(), rel=0.12)
    # All five said the same: what they share is the items.
    assert width(clusters=items, other_clusters=people) == pytest.approx(width(clusters=items), rel=0.15)
    lenient = [float(person in "vwx") for person in people]
    many[2] = lenient if first[0] == "a" else [1 - x for x in lenient]
    many[0], many[1] = ["a"] * 300, ["b"] * 300
    assert width(clusters=items, other_clusters=people) > 5 * width(clusters=range(300))


def test_one_cluster_alone_says_nothing_of_doubt():
    found = bradley_terry(["a", "a", "b"], ["b", "b", "a"], [1, 0, 1], clusters=["i"] * 3)
    assert found.strengths["a"].low == -math.inf and found.strengths["a"].high == math.inf
    assert found.ranks() == {"a": (1, 2), "b": (1, 2)}


def test_who_never_loses_has_no_upper_end_and_a_lower_one_that_grows():
    def unbeaten(n):
        return bradley_terry(["a"] * n + ["b"] * 40, ["b"] * n + ["c"] * 40, [1] * n + [1, 0] * 20)

    few, many = unbeaten(10), unbeaten(200)
    assert few.unbeaten == ["a"] and few.winless == []
    low, high = few.differences["a", "b"].low, few.differences["a", "b"].high
    assert high == math.inf
    # The likelihood-ratio interval of 10 of 10: p >= exp(-1.92 / 10).
    assert low == pytest.approx(logit(math.exp(-(1.959964**2) / 20)), abs=0.1)
    assert many.differences["a", "b"].low > low + 2
    assert many.differences["b", "a"].high == pytest.approx(-many.differences["a", "b"].low, abs=1e-4)
    assert few.ranks() == {"a": (1, 1), "b": (2, 3), "c": (2, 3)}
    # The others' strengths are around their own middle, not moved by the one without an end.
    assert few.strengths["b"].value == pytest.approx(0, abs=0.05) and math.isfinite(few.strengths["b"].high)
    # Ten answers to one item are worth one.
    together = bradley_terry(["a"] * 20, ["b"] * 20, [1] * 20, clusters=[i // 10 for i in range(20)])
    alone = bradley_terry(["a"] * 2, ["b"] * 2, [1] * 2)
    assert together.differences["a", "b"].low == pytest.approx(alone.differences["a", "b"].low, abs=0.3)


def test_an_anchor_is_where_the_scale_stands():
    first, second, wins = simulated([0.9, 0.0, -0.9], 300)
    free, held = bradley_terry(first, second, wins), bradley_terry(first, second, wins, anchor="c")
    assert (held.strengths["c"].value, held.strengths["c"].low, held.strengths["c"].high) == (0, 0, 0)
    ends = [(one.value, one.low, one.high) for one in (held.strengths["a"], held.differences["a", "c"])]
    assert ends[0] == ends[1]
    assert held.strengths["a"].value == pytest.approx(free.strengths["a"].value - free.strengths["c"].value)
    assert held.differences["a", "b"].value == pytest.approx(free.differences["a", "b"].value)


def test_the_same_seed_gives_the_same_intervals_and_rows_may_come_in_any_order():
    first, second, wins = simulated([0.5, -0.5], 80)
    assert bradley_terry(first, second, wins) == bradley_terry(first, second, wins)
    turned = bradley_terry(second, first, 1 - wins)
    assert turned.strengths["a"].value == pytest.approx(bradley_terry(first, second, wins).strengths["a"].value)
    assert round(ELO, 2) == 173.72


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["a", "c"], ["b", "d"], [1, 0]), "(a, b) and (c, d): nothing says which group"),
        ((["a", "b"], ["b", "b"], [1, 0]), "row 1 compares 'b' with itself"),
        ((["a"], ["b"], [1.5]), "probabilities[0] is 1.5"),
        ((["a", "b"], ["b"], [1, 1]), "second"),
        ((["a"], ["b"], [None]), "there are no strengths"),
        ((["a", "a"], ["b", "b"], [1, 0], ["i", None]), "clusters[1] is None"),
        ((["a"], ["b"], [1], None, None, "z"), "the anchor 'z' is none of the models: a, b"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        bradley_terry(*arguments)


def test_a_mean_over_items_and_people_is_as_unsure_as_the_fewer_of_them():
    rng = np.random.default_rng(0)
    people = rng.normal(0, 1, 12)
    items, who = np.repeat(np.arange(200), 12).tolist(), np.tile(np.arange(12), 200).tolist()
    values = people[who] + rng.normal(0, 1, 2400)
    found = two_way_mean(values, items, who)
    assert found.value == pytest.approx(values.mean()) and found.n == 2400
    # The standard error of a mean of twelve people; resampling divides by 12 where 11 would be right.
    assert (found.high - found.low) / 3.92 == pytest.approx(people.std(ddof=1) / math.sqrt(12), rel=0.15)
    assert two_way_mean([1, None, 3], "aab", "xyx").n == 2
    assert two_way_mean([1.0, 2.0], ["i", "j"], ["x", "x"]).high == math.inf


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0], ["a"], ["x", "y"]), "other_clusters"),
        (([None], ["a"], ["x"]), "no mean is left"),
        (([1.0, 2.0], ["a", "b"], ["x", None]), "clusters[1] is None"),
        (([1.0], ["a"], ["x"], 0.95, 0), "resamples must be at least 1"),
    ],
)
def test_a_mean_over_items_and_people_refuses(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        two_way_mean(*arguments)
