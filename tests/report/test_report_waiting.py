"""What is shown of an analysis that takes its time."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scalelab.report.waiting import LiveWaiting, PlainWaiting


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_lines_come_after_two_seconds_and_then_every_ten(clock):
    stream = io.StringIO()
    with PlainWaiting(stream, clock) as progress:
        for second in range(15):
            clock.now = 100.0 + second
            progress("laws of families", second, 15)
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == ["laws of families: 2 of 15", "laws of families: 12 of 15"]


def test_nothing_is_said_of_what_is_over_at_once(clock):
    stream = io.StringIO()
    with PlainWaiting(stream, clock) as progress:
        clock.now += 1.9
        progress("laws of families", 0, 3)
        clock.now += 5.0
        progress("laws of families", 3, 3)
    assert stream.getvalue() == ""


def test_a_bar_is_shown_after_two_seconds_only(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveWaiting(console, clock) as progress:
        progress("laws of families", 1, 3)
        assert console.file.getvalue() == ""
        clock.now += 3.0
        progress("laws of families", 2, 3)
        progress("tree models", 0, 4)
    shown = console.file.getvalue()
    assert "2/3" in shown
    assert "tree models" in shown
