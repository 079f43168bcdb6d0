"""Coefficients of agreement against the worked examples of those who proposed them."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from rlhf_ext import stats
from rlhf_ext.stats import cohen_kappa, fleiss_kappa, krippendorff_alpha

NAN = math.nan

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part C: four observers, twelve units, gaps.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [list(unit) for unit in zip(*KRIPPENDORFF, strict=True)]

# Fleiss (1971), table 1: 30 subjects, each diagnosed by 6 psychiatrists; counts of 5 diagnoses.
# fmt: off
FLEISS = [
    [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0],
    [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0],
    [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0],
    [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
    [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
]
# fmt: on

# Cohen (1960), the example with N = 200: rows are one judge's categories, columns the other's.
COHEN = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]


def labels(table: list[list[int]]) -> tuple[list[int], list[int]]:
    pairs = [(row, column) for row in range(3) for column in range(3) for _ in range(table[row][column])]
    return [a for a, _ in pairs], [b for _, b in pairs]


def test_cohens_example() -> None:
    estimate = cohen_kappa(*labels(COHEN))
    assert estimate.value == pytest.approx(0.29 / 0.59)  # 0.70 observed, 0.41 by chance
    assert round(estimate.value, 3) == 0.492
    assert estimate.n == 200
    # Cohen's standard error for large samples: sqrt(p(1 - p) / N) / (1 - chance).
    assert (estimate.high - estimate.low) / 3.92 == pytest.approx(math.sqrt(0.7 * 0.3 / 200) / 0.59, rel=0.15)


def test_weighted_kappa_by_hand() -> None:
    """Observed distance: (14 + 10 + 10 + 6) 1 + (18 + 2) 2 = 80 of 200; by chance, from the margins 120, 60, 20 and
    100, 60, 40: 0.6 (0.3 + 0.2 * 2) + 0.3 (0.5 + 0.2) + 0.1 (0.5 * 2 + 0.3) = 0.76."""
    assert cohen_kappa(*labels(COHEN), weights="linear").value == pytest.approx(1 - 0.4 / 0.76)
    # Squared: (40 + 20 * 4) / 200 = 0.6, and 0.6 (0.3 + 0.8) + 0.3 (0.7) + 0.1 (2 + 0.3) = 1.1.
    assert cohen_kappa(*labels(COHEN), weights="quadratic").value == pytest.approx(1 - 0.6 / 1.1)


def test_quadratic_kappa_is_lins_concordance() -> None:
    """Fleiss and Cohen (1973): it is an intraclass correlation; exactly, 1 - E(a - b)^2 / (var a + var b + (mean a - mean b)^2)."""
    rng = np.random.default_rng(0)
    a = rng.integers(1, 11, size=80)
    b = np.clip(a + rng.integers(-2, 4, size=80), 1, 10)
    expected = 1 - ((a - b) ** 2).mean() / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert cohen_kappa(a, b, weights="quadratic").value == pytest.approx(expected)


def test_distances_are_the_labels_own_not_their_places() -> None:
    a, b = [1, 2, 10, 1, 2, 10], [1, 10, 10, 1, 2, 2]
    assert cohen_kappa(a, b, weights="linear").value != pytest.approx(
        cohen_kappa([1, 2, 3, 1, 2, 3], [1, 3, 3, 1, 2, 2], weights="linear").value
    )


def test_items_that_one_left_out_are_left_out() -> None:
    estimate = cohen_kappa(["x", None, "y", "y", "x"], ["x", "x", "y", NAN, "y"])
    assert estimate.n == 3
    assert estimate.value == cohen_kappa(["x", "y", "x"], ["x", "y", "y"]).value


def test_kappa_is_one_for_the_same_and_below_zero_for_the_opposite() -> None:
    assert cohen_kappa("abab", "abab").value == 1
    assert cohen_kappa("abab", "baba").value == -1


def test_fleisss_example() -> None:
    estimate = fleiss_kappa(counts=FLEISS)
    assert np.sum(FLEISS, axis=0).tolist() == [26, 26, 30, 55, 43]
    assert round(estimate.value, 3) == 0.430
    assert estimate.n == 30
    assert estimate.low > 0.25 and estimate.high < 0.6


def test_ratings_and_counts_say_the_same() -> None:
    rng = np.random.default_rng(1)
    ratings = [[d for d, count in enumerate(row) for _ in range(count)] for row in FLEISS]
    shuffled = [rng.permutation(row).tolist() for row in ratings]
    from_ratings, from_counts = fleiss_kappa(shuffled), fleiss_kappa(counts=FLEISS)
    assert from_ratings.value == pytest.approx(from_counts.value)
    assert (from_ratings.low, from_ratings.high) == pytest.approx((from_counts.low, from_counts.high))


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_example(level: str, alpha: float) -> None:
    estimate = krippendorff_alpha(UNITS, level=level)
    assert round(estimate.value, 3) == alpha
    assert estimate.n == 11  # the last unit has one label


def test_arrays_with_nan_are_as_lists_with_none() -> None:
    array = np.array([[NAN if label is None else label for label in unit] for unit in UNITS])
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(array, level=level) == krippendorff_alpha(UNITS, level=level)


def ordinal_by_definition(rows: list[list[float]]) -> float:
    """Krippendorff's own formula: the squared number of labels between two, the ends counted half."""
    values = sorted({label for row in rows for label in row})
    counts = np.array([[row.count(value) for value in values] for row in rows], dtype=float)
    total = counts.sum(axis=0)
    size = len(values)
    apart = np.zeros((size, size))
    for c in range(size):
        for k in range(c, size):
            apart[c, k] = apart[k, c] = (total[c : k + 1].sum() - (total[c] + total[k]) / 2) ** 2
    coincidences = sum((np.outer(row, row) - np.diag(row)) / (row.sum() - 1) for row in counts)
    n = total.sum()
    return 1 - (n - 1) * (coincidences * apart).sum() / (np.outer(total, total) * apart).sum()


def test_the_ordinal_level_is_its_definition() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(1, 7, size=(40, 1))
    rows = np.clip(truth + rng.integers(-1, 3, size=(40, 3)), 1, 7).tolist()
    assert krippendorff_alpha(rows, level="ordinal").value == pytest.approx(ordinal_by_definition(rows))


def test_levels_keep_what_they_promise() -> None:
    named = [[None if label is None else "abcde"[label - 1] for label in unit] for unit in UNITS]
    assert krippendorff_alpha(named).value == krippendorff_alpha(UNITS).value
    stretched = [[None if label is None else label**3 for label in unit] for unit in UNITS]
    ordinal = krippendorff_alpha(UNITS, level="ordinal").value
    assert krippendorff_alpha(stretched, level="ordinal").value == pytest.approx(ordinal)
    moved = [[None if label is None else 1e6 + 10 * label for label in unit] for unit in UNITS]
    interval = krippendorff_alpha(UNITS, level="interval").value
    assert krippendorff_alpha(moved, level="interval").value == pytest.approx(interval)


def test_alpha_of_random_labels_is_zero_and_its_interval_holds_it() -> None:
    held = 0
    for seed in range(60):
        ratings = np.random.default_rng(seed).integers(0, 3, size=(60, 3))
        estimate = krippendorff_alpha(ratings, resamples=300)
        held += estimate.low <= 0 <= estimate.high
    assert 51 <= held <= 60


def test_intervals_are_of_the_seed() -> None:
    assert fleiss_kappa(counts=FLEISS, seed=1) == fleiss_kappa(counts=FLEISS, seed=1)
    assert fleiss_kappa(counts=FLEISS, seed=1) != fleiss_kappa(counts=FLEISS, seed=2)


def test_one_label_for_all_is_no_agreement_that_can_be_measured() -> None:
    with pytest.raises(ValueError, match="both gave the label 'x' to all 3 items"):
        cohen_kappa(["x"] * 3, ["x"] * 3)
    with pytest.raises(ValueError, match="one and the same label"):
        fleiss_kappa([["x", "x"]] * 3)
    for level in ("nominal", "interval"):
        with pytest.raises(ValueError, match="every label of 2 items is 4"):
            krippendorff_alpha([[4, 4], [4, 4], [None, 5]], level=level)


def test_a_label_that_hardly_varies_has_no_interval() -> None:
    rare = [["x", "x"]] * 30 + [["x", "y"]]  # a third of the resamples have one label alone
    assert math.isinf(fleiss_kappa(rare).high)
    assert math.isinf(krippendorff_alpha(rare).high)
    assert math.isinf(krippendorff_alpha([[int(label == "y") for label in row] for row in rare], "interval").high)
    assert math.isinf(cohen_kappa([a for a, _ in rare], [b for _, b in rare]).high)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="item 1 is missing"):
        cohen_kappa([1, 2], [1])
    with pytest.raises(ValueError, match="none of the 2 items has a label from both"):
        cohen_kappa([1, None], [None, 2])
    with pytest.raises(ValueError, match="the label 'a' is no finite number, which linear weights needs"):
        cohen_kappa(["a", "b"], ["a", "b"], weights="linear")
    with pytest.raises(ValueError, match="weights must be"):
        cohen_kappa([1, 2], [1, 2], weights="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="either"):
        fleiss_kappa()
    with pytest.raises(ValueError, match="either"):
        fleiss_kappa([[1, 2]], counts=[[1, 1]])
    with pytest.raises(ValueError, match="item 1 has 1 labels and item 0 has 2"):
        fleiss_kappa([[1, 2], [1, None]])
    with pytest.raises(ValueError, match="item 0 has 1 labels"):
        fleiss_kappa([[1], [2]])
    with pytest.raises(ValueError, match=r"counts\[1\]\[0\] is -1"):
        fleiss_kappa(counts=[[1, 1], [-1, 3]])
    with pytest.raises(ValueError, match="item 1 has 3 labels and item 0 has 2"):
        krippendorff_alpha([[1, 2], [1, 2, 3]])
    with pytest.raises(ValueError, match="none of the 2 items has two labels"):
        krippendorff_alpha([[1, None], [None, 2]])
    with pytest.raises(ValueError, match="the label 'a' is no finite number, which the ordinal level needs"):
        krippendorff_alpha([["a", "b"], ["b", "b"]], level="ordinal")
    with pytest.raises(ValueError, match="level must be"):
        krippendorff_alpha([[1, 2]], level="ratio")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        krippendorff_alpha([])


@pytest.mark.parametrize("name", [name for name in stats.__all__ if callable(getattr(stats, name))])
def test_the_examples_run(name: str) -> None:
    text = (getattr(stats, name).__doc__ or "").replace("```python", "").replace("```", "")
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0
