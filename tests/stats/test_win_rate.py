"""Win rates, raw and at equal length, against simulated judges whose taste is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlhf_ext.stats import length_controlled_win_rate, wilson, win_rate
from rlhf_ext.stats.logistic import rate_at_zero


def sigmoid(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x)))


def judged(quality: float, verbosity: float, n: int = 400, seed: int = 0, hard: bool = True) -> tuple[np.ndarray, ...]:
    """A judge moved by quality and by length; the model writes longer than the reference."""
    rng = np.random.default_rng(seed)
    lengths, reference = rng.lognormal(5.4, 0.5, n), rng.lognormal(5, 0.5, n)
    longer = lengths - reference
    p = sigmoid(quality + verbosity * np.tanh(longer / longer.std()))
    return (rng.random(n) < p).astype(float) if hard else p, lengths, reference


def test_a_win_rate_is_the_mean_of_what_was_judged() -> None:
    estimate = win_rate([1.0, 0.5, None, 0.0, math.nan, 1.0])
    assert (estimate.value, estimate.n) == (0.625, 4)
    assert 0 <= estimate.low < 0.625 < estimate.high <= 1


def test_who_wins_all_of_few_is_not_sure_to_win() -> None:
    assert win_rate([1.0] * 10) == wilson(10, 10)
    assert win_rate([1.0, 0.0, 1.0]) == wilson(2, 3)


def test_samples_of_a_prompt_are_not_independent() -> None:
    wins = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 5).astype(float)
    prompts = [f"prompt {row // 5}" for row in range(200)]
    alone, together = win_rate(wins), win_rate(wins, prompts)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.1)
    lengths, reference = np.repeat(np.random.default_rng(1).integers(50, 150, (2, 40)), 5, axis=1)
    alone = length_controlled_win_rate(wins, lengths, reference)
    together = length_controlled_win_rate(wins, lengths, reference, prompts)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.2)


@pytest.mark.parametrize("quality", [0.0, 0.8, -0.8])
def test_length_is_taken_out_and_quality_stays(quality: float) -> None:
    raw, controlled, held = [], [], 0
    for seed in range(40):
        data = judged(quality, verbosity=2.5, seed=seed)
        estimate = length_controlled_win_rate(*data, resamples=200, seed=seed)
        raw.append(data[0].mean())
        controlled.append(estimate.value)
        held += bool(estimate.low <= sigmoid(quality) <= estimate.high)
    assert np.mean(raw) > sigmoid(quality) + 0.05
    assert np.mean(controlled) == pytest.approx(float(sigmoid(quality)), abs=0.015)
    assert 34 <= held <= 40


def test_a_judge_of_length_alone_gives_a_half() -> None:
    wins, lengths, reference = judged(0, verbosity=4)
    raw, controlled = win_rate(wins), length_controlled_win_rate(wins, lengths, reference)
    assert raw.low > 0.58
    assert controlled.low < 0.5 < controlled.high
    always = (lengths > reference).astype(float)  # no noise at all: rows that can be told apart without error
    assert length_controlled_win_rate(always, lengths, reference).value == pytest.approx(0.5, abs=0.05)
    assert always.mean() > 0.65


def test_a_judge_that_does_not_look_at_length_is_left_alone() -> None:
    wins, lengths, reference = judged(0.8, verbosity=0, n=2000)
    assert length_controlled_win_rate(wins, lengths, reference).value == pytest.approx(wins.mean(), abs=0.02)


def test_soft_labels_give_back_the_judges_formula() -> None:
    data = judged(0.7, verbosity=1.5, hard=False)
    assert length_controlled_win_rate(*data).value == pytest.approx(float(sigmoid(0.7)), abs=1e-3)


def test_it_is_turned_around_with_the_models_and_knows_no_unit() -> None:
    wins, lengths, reference = judged(0.5, verbosity=1)
    one = length_controlled_win_rate(wins, lengths, reference)
    other = length_controlled_win_rate(1 - wins, reference, lengths)
    assert other.value == pytest.approx(1 - one.value)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))
    assert length_controlled_win_rate(wins, lengths / 4, reference / 4).value == pytest.approx(one.value)


def test_at_equal_lengths_it_is_the_win_rate() -> None:
    wins = [1.0, 1.0, 0.0, 1.0] * 25
    assert length_controlled_win_rate(wins, [7] * 100, [7] * 100).value == pytest.approx(0.75, abs=1e-3)


def test_winning_all_is_near_one_and_finite() -> None:
    rng = np.random.default_rng(0)
    estimate = length_controlled_win_rate(np.ones(50), rng.integers(40, 90, 50), rng.integers(40, 90, 50))
    assert 0.99 < estimate.low <= estimate.value <= estimate.high < 1


def test_rows_without_a_judgement_are_left_out() -> None:
    wins, lengths, reference = judged(0.5, verbosity=1, n=60)
    gaps = [None if row % 3 == 0 else win for row, win in enumerate(wins)]
    kept = np.arange(60) % 3 != 0
    prompts = np.arange(60) // 2
    found = length_controlled_win_rate(gaps, lengths, reference, prompts)
    assert found == length_controlled_win_rate(wins[kept], lengths[kept], reference[kept], prompts[kept])
    assert found.n == 40


def test_where_nothing_tells_length_from_quality_it_says_so() -> None:
    rng = np.random.default_rng(0)
    wins = rng.integers(0, 2, 100)
    with pytest.raises(ValueError, match="nothing tells quality from length"):
        length_controlled_win_rate(wins, 500 + 10 * rng.normal(size=100), np.full(100, 50))
    with pytest.raises(ValueError, match="by 9 on average with a deviation of only 0"):
        length_controlled_win_rate(wins, [19] * 100, [10] * 100)


def test_the_fit_is_where_the_loss_is_flat() -> None:
    """Against the estimating equations, solved by another method: bisection in the intercept inside one in the slope."""
    rng = np.random.default_rng(3)
    x = rng.normal(0.3, 1, 80)
    y = (rng.random(80) < sigmoid(0.4 + 1.2 * x)).astype(float)

    def solve(function, low, high):
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if function(middle) < 0 else (low, middle)
        return middle

    def intercept(slope):
        return solve(lambda a: (sigmoid(a + slope * x) - y).sum() + 0.01 * a, -20, 20)

    slope = solve(lambda b: ((sigmoid(intercept(b) + b * x) - y) * x).sum() + 0.01 * b, -20, 20)
    assert rate_at_zero(y, x) == pytest.approx(float(sigmoid(intercept(slope))), abs=1e-6)


def test_the_fit_converges_where_labels_can_be_told_without_error() -> None:
    rng = np.random.default_rng(4)
    for n in (6, 40, 2000):
        x = np.tanh(rng.normal(0.5, 1, n))
        for border in (-0.9, 0.0, 0.5):
            y = (x > border).astype(float)
            assert (rate_at_zero(y, x) > 0.5) == (border < 0) or border == 0
            assert 0 < rate_at_zero(y, x) < 1


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"probabilities\[1\] is 1.2; a probability is in \[0, 1\]"):
        win_rate([0.1, 1.2])
    with pytest.raises(ValueError, match=r"probabilities\[0\] is -0.1"):
        length_controlled_win_rate([-0.1, 1], [1, 2], [2, 1])
    with pytest.raises(ValueError, match="abstained from all 2 pairs"):
        win_rate([None, math.nan])
    with pytest.raises(ValueError, match="abstained from all 1 pairs"):
        length_controlled_win_rate([None], [1], [1])
    with pytest.raises(ValueError, match="lengths 1: row 1 is missing"):
        length_controlled_win_rate([1, 0], [1], [1, 2])
    with pytest.raises(ValueError, match=r"reference_lengths\[1\] is -2"):
        length_controlled_win_rate([1, 0], [1, 2], [1, -2])
    with pytest.raises(ValueError, match=r"lengths\[0\] is nan"):
        length_controlled_win_rate([1, 0], [None, 2], [1, 2])
    with pytest.raises(ValueError, match="clusters 1"):
        length_controlled_win_rate([1, 0], [1, 2], [3, 1], clusters=["a"])
