"""Normalisers and transforms: against numpy, and where floating point is at its worst."""

import math

import numpy as np
import pytest

from rlhf_ext.rewards.normalization import (
    BatchNormalizer,
    Clip,
    FixedNormalizer,
    LogSigmoid,
    Moments,
    RunningNormalizer,
    Sigmoid,
    make_normalizer,
    make_transform,
    reference_scores,
)

from .mixing_helpers import Length, SlowLength

NAN = math.nan


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1e9, 1e-1), (-3.0, 1e6)])
def test_moments_of_a_stream_are_those_of_the_whole(mean, std):
    values = np.random.default_rng(0).normal(mean, std, size=1000)
    moments = Moments()
    for part in np.split(values, [1, 2, 10, 300, 301, 301]):
        moments.update(part)
    assert moments.count == 1000
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.std == pytest.approx(values.std(), rel=1e-6)


def test_moments_leave_out_what_does_not_apply():
    moments = Moments()
    moments.update(np.array([NAN, 1.0, NAN, 3.0]))
    moments.update(np.array([NAN]))
    assert (moments.count, moments.mean, moments.std) == (2, 2.0, 1.0)


def test_the_batch_is_its_own_scale():
    found = BatchNormalizer()(np.array([1.0, NAN, 3.0]), True)
    assert found == pytest.approx([-1.0, NAN, 1.0], nan_ok=True)
    assert BatchNormalizer()(np.array([0.1 + 0.2, 0.3]), True) == pytest.approx([0.0, 0.0], abs=1e-6)


def test_running_statistics_are_those_of_everything_seen():
    normalize, seen = RunningNormalizer(), []
    for batch in ([1.0, 2.0], [6.0, NAN], [4.0, 4.0]):
        found = normalize(np.array(batch), True)
        seen += [x for x in batch if not math.isnan(x)]
        assert found == pytest.approx((np.array(batch) - np.mean(seen)) / np.std(seen), nan_ok=True)


def test_outside_training_running_statistics_stand_still():
    normalize = RunningNormalizer()
    batch = np.array([1.0, 3.0])
    assert normalize(batch, False) == pytest.approx([-1.0, 1.0])  # the batch's own, before there are any
    assert normalize.moments.count == 0
    normalize(batch + 4, True)
    assert normalize(batch, False) == pytest.approx([-5.0, -3.0])
    assert normalize.moments.count == 2


def test_the_state_is_all_of_it():
    one, other = RunningNormalizer(), RunningNormalizer()
    one(np.array([1.0, 2.0, 7.0]), True)
    other.load_state_dict(one.state_dict())
    batch = np.array([3.0, 9.0])
    assert one(batch, True).tolist() == other(batch, True).tolist()


def test_normalisers_by_name():
    assert make_normalizer(None) is None
    assert make_normalizer("running") is not make_normalizer("running")
    assert make_normalizer((1.0, 2.0))(np.array([5.0]), True).tolist() == [2.0]
    assert make_normalizer(np.tanh) is np.tanh


@pytest.mark.parametrize("choice", ["zscore", (1.0,), 3.0, "ab"])
def test_an_unknown_normaliser_is_refused(choice):
    with pytest.raises(ValueError, match="No normaliser"):
        make_normalizer(choice)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, -1.0), (NAN, 1.0), (0.0, math.inf)])
def test_a_reference_without_a_scale_is_refused(mean, std):
    with pytest.raises(ValueError, match="std above 0"):
        FixedNormalizer(mean, std)


def test_reference_scores_are_a_normaliser():
    rows = {"prompts": ["", "", ""], "completions": ["a", "abc", "abcde"]}
    found = reference_scores({"now": Length(), "later": SlowLength()}, **rows)
    assert found == {"now": (3.0, pytest.approx(math.sqrt(8 / 3))), "later": found["now"]}
    with pytest.raises(ValueError, match="'now' scores all reference rows alike"):
        reference_scores({"now": Length()}, prompts=["", ""], completions=["a", "b"])
    with pytest.raises(ValueError, match="'no' gives None for every reference row"):
        reference_scores({"no": lambda completions, **_: [None] * len(completions)}, **rows)


def test_transforms():
    scores = np.array([-800.0, -7.0, 0.0, 7.0, 800.0, NAN])
    assert make_transform("identity") is None
    assert make_transform("clip")(scores) == pytest.approx([-5, -5, 0, 5, 5, NAN], nan_ok=True)
    assert Clip(0.0, 1.0)(scores) == pytest.approx([0, 0, 0, 1, 1, NAN], nan_ok=True)
    with np.errstate(over="raise", invalid="raise"):
        logs, probabilities = make_transform("log-sigmoid")(scores), make_transform("sigmoid")(scores[1:])
    assert logs == pytest.approx([-800.0, -7.000911466, -math.log(2), -0.000911466, 0.0, NAN], nan_ok=True)
    assert probabilities == pytest.approx([0.000911051, 0.5, 0.999088949, 1.0, NAN], nan_ok=True, rel=1e-6)
    assert LogSigmoid(center=2.0)(np.array([2.0]))[0] == pytest.approx(-math.log(2))
    assert Sigmoid(center=2.0)(np.array([3.0]))[0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_the_sum_of_log_sigmoids_is_the_logarithm_of_the_product():
    scores = np.array([-1.0, 0.5, 2.0])
    assert LogSigmoid(0.3)(scores).sum() == pytest.approx(math.log(Sigmoid(0.3)(scores).prod()))


def test_mistakes_in_transforms_are_named():
    with pytest.raises(ValueError, match="No transform 'relu': give 'identity', 'clip'"):
        make_transform("relu")
    with pytest.raises(ValueError, match="`low` must be under `high`"):
        Clip(1.0, 1.0)
