"""Ctrl-C: what it counts, and what is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scalelab.supervise.stop import StopSignal


def test_stop_levels_stop_at_two():
    levels = []
    stop = StopSignal(levels.append)
    for _ in range(3):
        stop.request()
    assert (stop.level, levels) == (2, [1, 2, 2])


INSIDE = """
import signal
from scalelab.supervise.stop import StopSignal

before = signal.{handler}
signal.signal(signal.SIGINT, before)
with StopSignal() as stop:
    signal.raise_signal(signal.SIGINT)  # to this very thread
    assert stop.level == 1
assert signal.getsignal(signal.SIGINT) is before
"""


@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"], ids=["terminal", "background"])
def test_a_signal_counts_only_inside_the_context(handler):
    """Whatever SIGINT does before: it raises in a terminal's job, and a script's background job ignores it.

    In a process of its own, whose signals no other test or library has taken over.
    """
    code = INSIDE.format(handler=handler)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
