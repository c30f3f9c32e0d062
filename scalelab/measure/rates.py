"""How many examples per second a model answers, at several batch sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.components import Executable
from scalelab.errors import InputError
from scalelab.measure.timing import median_interval

if TYPE_CHECKING:
    import numpy as np

WINDOWS = 6
"""Windows of time: the fewest whose median has a 95% interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Examples per second at one batch size.

    Attributes:
        batch_size: Examples per call.
        examples_per_second: Median over windows of time.
        ci: The 95% confidence interval of the median.
        several: Whether several calls were on their way at once; else one followed the other.
    """

    batch_size: int
    examples_per_second: float
    ci: tuple[float, float]
    several: bool


def throughput(
    executable: Executable,
    batch: np.ndarray,
    *,
    seconds: float = 3.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Measures the throughput of a loaded model, by its runtime's own means where it has some.

    Args:
        executable: Loaded for inputs of the batch's shape.
        batch: (batch, *input_shape), float32.
        seconds: How long to measure; a first, uncounted window is added.
        clock: A clock in seconds; for tests.
    """
    import numpy as np

    window = seconds / WINDOWS
    measure = executable.throughput or _one_after_another(executable, clock)
    measure(batch, window)
    rates = np.array([measure(batch, window) for _ in range(WINDOWS)])
    return Throughput(
        batch_size=len(batch),
        examples_per_second=float(np.median(rates)),
        ci=median_interval(rates),
        several=executable.throughput is not None,
    )


def batch_of(inputs: np.ndarray, size: int) -> np.ndarray:
    """Returns `size` examples as one float32 batch, from the first again where there are fewer.

    Raises:
        InputError: `size` is below 1, or there are no inputs.
    """
    import numpy as np

    if size < 1 or not len(inputs):
        raise InputError(f"a batch needs at least one example, not {size} of {len(inputs)}")
    return np.ascontiguousarray(np.resize(inputs[:size], (size, *inputs.shape[1:])), dtype=np.float32)


def _one_after_another(
    executable: Executable, clock: Callable[[], float]
) -> Callable[[np.ndarray, float], float]:
    def measure(batch: np.ndarray, seconds: float) -> float:
        n, start = 0, clock()
        while True:
            executable.infer(batch)
            n += 1
            elapsed = clock() - start
            if elapsed >= seconds:
                return n * len(batch) / elapsed

    return measure
