from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from scalelab.components import Executable
from scalelab.errors import InputError
from scalelab.measure.timing import latency, median_interval


class Clock:
    """Time that passes only in calls, each of a given duration."""

    def __init__(self, durations: object) -> None:
        self.now, self.calls = 0.0, 0
        self._durations = iter(durations)  # type: ignore[call-overload]
        self.model = Executable(infer=self.infer, seconds={}, model_bytes=None, threads=1)

    def __call__(self) -> float:
        return self.now

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.now += next(self._durations)
        self.calls += 1
        return batch


def steady(seed: int, spread: float, base: float = 0.001) -> object:
    generator = np.random.default_rng(seed)
    while True:
        yield base * (1 + spread * generator.exponential())


def test_warm_up_is_left_out_and_quantiles_are_right() -> None:
    slow = [0.01 * 0.9**i for i in range(20)]
    rest = np.random.default_rng(0).permutation(np.tile(np.linspace(0.00100, 0.00102, 101), 50))
    clock = Clock([*slow, *[0.001] * 20, *rest])
    timed = latency(clock.model, np.zeros((8, 2, 4)), warmup_limit=60, clock=clock)
    assert timed.n_warmup == 40
    assert timed.warm
    assert timed.settled
    assert timed.median == pytest.approx(0.00101, rel=0.005)
    assert timed.p99 <= 0.00102 + 1e-9
    assert timed.ci[0] <= timed.median <= timed.ci[1]
    assert timed.throughput == pytest.approx(8 / timed.median)
    assert timed.n == clock.calls - timed.n_warmup


def test_a_noisy_runtime_is_called_until_the_interval_is_narrow() -> None:
    quiet, noisy = Clock(steady(0, 0.02)), Clock(steady(0, 1.0))
    few = latency(quiet.model, np.zeros((1, 4)), clock=quiet)
    many = latency(noisy.model, np.zeros((1, 4)), clock=noisy, warmup_limit=0.1)
    assert few.n == 30
    assert many.n > 300
    for timed in (few, many):
        assert timed.settled
        assert timed.ci[1] - timed.ci[0] <= 2 * 0.02 * timed.median


def test_the_time_limits_hold_and_are_told() -> None:
    clock = Clock(steady(1, 50.0, base=0.01))
    timed = latency(clock.model, np.zeros((1, 4)), clock=clock, time_limit=20, warmup_limit=5)
    assert not timed.settled
    assert not timed.warm
    assert clock.now < 5 + 20 + 10
    slow = Clock(steady(1, 0.0, base=30.0))
    assert latency(slow.model, np.zeros((1, 4)), clock=slow).n == 6


def test_the_clock_of_the_runtime_counts_where_it_has_one() -> None:
    clock = Clock(steady(0, 0.0, base=0.003))
    model = dataclasses.replace(clock.model, own_seconds=lambda: 0.002)
    timed = latency(model, np.zeros((6, 4)), clock=clock)
    assert timed.median == 0.002
    assert timed.ci == (0.002, 0.002)
    assert timed.call == pytest.approx(0.003)
    assert timed.throughput == pytest.approx(6 / 0.003)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_the_interval_holds_the_median_in_order(values: list[float]) -> None:
    low, high = median_interval(np.array(values))
    assert min(values) <= low <= np.median(values) <= high <= max(values)


@pytest.mark.parametrize("n", [6, 10, 31, 100, 1001])
def test_the_interval_is_the_narrowest_with_the_confidence(n: int) -> None:
    low, _ = median_interval(np.arange(1, n + 1))
    confidence = 1 - 2 * binom.cdf(low - 1, n, 0.5)
    narrower = 1 - 2 * binom.cdf(low, n, 0.5)
    assert confidence >= 0.95 > narrower


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    draws = generator.lognormal(size=(2000, 40))
    intervals = [median_interval(row) for row in draws]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.945 <= covered <= 0.985


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        latency(Clock([]).model, np.zeros((0, 4)))
