"""Intervals against closed forms, published values and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rlhf_ext.stats import (
    Estimate,
    average_ranks,
    bootstrap,
    bootstrap_mean,
    paired_difference,
    rule_of_three,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert estimate.value == successes / n
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert estimate.n == n


def test_wilson_at_zero_has_the_closed_form() -> None:
    z2 = 1.959963984540054**2
    assert wilson(0, 10).high == pytest.approx(z2 / (10 + z2))
    assert wilson(0, 10).low == 0.0


def test_wilson_is_symmetric_and_stays_in_the_unit_interval() -> None:
    few, many = wilson(3, 40), wilson(37, 40)
    assert (few.low, few.high) == pytest.approx((1 - many.high, 1 - many.low))
    assert wilson(40, 40).high == 1.0


def test_wilson_widens_with_confidence() -> None:
    sure, surer = wilson(5, 20, confidence=0.9), wilson(5, 20, confidence=0.99)
    assert surer.low < sure.low < sure.high < surer.high
    assert surer.confidence == 0.99


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        wilson(successes, n)


def test_wilson_refuses_a_rate_in_place_of_a_count() -> None:
    with pytest.raises(TypeError):
        wilson(0.5, 10)  # type: ignore[arg-type]


def test_rule_of_three_is_near_the_exact_bound() -> None:
    assert rule_of_three(300) == pytest.approx(0.01)
    assert rule_of_three(300) == pytest.approx(1 - 0.05 ** (1 / 300), rel=0.01)
    assert rule_of_three(2) == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        rule_of_three(0)


def test_bootstrap_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_bootstrap_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(7)
    runs = 600
    estimates = [bootstrap_mean(rng.exponential(1.0, size=80), resamples=600, seed=run) for run in range(runs)]
    covered = sum(e.low <= 1.0 <= e.high for e in estimates)
    # Skewed data cost the percentile bootstrap one or two points at this size; three standard errors are 2.7.
    assert 0.91 < covered / runs < 0.97


def test_bootstrap_is_deterministic_by_seed() -> None:
    values = [0.1, 0.9, 0.4, 0.7, 0.2, 0.3]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3, resamples=50) != bootstrap_mean(values, seed=4, resamples=50)


def test_bootstrap_in_blocks_gives_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=30)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("rlhf_ext.stats.bootstraps._BLOCK", 700)
    blocks = bootstrap_mean(values)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.03)


def test_rows_without_a_score_are_left_out_not_zero() -> None:
    assert bootstrap_mean([None, 0.5, math.nan, 0.7]).value == pytest.approx(0.6)
    estimate = paired_difference([0.0, None, 0.2, 0.3], [1.0, 5.0, math.nan, 1.3])
    assert estimate.value == pytest.approx(1.0)
    assert estimate.n == 2


def test_one_row_says_nothing_about_spread() -> None:
    for estimate in (bootstrap_mean([0.4]), paired_difference([0, 0], [1, 1], clusters=["a", "a"])):
        assert (estimate.low, estimate.high) == (-math.inf, math.inf)
        assert not estimate.excludes_zero


def test_constant_difference_has_a_point_interval() -> None:
    estimate = paired_difference([1, 2, 3], [3, 4, 5])
    assert (estimate.value, estimate.low, estimate.high) == (2.0, 2.0, 2.0)


def test_rounding_alone_does_not_exclude_zero() -> None:
    estimate = paired_difference([0.3, 0.3], [0.1 + 0.2, 0.1 + 0.2])
    assert estimate.low == estimate.high == pytest.approx(5.6e-17, abs=1e-17) or not estimate.excludes_zero
    balanced = bootstrap_mean([0.1, 0.2, -0.3], resamples=20_000, confidence=0.05)
    assert not balanced.excludes_zero


def test_paired_is_tighter_than_unpaired_for_correlated_scores() -> None:
    rng = np.random.default_rng(2)
    hardness = rng.normal(0, 5, size=200)
    before, after = hardness + rng.normal(0, 1, 200), hardness + 0.5 + rng.normal(0, 1, 200)
    paired = paired_difference(before, after)
    unpaired = math.hypot(*(e.high - e.low for e in (bootstrap_mean(before), bootstrap_mean(after))))
    assert paired.high - paired.low < unpaired / 3
    assert paired.excludes_zero


def test_clusters_widen_the_interval_by_what_their_rows_share() -> None:
    rng = np.random.default_rng(3)
    after = np.repeat(rng.normal(0, 1, size=50), 8)  # eight rows that say the same: 50 independent ones, not 400
    prompts = [f"prompt {i // 8}" for i in range(400)]
    alone = paired_difference(np.zeros(400), after)
    together = paired_difference(np.zeros(400), after, clusters=prompts)
    assert together.value == alone.value
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(8), rel=0.1)


def test_clusters_of_unequal_size_keep_the_mean_over_rows() -> None:
    estimate = paired_difference([0, 0, 0, 0], [1, 1, 1, 5], clusters=["a", "a", "a", 7])
    assert estimate.value == 2.0
    assert (estimate.low, estimate.high) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([1, 2], [1, 2, 3], "row 2"),
        ([], [], "before is empty"),
        ([1, math.inf], [1, 2], r"before\[1\]"),
        ([1, 2], [-math.inf, 2], r"after\[0\]"),
        ([None, 1], [1, math.nan], "all 2 pairs"),
    ],
)
def test_paired_difference_names_the_bad_row(before: list[float], after: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(before, after)


def test_clusters_are_checked() -> None:
    with pytest.raises(ValueError, match="row 1"):
        paired_difference([1, 2], [2, 3], clusters=["a"])
    with pytest.raises(ValueError, match=r"clusters\[1\]"):
        paired_difference([1, 2], [2, 3], clusters=["a", None])


def test_bootstrap_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="all 2 rows"):
        bootstrap_mean([None, math.nan])
    with pytest.raises(ValueError, match=r"values\[1\]"):
        bootstrap_mean([0, math.inf])
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_mean([0, 1], resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean([0, 1], confidence=95)


def test_estimate_prints_the_decimals_it_knows() -> None:
    assert str(Estimate(0.42, 0.31, 0.54, 70)) == "0.42 [0.31, 0.54]"
    assert str(Estimate(123.4, 110.2, 135.1, 9)) == "123 [110, 135]"
    assert str(Estimate(-0.0001, -0.31, 0.54, 9)) == "0.00 [-0.31, 0.54]"
    # An interval that excludes 0 does not seem to touch it.
    assert str(Estimate(0.15, 0.004, 0.3, 9)) == "0.150 [0.004, 0.300]"


def test_estimate_goes_through_json() -> None:
    for estimate in (wilson(3, 10, confidence=0.9), bootstrap_mean([1.0])):
        text = json.dumps(estimate.to_dict(), allow_nan=False)
        assert Estimate.from_dict(json.loads(text)) == estimate


@pytest.mark.parametrize(
    "fields", [(math.nan, 0, 1, 1), (0, 1, 0, 1), (0, math.nan, 1, 1), (0, 0, 1, 0), (0, 0, 1, 1, 1.0)]
)
def test_estimate_refuses_nonsense(fields: tuple[float, float, float, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Estimate(*fields)


def test_bootstrap_of_the_mean_agrees_with_bootstrap_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 80)
    one, other = bootstrap(np.mean, values, resamples=4000), bootstrap_mean(values)
    assert one.value == pytest.approx(other.value)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.05)
    assert one.n == 80


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else math.nan


def test_bootstrap_keeps_rows_together_and_holds_its_level() -> None:
    """Pairs drawn with a correlation of 0.6: about 95 of 100 intervals hold it."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        estimate = bootstrap(correlation, x, y, resamples=300)
        held += estimate.low <= 0.6 <= estimate.high
    assert 87 <= held <= 99


def test_bootstrap_by_clusters_agrees_with_paired_difference() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate([np.full(size, rng.normal()) for size in (1, 9, 4, 2, 12, 7, 3, 5) * 5])
    clusters = [f"prompt {value}" for value in values]
    one = bootstrap(np.mean, values, clusters=clusters, resamples=4000)
    other = paired_difference(np.zeros(len(values)), values, clusters)
    assert one.value == pytest.approx(other.value)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.05)
    assert math.isinf(bootstrap(np.mean, [1.0, 2.0], clusters=["a", "a"]).high)
    with pytest.raises(ValueError, match=r"clusters\[1\] is None"):
        bootstrap(np.mean, [1.0, 2.0], clusters=["a", None])
    with pytest.raises(ValueError, match="row 1"):
        bootstrap(np.mean, [1.0, 2.0], clusters=["a"])


def test_a_pivotal_interval_is_the_other_one_reflected() -> None:
    values = np.random.default_rng(1).exponential(size=50)
    plain, pivotal = bootstrap(np.mean, values), bootstrap(np.mean, values, pivotal=True)
    assert pivotal.low == pytest.approx(2 * plain.value - plain.high)
    assert pivotal.high == pytest.approx(2 * plain.value - plain.low)
    # The size of a mean is never negative, so chance drives it up; the reflected interval reaches down to where it is.
    noise = np.random.default_rng(2).normal(size=(40, 20))
    size = lambda rows: float(np.abs(rows.mean(axis=0)).mean())  # noqa: E731
    assert bootstrap(size, noise, pivotal=True).low < bootstrap(size, noise).value < bootstrap(size, noise).high


def test_bootstrap_says_so_where_the_data_cannot() -> None:
    rare = [0.0] * 9 + [1.0]  # in a third of the resamples constant
    estimate = bootstrap(correlation, rare, rare)
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(1), -math.inf, math.inf)
    assert math.isinf(bootstrap(np.mean, [2.0]).high)


def test_bootstrap_refuses_what_it_has_no_value_for() -> None:
    with pytest.raises(ValueError, match="no rows"):
        bootstrap(np.mean, [])
    with pytest.raises(ValueError, match="no rows"):
        bootstrap(np.mean)
    with pytest.raises(ValueError, match="column 1"):
        bootstrap(correlation, [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="of all 2 rows is nan"):
        bootstrap(correlation, [1, 1], [1, 2])
    with pytest.raises(ValueError, match="resamples"):
        bootstrap(np.mean, [1, 2], resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap(np.mean, [1, 2], confidence=95)


def test_ties_share_their_mean_rank() -> None:
    assert average_ranks([10, -5, 10, 3, 10]).tolist() == [4, 1, 4, 2, 4]
    assert average_ranks([0.5]).tolist() == [1]


def test_a_change_that_is_the_same_in_every_row_has_an_interval_without_width() -> None:
    before = np.random.default_rng(0).normal(size=50)
    estimate = paired_difference(before, before + 0.89)
    assert estimate.low == estimate.value == estimate.high
    assert str(estimate) == "0.89 [0.89, 0.89]"
