"""How long a model takes to answer: a protocol that stops when the answer is known, not after a fixed count.

Latencies are skewed and have outliers (another process, a clock change), so the median and quantiles are
reported, never a mean, and the interval of the median assumes no distribution. It does assume independent
calls; slow drifts of the machine's speed are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scalelab.components import Executable
from scalelab.errors import InputError

if TYPE_CHECKING:
    import numpy as np

WINDOW = 10
"""Calls in a warm-up window; two windows in a row whose medians agree end the warm-up."""

LEAST_CALLS = 30
"""Calls timed before the first look at the interval."""

FEWEST_CALLS = 6
"""Calls timed even where the time is up: fewer have no 95% interval of the median."""


class Timed(NamedTuple):
    """Seconds that one call took.

    Attributes:
        inference: By the runtime's own clock where it has one (`scalelab.Executable.own_seconds`); else as
            `call`.
        call: From the call in Python until its outputs are there.
    """

    inference: float
    call: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time of one inference on one batch, in seconds.

    Attributes:
        median: The median, by the runtime's own clock where it has one.
        ci: The 95% confidence interval of the median.
        p90: The 90th percentile.
        p99: The 99th percentile.
        call: Median of the whole call from Python; the median above where the runtime has no clock.
        throughput: Examples per second, one such call after another.
        batch_size: Examples per call.
        n: Calls timed.
        n_warmup: Calls before that, not counted.
        warm: Whether the warm-up ended because latencies had settled, not because its time was up.
        settled: Whether the interval became as narrow as asked, before the time was up.
    """

    median: float
    ci: tuple[float, float]
    p90: float
    p99: float
    call: float
    throughput: float
    batch_size: int
    n: int
    n_warmup: int
    warm: bool
    settled: bool

    @classmethod
    def of(
        cls,
        timed: Sequence[Timed],
        ci: tuple[float, float],
        batch_size: int,
        *,
        settled: bool,
        n_warmup: int = 0,
        warm: bool = True,
    ) -> Latency:
        """Returns what calls say, with an interval of their median that was found elsewhere."""
        import numpy as np

        values, calls = np.asarray(timed, dtype=float).T
        call = float(np.median(calls))
        return cls(
            median=float(np.median(values)),
            ci=ci,
            p90=float(np.quantile(values, 0.9)),
            p99=float(np.quantile(values, 0.99)),
            call=call,
            throughput=batch_size / call,
            batch_size=batch_size,
            n=len(values),
            n_warmup=n_warmup,
            warm=warm,
            settled=settled,
        )


def latency(
    executable: Executable,
    example: np.ndarray,
    *,
    precision: float = 0.02,
    time_limit: float = 10.0,
    warmup_limit: float = 3.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Times a loaded model on one batch.

    Warms up until the medians of two windows in a row agree to within `precision`, then times single
    calls until the 95% confidence interval of the median lies within ±`precision` of the median, looking
    at ever longer intervals so that looking costs nothing.

    Args:
        executable: Loaded for inputs of the batch's shape.
        example: The batch, (batch, *input_shape).
        precision: Half-width of the interval, relative to the median.
        time_limit: Seconds after which to stop timing all the same, once `FEWEST_CALLS` calls were timed.
        warmup_limit: Seconds after which to stop warming up.
        clock: A clock in seconds; for tests.

    Raises:
        InputError: The batch is empty, or `precision` is not positive.
    """
    import numpy as np

    if len(example) == 0 or precision <= 0:
        raise InputError(
            f"latency needs a batch of at least one and precision > 0, not {len(example)}, {precision}"
        )

    timed = stopwatch(executable, example, clock)
    n_warmup, warm = warm_up(timed, precision, warmup_limit, clock)
    times: list[Timed] = []
    began, settled, look_at = clock(), False, LEAST_CALLS
    while not settled and (len(times) < FEWEST_CALLS or clock() - began < time_limit):
        times.append(timed())
        if len(times) >= look_at:
            inferences = np.array(times)[:, 0]
            settled = narrow(median_interval(inferences), float(np.median(inferences)), precision)
            look_at = int(1.2 * len(times)) + 1
    ci = median_interval(np.array(times)[:, 0])
    return Latency.of(times, ci, len(example), settled=settled, n_warmup=n_warmup, warm=warm)


def narrow(ci: tuple[float, float], median: float, precision: float) -> bool:
    """Tells whether an interval of a median lies within ±`precision` of it."""
    return max(ci[1] - median, median - ci[0]) <= precision * median


def stopwatch(executable: Executable, example: np.ndarray, clock: Callable[[], float]) -> Callable[[], Timed]:
    """Returns a function that calls a model once and tells how long that took."""
    infer, own_seconds = executable.infer, executable.own_seconds

    def timed() -> Timed:
        start = clock()
        infer(example)
        call = clock() - start
        return Timed(call if own_seconds is None else own_seconds(), call)

    return timed


def warm_up(
    timed: Callable[[], Timed], precision: float, limit: float, clock: Callable[[], float]
) -> tuple[int, bool]:
    """Calls until latencies have settled or `limit` seconds are over.

    Returns the calls made and whether they settled: the medians of two windows in a row agree to within
    `precision`.
    """
    from statistics import median

    began, previous, calls = clock(), float("inf"), 0
    while True:
        window: list[float] = []
        while len(window) < WINDOW:
            window.append(timed().inference)
            calls += 1
            if clock() - began >= limit:
                return calls, False
        middle = median(window)
        if abs(middle - previous) <= precision * middle:
            return calls, True
        previous = middle


def median_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the distribution-free confidence interval of the median, from order statistics.

    The j-th and (n + 1 − j)-th smallest values enclose the median with probability 1 − 2·P(B < j), where B
    is binomial(n, 1/2); j is the largest with at least `confidence` (David & Nagaraja 2003, "Order
    Statistics", section 7.1). With fewer than six values the interval is their range, and the confidence is
    lower.
    """
    from scipy.stats import binom

    ordered = sorted(values.tolist())
    n = len(ordered)
    j = max(1, int(binom.ppf((1 - confidence) / 2, n, 0.5)))
    return ordered[j - 1], ordered[n - j]
