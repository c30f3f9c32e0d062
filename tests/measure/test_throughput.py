from __future__ import annotations

import numpy as np
import pytest

from scalelab import Executable, InputError
from scalelab.measure.interleave import interleaved
from scalelab.measure.rates import batch_of, throughput


class Clock:
    """Time that passes only in calls."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call(self, seconds: object) -> object:
        """Returns a function that takes the next of `seconds`."""
        durations = iter(seconds)  # type: ignore[call-overload]

        def infer(batch: np.ndarray) -> np.ndarray:
            self.now += next(durations)
            return batch

        return infer


def steady(seconds: float, spread: float = 0.0, seed: int = 0) -> object:
    generator = np.random.default_rng(seed)
    while True:
        yield seconds * (1 + spread * generator.exponential())


def executable(infer: object, **fields: object) -> Executable:
    return Executable(infer=infer, seconds={}, model_bytes=None, threads=1, **fields)  # type: ignore[arg-type]


def test_throughput_one_call_after_another() -> None:
    clock = Clock()
    found = throughput(executable(clock.call(steady(0.01))), np.zeros((8, 2)), seconds=3.0, clock=clock)
    assert found.examples_per_second == pytest.approx(800)
    assert found.ci == pytest.approx((800, 800))
    assert (found.batch_size, found.several) == (8, False)
    assert clock.now == pytest.approx(3.5, abs=0.1)


def test_a_runtime_s_own_throughput_is_used() -> None:
    rates = iter([1.0, 100.0, 101.0, 102.0, 103.0, 104.0, 50.0])
    found = throughput(executable(None, throughput=lambda batch, seconds: next(rates)), np.zeros((2, 2)))
    assert found.several
    assert found.examples_per_second == 101.5  # the first window warms up and does not count
    assert found.ci == (50.0, 104.0)


def test_a_batch_begins_again_where_examples_end() -> None:
    batch = batch_of(np.arange(3).reshape(3, 1), 5)
    assert batch.dtype == np.float32
    assert batch[:, 0].tolist() == [0, 1, 2, 0, 1]
    for inputs, size in ((np.zeros((0, 1)), 1), (np.zeros((2, 1)), 0)):
        with pytest.raises(InputError, match="at least one example"):
            batch_of(inputs, size)


def test_models_are_timed_in_turns_until_the_intervals_are_narrow() -> None:
    clock = Clock()
    calls = {
        "fast": (executable(clock.call(steady(0.001, 0.01))), np.zeros((4, 1))),
        "slow": (executable(clock.call(steady(0.003, 0.01, seed=1))), np.zeros((4, 1))),
    }
    found = interleaved(calls, time_limit=60, clock=clock)
    assert all(entry.settled for entry in found.values())
    assert found["slow"].median / found["fast"].median == pytest.approx(3, rel=0.01)
    assert found["fast"].throughput == pytest.approx(4 / found["fast"].median)
    assert clock.now < 5


def test_a_slow_spell_widens_the_intervals_and_keeps_the_ranking() -> None:
    clock = Clock()

    def disturbed(seconds: float) -> object:
        while True:  # every other two seconds the machine is twice as slow
            yield seconds * (2 if int(clock.now / 2) % 2 else 1)

    seconds = {"a": 0.01, "b": 0.011}
    calls = {name: (executable(clock.call(disturbed(s))), np.zeros((1, 1))) for name, s in seconds.items()}
    found = interleaved(calls, time_limit=20, clock=clock)
    for name, quiet in (("a", 0.01), ("b", 0.011)):
        low, high = found[name].ci
        assert not found[name].settled
        assert high - low > 0.2 * quiet
        assert low <= 1.5 * quiet <= 1.2 * high
    assert clock.now == pytest.approx(40, rel=0.1)


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(InputError, match="something to time"):
        interleaved({})
