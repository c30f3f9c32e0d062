"""The local executor's parts, without training."""

from __future__ import annotations

import os
import signal

import pytest

from scalelab.execute.jobs import Finished, Lost, Progressed, event_from_json
from scalelab.execute.local import threads_per_worker
from scalelab.supervise.stop import StopSignal


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 2, 2), (2, 2, 1), (3, 2, 1), (2, 16, 8), (3, 16, 5), (0, 4, 4)]
)
def test_threads_share_the_cores(workers, cores, threads):
    assert threads_per_worker(workers, cores) == threads


@pytest.mark.parametrize(
    "event",
    [
        Progressed(trial_id="a", step=1, n_steps=2, loss=0.5),
        Finished(trial_id="a", status="done", wall_seconds=1.5, loss=None),
        Lost(trial_id="a", reason="gone"),
    ],
)
def test_events_survive_json(event):
    assert event_from_json(event.model_dump_json()) == event


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
        stop.graceful = True
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.level == 1
    assert signal.getsignal(signal.SIGINT) is handler


def test_before_the_first_trial_a_signal_ends_at_once(handler):
    with StopSignal() as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert stop.level == 0
