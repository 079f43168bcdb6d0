"""Figures over time: bounded, right, and readable while they are written."""

import threading

import numpy as np
import pytest

from rlhf_ext.deployment.monitoring import Cell, Key, Series
from rlhf_ext.deployment.monitoring.series import Times

from .traffic import Clock


def test_quantiles_are_right_within_five_percent_and_add_up():
    seconds = np.random.default_rng(0).lognormal(0, 1.5, 5000)
    one, other = Times(), Times()
    for place, value in enumerate(seconds):
        (one if place % 3 else other).add(value)
    one.bins.update(other.bins)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert one.quantile(share) == pytest.approx(np.quantile(seconds, share, method="inverted_cdf"), rel=0.05)
    assert one.n == 5000 and len(one.bins) < 150
    assert Times().quantile(0.5) is None


def test_durations_of_nothing_and_of_ages_have_a_place():
    times = Times()
    for value in (0.0, -1.0, 1e-9, 1e6):
        times.add(value)
    assert times.quantile(0.5) == pytest.approx(1e-4, rel=0.06) and times.quantile(1.0) == pytest.approx(1e6, rel=0.06)


def request(cell):
    cell.requests += 1


def test_windows_hold_what_they_say_and_the_past_is_dropped():
    clock = Clock(1000.0)
    series = Series(step=10, seconds=100, clock=clock)
    for second in range(300):
        clock.now = 1000.0 + second
        series.update(Key("m", "a" if second % 2 else "b"), request)
    assert len(series._steps) <= 11
    assert series.total(50).requests == 50
    assert series.total(50, variant="a").requests == 25 and series.total(50, model="none").requests == 0
    assert {key.variant: cell.requests for key, cell in series.by_key(50).items()} == {"a": 25, "b": 25}
    assert series.total(10_000).requests <= 110


def test_shadows_are_not_users_traffic():
    series = Series(10, 100, Clock())
    series.update(Key("m", "a"), request)
    series.update(Key("m", "next", shadow=True), request)
    assert series.total(50).requests == 1 and len(series.by_key(50)) == 2


def test_parts_of_a_window_cover_it_once():
    clock = Clock(1000.0)
    series = Series(step=10, seconds=1000, clock=clock)
    for second in range(595):
        clock.now = 1000.0 + second
        series.update(Key("m"), request)
    parts = series.over_time(300, 10)
    counts = [cells[Key("m")].requests for _, _, cells in parts]
    assert len(parts) in (10, 11) and counts[1:-1] == [30] * (len(parts) - 2)
    assert [length for _, length, _ in parts[1:-1]] == [30.0] * (len(parts) - 2)
    agos = [ago for ago, _, _ in parts]
    assert agos == sorted(agos, reverse=True) and agos[-1] == 0.0
    # A rate is right in the part that has not ended as well.
    assert counts[-1] / parts[-1][1] == pytest.approx(1.0, rel=0.1)


def test_a_clock_that_is_set_back_changes_nothing_that_was_read():
    clock = Clock(1000.0)
    series = Series(10, 100, clock)
    series.update(Key("m"), request)
    clock.now = 900.0
    series.update(Key("m"), request)
    clock.now = 1005.0
    assert series.total(50).requests == 2


def test_reading_while_others_write_loses_nothing():
    series = Series(1, 100)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            series.by_key(50)
            series.over_time(50, 10)

    def count(cell: Cell):
        cell.errors[f"kind {cell.requests % 50}"] += 1
        cell.requests += 1

    reader = threading.Thread(target=read)
    reader.start()
    writers = [
        threading.Thread(target=lambda: [series.update(Key("m"), count) for _ in range(3000)]) for _ in range(2)
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    stop.set()
    reader.join()
    assert series.total(60).requests == series.total(60).errors.total() == 6000
