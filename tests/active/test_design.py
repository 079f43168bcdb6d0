"""D-optimal design against a greedy choice that computes determinants."""

import itertools

import numpy as np
import pytest

from rlhf_ext.active import Design, d_optimal, ridge_of
from rlhf_ext.active import greedy as lazy


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4, 6)) * np.linspace(2, 0.3, 6)
    features[20:] = features[:10] + 0.01 * rng.normal(size=(10, 4, 6))  # near copies
    present = np.ones((30, 4), dtype=bool)
    present[3:8, 2] = present[6:12, 0] = False
    return features, rng.normal(size=(30, 4)) * 2, present


def weight(difference):
    p = 1 / (1 + np.exp(-difference))
    return p * (1 - p)


def slow_greedy(features, scores, present, k, ridge, asked=()):
    """Each time all pairs of all prompts, by the determinant itself."""
    information = ridge * np.eye(features.shape[2]) + sum(0.25 * np.outer(x, x) for x in asked)
    chosen = []
    for _ in range(k):
        best = (-np.inf, None)
        for prompt in set(range(len(features))) - {one for one, *_ in chosen}:
            for i, j in itertools.combinations(np.flatnonzero(present[prompt]), 2):
                x = features[prompt, i] - features[prompt, j]
                more = information + weight(scores[prompt, i] - scores[prompt, j]) * np.outer(x, x)
                gain = np.linalg.slogdet(more)[1] - np.linalg.slogdet(information)[1]
                if gain > best[0]:
                    best = (gain, (prompt, int(i), int(j), gain, more))
        *found, information = best[1]
        chosen.append(tuple(found))
    return chosen, information


@pytest.mark.parametrize("look", [1, 3, 64])
def test_the_lazy_choice_is_the_greedy_one(pool, look, monkeypatch):
    monkeypatch.setattr(lazy, "_LOOK", look)
    features, scores, present = pool
    asked = np.random.default_rng(1).normal(size=(3, 6))
    design = Design(6, ridge=0.5).add(asked)
    chosen, found = design.choose(np.where(present[:, :, None], features, np.nan), 20, scores, present)
    wanted, information = slow_greedy(features, scores, present, 20, 0.5, asked)
    assert chosen.tolist() == [prompt for prompt, *_ in wanted]
    assert found.pairs.tolist() == [[i, j] for _, i, j, _ in wanted]
    np.testing.assert_allclose(found.utilities, [gain for *_, gain in wanted], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.inv(design.covariance), information, rtol=1e-8)


def test_gains_are_those_of_the_next_one(pool):
    features, scores, present = pool
    found = d_optimal(features, scores, present, ridge=0.5)
    (first, i, j, gain), *_ = slow_greedy(features, scores, present, 1, 0.5)[0]
    assert found.utilities.argmax() == first and found.utilities[first] == pytest.approx(gain)
    assert found.pairs[first].tolist() == [i, j]


def test_the_mean_of_members_counts(pool):
    features, scores, present = pool
    members = scores[:, :, None] + np.array([-1.0, 1.0])
    np.testing.assert_allclose(
        d_optimal(features, members, present).utilities, d_optimal(features, scores, present).utilities
    )


def test_what_was_asked_is_worth_less_and_what_is_foregone_too():
    features = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    even = d_optimal(features).utilities
    assert even[0] == pytest.approx(even[1])
    again = d_optimal(features, asked=[[3.0, 0.0]]).utilities
    assert again[0] < even[0] and again[1] == pytest.approx(even[1])
    sure = d_optimal(features, scores=[[5.0, 0.0], [0.0, 0.0]]).utilities
    assert sure[0] < even[0] and sure[1] == pytest.approx(even[1])
    assert d_optimal(features, scores=[[5.0, 0.0], [0.0, 0.0]], temperature=50).utilities[0] > sure[0]


def test_a_batch_is_not_copies_of_one(pool):
    features, _, _ = pool
    chosen = Design(6, ridge_of(features)).choose(features[[0, 20] * 5 + list(range(1, 10))], 5)[0]
    assert sum(place < 10 for place in chosen) <= 2  # of ten copies of one prompt


def test_the_ridge_follows_the_scale_of_the_features(pool):
    features, scores, present = pool
    assert ridge_of(features * 10, present) == pytest.approx(100 * ridge_of(features, present))
    one, other = (d_optimal(given, scores, present).utilities for given in (features, features * 10))
    np.testing.assert_allclose(one, other, rtol=1e-9)
    rng = np.random.default_rng(2)
    assert ridge_of(rng.normal(size=(2000, 4, 5))) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Design(0), "`dimensions` should be at least 1"),
        (lambda: Design(2, ridge=0), "`ridge` should be a positive number, got 0"),
        (lambda: Design(2).add([[1.0]]), r"shape \(pairs, 2\), got \(1, 1\)"),
        (lambda: Design(2).add([[1.0, np.nan]]), "should be finite"),
        (lambda: Design(2).add([[1.0, 2.0]], [0.0, 1.0]), "one for each of 1 pairs"),
        (lambda: Design(2).gains(np.zeros((3, 2, 5))), r"shape \(prompts, responses, 2\), got \(3, 2, 5\)"),
        (lambda: Design(2).choose(np.ones((3, 2, 2)), 4), r"in 1 ... 3.*got 4"),
        (lambda: Design(2).gains(np.ones((3, 2, 2)), np.ones((2, 2))), "`present` should have the shape"),
        (lambda: d_optimal(np.full((1, 2, 2), np.nan)), "`features` has nan at prompt 0, response 0, dimension 0"),
        (lambda: d_optimal(np.zeros((1, 2))), r"shape \(prompts, responses, dimensions\)"),
        (lambda: d_optimal(np.ones((1, 2, 2))), "same features"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
