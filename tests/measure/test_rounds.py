"""Rounds of calls: what a disturbed machine does to the interval, on a clock of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.components import Executable
from scalelab.measure.rounds import combine, timed_calls
from scalelab.measure.timing import Timed


class Clock:
    """A clock that calls move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call(self, seconds: float):
        def infer(_batch):
            self.now += seconds

        return Executable(infer=infer, seconds={}, model_bytes=None, threads=1)


def whole(times):
    """Calls of a runtime without a clock of its own."""
    return [Timed(seconds, seconds) for seconds in times]


def test_a_slice_takes_its_time_and_times_every_call():
    clock = Clock()
    times = timed_calls(clock.call(0.01), np.zeros((1, 2)), 1.0, clock=clock)
    assert times == pytest.approx(np.full((len(times), 2), 0.01))
    assert clock.now == pytest.approx(1.0, abs=0.02)
    assert len(times) == pytest.approx(80, abs=2), "two windows of ten calls warm up"


def test_a_slow_model_is_called_often_enough_for_an_interval():
    clock = Clock()
    assert len(timed_calls(clock.call(10.0), np.zeros((1, 2)), 0.1, clock=clock)) == 6


def test_rounds_that_agree_give_the_interval_of_the_calls():
    rng = np.random.default_rng(0)
    rounds = [whole(rng.normal(1.0, 0.01, 200)) for _ in range(5)]
    found = combine(rounds, 4)
    assert found.median == pytest.approx(1.0, abs=0.003)
    assert found.settled
    assert found.ci[1] - found.ci[0] < 0.01
    assert found.throughput == pytest.approx(4 / found.median)
    assert found.n == 1000


def test_a_disturbed_round_widens_the_interval_and_hardly_moves_the_median():
    rng = np.random.default_rng(0)
    calm = [whole(rng.normal(1.0, 0.01, 200)) for _ in range(4)]
    slow = whole(rng.normal(2.0, 0.01, 200))
    found = combine([*calm, slow], 1)
    assert found.median == pytest.approx(1.0, abs=0.01)
    assert found.ci[1] > 1.3
    assert not found.settled


def test_the_interval_covers_where_rounds_differ():
    """Rounds that each have a level of their own, which the interval of pooled calls alone would miss."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        levels = np.exp(rng.normal(0.0, 0.1, 5))
        found = combine([whole(level * rng.lognormal(0.0, 0.01, 100)) for level in levels], 1)
        covered += found.ci[0] <= 1.0 <= found.ci[1]
    assert covered >= 180


def test_the_runtimes_clock_is_told_apart_from_the_call():
    found = combine([[Timed(1.0, 1.5)] * 10] * 3, 3)
    assert (found.median, found.ci, found.call) == (1.0, (1.0, 1.0), 1.5)
    assert found.throughput == pytest.approx(2.0)
