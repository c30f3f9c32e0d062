"""Ctrl-C: what it counts, and what is given back."""

from __future__ import annotations

import signal

import pytest

from scalelab.supervise.stop import StopSignal


def test_stop_levels_stop_at_two():
    levels = []
    stop = StopSignal(levels.append)
    for _ in range(3):
        stop.request()
    assert (stop.level, levels) == (2, [1, 2, 2])


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def handler(request):
    """What SIGINT does before: it raises in a terminal's job, and a script's background job ignores it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


def test_a_signal_counts_only_inside_the_context(handler):
    with StopSignal() as stop:
        signal.raise_signal(signal.SIGINT)  # to this very thread
        assert stop.level == 1
    assert signal.getsignal(signal.SIGINT) is handler
