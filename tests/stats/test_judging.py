"""Biases of judges, planted and found again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlhf_ext.stats import length_bias, position_bias, self_preference


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_a_judge_that_looks_at_answers_alone_has_no_position_bias() -> None:
    p = np.random.default_rng(0).random(200)
    estimate = position_bias(p, 1 - p)
    assert estimate.value == pytest.approx(0)
    assert not estimate.excludes_zero


@pytest.mark.parametrize("planted", [0.15, -0.15])
def test_a_planted_position_bias_is_found(planted: float) -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.2, 0.8, 300)
    forward = (rng.random(300) < p + planted).astype(float)
    backward = (rng.random(300) < 1 - p + planted).astype(float)
    estimate = position_bias(forward, backward)
    assert estimate.low < planted < estimate.high
    assert estimate.excludes_zero
    assert (
        position_bias([1.0, None, 1.0], [1.0, 1.0, math.nan]).value == 0.5
    )  # the first wins always; one pair is left


def pairs(n: int = 600, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longer answers are truly better here: quality rises with length."""
    rng = np.random.default_rng(seed)
    lengths, others = rng.integers(20, 200, (2, n))
    quality = 0.01 * (lengths - others) + rng.normal(0, 1, n)
    return lengths, others, quality


def test_length_bias_counts_for_the_longer_whichever_stands_first() -> None:
    assert length_bias([0.9, 0.1], [9, 1], [1, 9]).value == pytest.approx(0.4)
    assert length_bias([0.9, 0.1], [1, 9], [9, 1]).value == pytest.approx(-0.4)
    estimate = length_bias([0.9, 0.2, None, 0.7], [9, 5, 9, 3], [1, 5, 1, 6])
    assert (estimate.value, estimate.n) == (pytest.approx(0.1), 2)  # of 0.9 and 0.3; equal and unjudged are left out


@pytest.mark.parametrize("planted", [0.0, 0.9])
def test_what_another_labeler_explains_is_no_bias(planted: float) -> None:
    lengths, others, quality = pairs()
    longer = np.sign(lengths - others)
    people = np.clip(0.5 + quality / 8, 0, 1)
    judge = (np.random.default_rng(3).random(600) < sigmoid(12 * (people - 0.5) + planted * longer)).astype(float)
    plain = length_bias(judge, lengths, others)
    partial = length_bias(judge, lengths, others, people)
    assert plain.low > 0.1  # whether or not there is a bias
    expected = float(sigmoid(np.array(planted))) - 0.5
    assert partial.low <= expected <= partial.high
    assert partial.excludes_zero == (planted > 0)
    assert partial.n == (longer != 0).sum()


def test_clusters_and_gaps_reach_the_partial_bias() -> None:
    lengths, others, quality = (np.repeat(column[:60], 5) for column in pairs())
    judge, people = sigmoid(quality), np.repeat(np.random.default_rng(4).random(60), 5)
    prompts = np.arange(300) // 5
    alone = length_bias(judge, lengths, others, people)
    together = length_bias(judge, lengths, others, people, prompts)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.2)
    gaps = [None if row % 5 == 0 else p for row, p in enumerate(people)]
    assert length_bias(judge, lengths, others, gaps, prompts).n == together.n * 4 // 5


def test_self_preference_is_what_the_other_labeler_does_not_share() -> None:
    rng = np.random.default_rng(5)
    people = rng.uniform(0.3, 0.9, 200)  # its own answers are better, in truth
    fair, vain = people + rng.normal(0, 0.02, 200), np.clip(people + 0.1, 0, 1)
    assert not self_preference(fair, people).excludes_zero
    estimate = self_preference(vain, people)
    assert estimate.value == pytest.approx(0.1)
    assert estimate.low > 0
    assert self_preference([1.0, None], [0.5, 0.5]).n == 1


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"backward\[1\] is 2"):
        position_bias([0, 1], [1, 2])
    with pytest.raises(ValueError, match="row 1 is missing"):
        position_bias([0, 1], [1])
    with pytest.raises(ValueError, match="none of the 2 pairs is judged and of unequal length"):
        length_bias([0.5, None], [3, 4], [3, 5])
    with pytest.raises(ValueError, match=r"other_lengths\[0\] is -3"):
        length_bias([0.5], [3], [-3])
    with pytest.raises(ValueError, match="other 1: row 1 is missing"):
        length_bias([0.5, 0.4], [3, 4], [5, 6], other=[0.5])
    with pytest.raises(ValueError, match="says nearly the same of all 2 pairs"):
        length_bias([0.5, 0.4], [3, 4], [5, 6], other=[0.1, 0.1])
    with pytest.raises(ValueError, match=r"judge\[0\] is 3"):
        self_preference([3], [1])
