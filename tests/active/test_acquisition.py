"""Acquisition functions against slow references written from the papers, and what they refuse."""

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest

from rlhf_ext import active
from rlhf_ext.active import arrays

NAMES = (
    *("acquisition", "thompson", "sampled", "distances", "design", "batches", "spread", "shortlist", "selection"),
    *("strategies", "pool", "work", "readers", "greedy", "arrays"),
)


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"rlhf_ext.active.{name}")).failed == 0


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(40, 4, 5)) * 2


@pytest.fixture
def present():
    """Two to four responses a prompt, not always the first ones."""
    mask = np.ones((40, 4), dtype=bool)
    mask[:10, 1] = False
    mask[5:15, 3] = False
    return mask


def best(scores, present, utility):
    """The best pair of each prompt, one at a time."""
    found = []
    for rows, there in zip(scores, present, strict=True):
        pairs = [(i, j) for i, j in itertools.combinations(range(len(rows)), 2) if there[i] and there[j]]
        values = [utility(rows[i], rows[j]) for i, j in pairs]
        found.append((max(values), pairs[int(np.argmax(values))]))
    return np.array([value for value, _ in found]), [list(pair) for _, pair in found]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def probabilities(one, other, temperature):
    return [sigmoid((a - b) / temperature) for a, b in zip(one, other, strict=True)]


def label_entropy(one, other):
    return entropy(np.mean(probabilities(one, other, 1.5)))


def bald(one, other):
    p = probabilities(one, other, 1.5)
    return entropy(np.mean(p)) - np.mean([entropy(x) for x in p])


REFERENCES = {
    "margin": ({}, lambda a, b: -abs(np.mean(a) - np.mean(b))),
    "max_min": ({}, lambda a, b: abs(np.mean(a) - np.mean(b))),
    "label_entropy": ({"temperature": 1.5}, label_entropy),
    "bald": ({"temperature": 1.5}, bald),
    "disagreement": ({"temperature": 1.5}, lambda a, b: np.std(probabilities(a, b, 1.5))),
    "disagreement, of rewards": ({"temperature": None}, lambda a, b: np.std(a - b)),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("block", [7, 4096])
def test_against_a_slow_reference(name, block, scores, present, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", block)
    options, reference = REFERENCES[name]
    held = np.where(present[:, :, None], scores, np.nan)  # what is not there is not read
    found = getattr(active, name.split(",")[0])(held, present, **options)
    utilities, pairs = best(scores, present, reference)
    np.testing.assert_allclose(found.utilities, utilities, atol=1e-12)
    assert found.pairs.tolist() == pairs


def test_delta_ucb_is_the_largest_gap_of_upper_and_lower_bounds(scores, present):
    found = active.delta_ucb(scores, present, beta=0.7)
    for row, there, utility, pair in zip(scores, present, *found, strict=True):
        kept = np.flatnonzero(there)
        centred = row[kept] - row[kept].mean(axis=0)  # a member's own zero is no difference
        upper = centred.mean(axis=1) + 0.7 * centred.std(axis=1)
        lower = centred.mean(axis=1) - 0.7 * centred.std(axis=1)
        gaps = upper[:, None] - lower[None, :]
        np.fill_diagonal(gaps, -np.inf)
        assert utility == pytest.approx(gaps.max())
        assert set(pair) == {kept[place] for place in np.unravel_index(gaps.argmax(), gaps.shape)}
    np.testing.assert_allclose(
        active.delta_ucb(scores, present, beta=0).utilities, active.max_min(scores, present).utilities
    )


@pytest.mark.parametrize("name", ["double_thompson", "reversed_double_thompson"])
def test_thompson_draws_as_often_as_drawing_again_until_they_differ(name):
    """The shares of pairs over many seeds against the papers' loop."""
    scores = np.random.default_rng(3).normal(size=(4, 5))  # responses by members
    rng, wanted = np.random.default_rng(4), {}
    draws = 4000
    for _ in range(draws):
        first = second = int(scores[:, rng.integers(5)].argmax())
        while second == first:
            member = scores[:, rng.integers(5)]
            second = int(member.argmax() if name == "double_thompson" else member.argmin())
        pair = tuple(sorted((first, second)))
        wanted[pair] = wanted.get(pair, 0) + 1
    many = np.repeat(scores[None], draws, axis=0)
    found = getattr(active, name)(many, seed=5)
    shares = {tuple(pair): 0 for pair in found.pairs.tolist()}
    for pair in found.pairs.tolist():
        shares[tuple(pair)] += 1
    assert set(shares) == set(wanted) and len(wanted) > 1
    for pair, count in wanted.items():
        assert shares[pair] / draws == pytest.approx(count / draws, abs=0.04)
    assert (found.utilities >= 0).all() and found.utilities.max() > 0


def test_double_thompson_where_all_agree_on_the_best():
    scores = np.array([[[2.0, 3.0], [0.0, 0.5], [-1.0, 0.0]]] * 200)
    found = active.double_thompson(scores, seed=1)
    assert (found.utilities == 0).all()
    assert (found.pairs[:, 0] == 0).all() and set(found.pairs[:, 1]) == {1, 2}


@pytest.mark.parametrize("name", ["double_thompson", "reversed_double_thompson", "random"])
def test_a_pool_in_blocks_is_drawn_as_the_whole(name, scores, present):
    function = getattr(active, name)
    arguments = (lambda rows: (present[rows],)) if name == "random" else (lambda rows: (scores[rows], present[rows]))
    whole = function(*arguments(slice(None)), seed=np.random.default_rng(9))
    rng = np.random.default_rng(9)
    parts = [function(*arguments(slice(start, start + 13)), seed=rng) for start in range(0, 40, 13)]
    assert np.concatenate([part.pairs for part in parts]).tolist() == whole.pairs.tolist()
    assert np.concatenate([part.utilities for part in parts]).tolist() == whole.utilities.tolist()
    assert function(*arguments(slice(None)), seed=10).pairs.tolist() != whole.pairs.tolist()


@pytest.mark.parametrize(
    "name",
    ["bald", "disagreement", "delta_ucb", "double_thompson", "reversed_double_thompson", "margin", "label_entropy"],
)
def test_what_a_member_adds_to_all_responses_to_a_prompt_changes_nothing(name, scores, present):
    moved = scores + np.random.default_rng(1).normal(size=(40, 1, 5)) * 10
    one, other = (getattr(active, name)(given, present) for given in (scores, moved))
    np.testing.assert_allclose(one.utilities, other.utilities, atol=1e-9)
    assert one.pairs.tolist() == other.pairs.tolist()


def test_pairs_are_of_responses_that_are_there_and_differ(scores, present):
    for function in (active.random, active.predictive_entropy, active.response_diversity):
        if function is active.random:
            found = function(present)
        elif function is active.predictive_entropy:
            found = function(-np.abs(scores[:, :, 0]), present)
        else:
            found = function(np.abs(scores[:, :, :4]) + np.abs(scores[:, :, :4]).transpose(0, 2, 1), present)
        rows = np.arange(40)
        assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
        assert present[rows, found.pairs[:, 0]].all() and present[rows, found.pairs[:, 1]].all()


def test_random_pairs_are_all_equally_likely():
    present = np.array([[True, True, False, True]] * 6000)
    pairs, counts = np.unique(active.random(present).pairs, axis=0, return_counts=True)
    assert pairs.tolist() == [[0, 1], [0, 3], [1, 3]]
    assert np.abs(counts / 6000 - 1 / 3).max() < 0.03


def test_predictive_entropy_of_answers_and_of_tokens():
    logprobs, present = np.array([[-4.0, -8.0, -99.0]]), np.array([[True, True, False]])
    assert active.predictive_entropy(logprobs, present).utilities.tolist() == [6.0]
    assert active.predictive_entropy(logprobs, present, lengths=[[4, 4, 0]]).utilities.tolist() == [1.5]


def test_response_diversity_and_its_threshold():
    distances = np.zeros((2, 3, 3))
    distances[0, 0, 1] = distances[0, 1, 2] = 0.2
    distances[0, 0, 2] = 0.8
    distances[1] = 0.1
    found = active.response_diversity(distances, uncertainty_threshold=0.2)
    assert found.utilities.tolist() == [pytest.approx(0.4), -np.inf]
    assert found.pairs[0].tolist() == [0, 2]


def test_distances_of_texts_and_of_embeddings():
    one = active.text_distances(
        [["Red, red wine", "red WINE", [{"role": "assistant", "content": "white wine"}]], ["a", "b"]]
    )
    assert one[0, 0].tolist() == pytest.approx([0, 0, 2 / 3]) and (one == one.transpose(0, 2, 1)).all()
    assert one[1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert active.text_distances([["a b c", "b c a"]], ngram=2)[0, 0, 1] == pytest.approx(1 - 1 / 3)
    vectors = np.array([[[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]])
    np.testing.assert_allclose(active.embedding_distances(vectors)[0, 0], [0, 0, 1, 2], atol=1e-12)


ENSEMBLES = ("bald", "disagreement", "delta_ucb", "double_thompson", "reversed_double_thompson")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_is_needed_and_what_works_without_is_said(name):
    with pytest.raises(ValueError, match=rf"{name} reads how members.*With one model use margin"):
        getattr(active, name)(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("scores", "present", "message"),
    [
        (np.zeros(3), None, r"shape \(prompts, responses, members\).*got \(3,\)"),
        (np.zeros((0, 4, 2)), None, "all at least 1"),
        (np.zeros((2, 1, 3)), None, r"Prompt 0 has 1 responses.*needs two.*2 of 2"),
        (np.zeros((2, 3, 3)), [[True, True, False], [False, True, False]], r"Prompt 1 has 1 responses.*1 of 2"),
        (np.zeros((2, 3, 3)), [[True, True]], r"`present` should have the shape.*\(2, 3\), got \(1, 2\)"),
        (np.full((2, 3, 3), np.nan), None, "`scores` has nan at prompt 0, response 0, member 0.*`present`"),
    ],
)
@pytest.mark.parametrize("name", ["margin", "bald", "delta_ucb"])
def test_bad_scores(name, scores, present, message):
    with pytest.raises(ValueError, match=message):
        getattr(active, name)(scores, present)


def test_a_score_that_is_not_finite_is_named_past_the_first_block():
    scores = np.zeros((arrays.BLOCK + 5, 3, 2))
    scores[arrays.BLOCK + 2, 1, 1] = np.inf
    with pytest.raises(ValueError, match=f"inf at prompt {arrays.BLOCK + 2}, response 1, member 1"):
        active.margin(scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: active.bald(np.zeros((1, 2, 2)), temperature=0), "`temperature` should be a positive number, got 0"),
        (lambda: active.delta_ucb(np.zeros((1, 2, 2)), beta=-1), "`beta` should be a number of at least 0, got -1"),
        (lambda: active.predictive_entropy([[-1.0, 0.5]]), "0.5 at prompt 0, sample 1; they are at most 0"),
        (lambda: active.predictive_entropy([[-1.0, np.nan]]), "nan at prompt 0, sample 1"),
        (lambda: active.predictive_entropy([-1.0]), r"shape \(prompts, samples\)"),
        (lambda: active.predictive_entropy([[-1.0, -1.0]], lengths=[[1, 0]]), "`lengths` should be at least 1"),
        (lambda: active.response_diversity(np.full((1, 2, 2), -1.0)), "-1.0 at prompt 0 between responses 0 and 1"),
        (lambda: active.response_diversity(np.zeros((1, 2, 3))), r"\(prompts, responses, responses\)"),
        (lambda: active.random([True]), r"shape \(prompts, responses\), got \(1,\)"),
        (lambda: active.text_distances([]), "no responses"),
        (lambda: active.text_distances([["a"]], ngram=0), "`ngram` should be at least 1"),
        (lambda: active.embedding_distances(np.zeros((2, 3))), r"got \(2, 3\)"),
    ],
)
def test_other_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
