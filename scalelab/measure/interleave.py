"""Several loaded models timed side by side, in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from scalelab.components import Executable
from scalelab.errors import InputError
from scalelab.measure.rounds import combine, timed_calls
from scalelab.measure.timing import Latency, Timed

if TYPE_CHECKING:
    import numpy as np

FEWEST_ROUNDS = 3
"""Rounds before the first look at the intervals: fewer do not show how rounds differ."""


def interleaved(
    loaded: Mapping[str, tuple[Executable, np.ndarray]],
    *,
    precision: float = 0.02,
    time_limit: float = 10.0,
    slice_seconds: float = 0.5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Times models in turns, so that a slow spell of the machine meets all of them.

    Each round times every model for a slice, in a new random order, until every interval is as narrow as
    asked or the time is up. The differences between rounds are part of the intervals: what disturbs the
    machine makes them wide, it does not change the ranking.

    Args:
        loaded: By name, a model and the batch it is called with.
        precision: Half-width of the interval, relative to the median, that is enough.
        time_limit: Seconds per model, warm-up included.
        slice_seconds: Seconds per model in each round.
        seed: Of the order.
        clock: A clock in seconds; for tests.

    Raises:
        InputError: There is nothing to time, or `precision` or a time is not positive.
    """
    if not loaded or min(precision, time_limit, slice_seconds) <= 0:
        raise InputError("interleaved needs something to time, and a positive precision and times")
    order, generator = list(loaded), random.Random(seed)
    rounds: dict[str, list[list[Timed]]] = {name: [] for name in loaded}
    results: dict[str, Latency] = {}
    began = clock()
    while True:
        generator.shuffle(order)
        for name in order:
            executable, batch = loaded[name]
            rounds[name].append(timed_calls(executable, batch, slice_seconds, clock=clock))
        n_rounds = len(rounds[order[0]])
        if n_rounds < FEWEST_ROUNDS:
            continue
        results = {name: combine(rounds[name], len(loaded[name][1]), precision) for name in loaded}
        if all(result.settled for result in results.values()):
            return results
        if clock() - began + len(loaded) * slice_seconds > time_limit * len(loaded):
            return results
