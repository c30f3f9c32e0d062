"""How many CPU threads a process gets, and how many of them a training step is worth.

Two threads of one step meet at the end of every kernel. Where kernels are short this costs more than it
gains, and on a busy machine, where one of the two has to wait for a core, many times as much.
"""

from __future__ import annotations

import os

from scalelab.errors import InputError

STEP_FLOPS = 5e9
"""FLOPs of a step, forward and backward, that each of several threads must have.

Below, a second thread gains up to a third on an idle machine and costs up to thirty times as much on a busy
one, see `benchmarks/threads.py`.
"""


def asked_threads(threads: int | None) -> int | None:
    """Returns the threads that somebody asked for: given, else `OMP_NUM_THREADS`; `None` where nobody did.

    Raises:
        InputError: It is not a whole number of 1 or more.
    """
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads = {threads}: must be 1 or more")
        return threads
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    # OpenMP allows a number for each level of nesting; the first one counts here.
    number = text.partition(",")[0].strip()
    if number and not (number.isdecimal() and int(number) >= 1):
        raise InputError(f"OMP_NUM_THREADS = {text!r}: must be a whole number of 1 or more")
    return int(number) if number else None


def worthwhile_threads(step_flops: float, at_most: int) -> int:
    """Returns how many threads a step is worth.

    The answer depends on nothing that varies from day to day, for the number of threads decides the last bits
    of a result.

    Args:
        step_flops: FLOPs of a step, forward and backward, of the whole batch.
        at_most: How many there are.
    """
    return int(min(max(step_flops // STEP_FLOPS, 1), at_most))
