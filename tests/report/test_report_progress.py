"""What a run says while it goes on."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.execute.crew import Crew
from scalelab.execute.events import Planned, Retried, Started
from scalelab.execute.jobs import Finished, Progressed, Warned
from scalelab.records import ComponentRef, Trial
from scalelab.report.pace import Pace
from scalelab.report.progress import LiveDisplay, PlainDisplay
from scalelab.report.trial_names import TrialNames


def trial(width: int, n: int = 100, seed: int = 0) -> Trial:
    return Trial(
        dataset=ComponentRef(name="d"),
        fingerprint="f",
        architecture=ComponentRef(name="net", params={"width": width, "depth": 2}),
        optimizer=ComponentRef(name="sgd", params={"lr": 0.1}),
        n_examples=n,
        seed=seed,
    )


def events(*trials: Trial):
    yield Planned(
        study="s",
        trials=trials,
        n_kept=0,
        n_elsewhere=1,
        n_pending=len(trials),
        crew=Crew(workers=2, threads=1, fewer=False),
        skipped=("too large",),
    )
    for one in trials:
        yield Started(trial=one, attempt=1)
        yield Progressed(trial_id=one.id, step=1, n_steps=2, loss=0.5)
        yield Warned(trial_id=one.id, place="checkpoint.py:1", message="the disk is full")
        yield Retried(trial_id=one.id, reason="its worker was killed")
        yield Started(trial=one, attempt=2)
        yield Finished(trial_id=one.id, status="failed", wall_seconds=1.25, loss=0.25, error="why")


@pytest.mark.parametrize(
    ("trials", "name"),
    [
        ([trial(8)], "net sgd"),
        ([trial(8), trial(16)], "net(width=8) sgd"),
        ([trial(8), trial(8, n=1000)], "net sgd n=100"),
        ([trial(8), trial(16, n=1000, seed=1)], "net(width=8) sgd n=100 seed=0"),
    ],
)
def test_a_name_says_what_varies_and_nothing_else(trials, name):
    assert TrialNames(trials).describe(trials[0]) == name


def test_plain_lines_say_what_a_log_needs():
    stream = io.StringIO()
    with PlainDisplay(stream) as display:
        for event in events(trial(8), trial(16)):
            display(event)
        display.stopping(1)
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    one = trial(8).id
    assert lines[0] == "study s: 2 trials, 0 done before, 2 to do, 1 running elsewhere; 2 workers of 1 thread"
    assert lines[1] == "left out: too large"
    assert lines[2] == "warning: the disk is full (said once; logs have the rest)"
    assert lines[3] == f"lost {one}: its worker was killed; it will be tried again"
    assert lines[4] == f"[1/2] failed {one} loss 0.2500 in 1.2 s  net(width=8) sgd: why"
    assert lines[-1].startswith("stopping: running trials write a checkpoint")


def test_ctrl_c_that_leaves_trials_to_a_cluster_does_not_speak_of_their_end():
    stream = io.StringIO()
    with PlainDisplay(stream, leaves=True) as display:
        display.stopping(1)
        display.stopping(2)
    for line in stream.getvalue().splitlines():
        assert "leaving: jobs of the cluster get all trials that are left and go on" in line


def test_the_live_display_shows_bars_and_keeps_what_ended():
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    with LiveDisplay(console) as display:
        for event in events(trial(8), trial(16)):
            display(event)
        display.stopping(2)
    text = stream.getvalue()
    assert "study s: 2 trials" in text
    assert "net(width=16) sgd: why" in text
    assert "stopped at once" in text


def test_the_heartbeat_says_what_is_under_way_and_how_long_the_rest_takes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("scalelab.report.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    trials = [trial(2**i) for i in range(4)]
    display = PlainDisplay(stream)
    planned = next(events(*trials))
    display(planned)
    display(Started(trial=trials[0], attempt=1))
    assert display.heartbeat() == "[0/4] time left not known yet; under way: net(width=1) sgd 0%"
    now[0] = 100.0
    display(Progressed(trial_id=trials[0].id, step=1, n_steps=4, loss=0.5))
    # A trial takes 400 s: 300 s of it are left, and three wait.
    assert display.heartbeat() == "[0/4] 25 min 0 s left; under way: net(width=1) sgd 25%"
    display(Finished(trial_id=trials[0].id, status="done", wall_seconds=100.0))
    display(Started(trial=trials[1], attempt=1))
    display(Started(trial=trials[2], attempt=1))
    now[0] = 110.0
    display(Progressed(trial_id=trials[1].id, step=1, n_steps=2))
    display(Progressed(trial_id=trials[2].id, step=1, n_steps=4))
    # Trials take 20 to 100 s: 10 s and 30 s are left of two, and one waits.
    assert display.heartbeat() == (
        "[1/4] 30.0 s to 1 min 10 s left; under way: net(width=2) sgd 50%, net(width=4) sgd 25%"
    )


def test_a_log_hears_a_heartbeat_while_no_event_comes():
    class Heard(io.StringIO):
        def write(self, text: str) -> int:
            if "left" in text:
                beaten.set()
            return super().write(text)

    beaten = threading.Event()
    with PlainDisplay(Heard(), every=0.01) as display:
        display(next(events(trial(8))))
        display(Started(trial=trial(8), attempt=1))
        assert beaten.wait(30)


def test_a_run_with_nothing_to_do_has_no_heartbeat():
    stream = io.StringIO()
    with PlainDisplay(stream, every=0.001):
        time.sleep(0.05)
    assert stream.getvalue() == ""


@given(
    lasted=st.lists(st.floats(1, 100), min_size=1, max_size=5),
    shares=st.lists(st.floats(0, 1), max_size=4),
    n_waiting=st.integers(0, 20),
)
def test_the_time_left_is_a_range_that_grows_with_what_waits(lasted, shares, n_waiting):
    pace = Pace()
    for i, seconds in enumerate(lasted):
        pace.began(f"ended {i}", 0.0)
        pace.ended(f"ended {i}", seconds, for_good=True)
    for i, share in enumerate(shares):
        pace.began(f"under way {i}", 0.0)
        pace.moved(f"under way {i}", share)
    low, high = pace.left(n_waiting, 50.0)
    more = pace.left(n_waiting + 1, 50.0)
    assert 0 <= low <= high
    assert more >= (low, high)


def test_a_trial_that_was_lost_says_nothing_of_the_time():
    pace = Pace()
    pace.began("a", 0.0)
    pace.ended("a", 10.0, for_good=False)
    assert pace.left(3, 10.0) is None
