"""Workers and threads: what is asked for is heeded, and a small step gets no threads that it cannot use."""

from __future__ import annotations

import pytest

from scalelab.errors import InputError
from scalelab.execute import crew
from scalelab.execute.crew import Crew
from scalelab.measure.threads import STEP_FLOPS


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    """Sixteen cores, and nobody who asked for a number of threads."""
    monkeypatch.setattr(crew, "usable_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("workers", "trials", "expected"),
    [(1, 9, (1, 16)), (2, 9, (2, 8)), (3, 9, (3, 5)), (32, 99, (32, 1)), (8, 2, (2, 8)), (0, 9, (0, 16))],
)
def test_workers_share_the_cores(workers, trials, expected):
    made = Crew.of(workers, None, trials)
    assert (made.workers, made.threads) == expected
    assert made.fewer == (made.threads > 1)


def test_a_small_step_gets_one_thread_and_a_large_one_all():
    made = Crew.of(2, None, 9)
    assert [made.threads_for(times * STEP_FLOPS) for times in (0.0, 0.1, 1.9, 2.0, 7.9, 8.0, 1e6)] == [
        1, 1, 1, 2, 7, 8, 8,
    ]  # fmt: skip


@pytest.mark.parametrize("variable", ["3", " 3 ", "3,2"])
def test_the_environment_is_heeded(monkeypatch, variable):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert Crew.of(2, None, 9) == Crew(workers=2, threads=3, fewer=False)
    assert Crew.of(2, None, 9).threads_for(1.0) == 3


def test_an_option_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Crew.of(1, 5, 9) == Crew(workers=1, threads=5, fewer=False)


@pytest.mark.parametrize("variable", ["0", "-1", "two", "1.5"])
def test_nonsense_in_the_environment_is_refused(monkeypatch, variable):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with pytest.raises(InputError, match=f"OMP_NUM_THREADS = '{variable}': must be a whole number of 1 or"):
        Crew.of(1, None, 9)


def test_no_threads_at_all_are_refused():
    with pytest.raises(InputError, match="threads = 0: must be 1 or more"):
        Crew.of(1, 0, 9)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Crew(workers=1, threads=1, fewer=False), "1 worker of 1 thread"),
        (Crew(workers=2, threads=3, fewer=False), "2 workers of 3 threads"),
        (Crew(workers=0, threads=1, fewer=False), "this process with 1 thread"),
        (
            Crew(workers=1, threads=2, fewer=True),
            "1 worker of up to 2 threads, fewer where a step is too small",
        ),
    ],
)
def test_it_is_told(made, words):
    assert str(made).startswith(words)
