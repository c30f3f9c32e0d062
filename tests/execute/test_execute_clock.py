"""Times of trials: a range that grows with the network, from the store where it knows, else timed here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalelab import open_store, plan_study, run_study
from scalelab.errors import InputError
from scalelab.execute import clock as clock_module
from scalelab.execute.clock import MARGIN, MOST, Clock, Rate
from scalelab.execute.crew import Crew
from scalelab.execute.timing import LEAST_STEPS, WARM_STEPS, Stopwatch
from scalelab.execute.work import Span, Work, makespan
from scalelab.measurements import Complexity
from scalelab.records import ComponentRef, Trial


def work(flops: float, n_steps: int = 100) -> Work:
    trial = Trial(
        dataset=ComponentRef(name="d"),
        fingerprint="d",
        architecture=ComponentRef(name="net"),
        optimizer=ComponentRef(name="o"),
        n_examples=10,
    )
    cost = Complexity(n_params=1, forward_flops=flops / 3, train_flops_per_example=flops / 64)
    return Work(trial, cost, n_steps, 1000)


positive = st.floats(1e-6, 1e3)


@given(
    rates=st.lists(st.tuples(st.floats(1e6, 1e12), positive, positive, st.floats(1, 50)), min_size=1),
    sizes=st.lists(st.floats(1e5, 1e14), min_size=2, max_size=8),
)
def test_times_never_fall_as_the_network_grows(rates, sizes) -> None:
    known = Clock({("net", "o"): [Rate(*rate) for rate in rates]}, 1.0, 0.5)
    spans = [known(work(size)) for size in sorted(sizes)]
    for span in spans:
        assert 0 < span.low < span.middle < span.high
        assert span.middle / span.low <= MOST * (1 + 1e-9) + 1
    middles = [span.middle for span in spans]
    assert all(b >= a * (1 - 1e-9) for a, b in pairwise(middles))


def test_a_known_size_takes_what_it_took() -> None:
    known = Clock({("net", "o"): [Rate(1e9, 0.01, 1e-4, 1.0), Rate(1e11, 1.0, 1e-2, 1.0)]}, 1.0, 0.5)
    span = known(work(1e9, n_steps=1000))
    # 1,000 steps of ten milliseconds, the setup, and validation: nine points of 213 and one of 1,000.
    assert span.middle == pytest.approx(0.5 + 10 + (9 * 213 + 1000 * 1.5) * 1e-4, rel=1e-3)
    assert span.high / span.low == pytest.approx(MARGIN**2, rel=0.05)


def test_times_that_differ_make_the_range_wider_up_to_four_times() -> None:
    spans = [
        Clock({("net", "o"): [Rate(1e9, 0.01, 0.0001, spread)]}, 1.0, 0.5)(work(1e9))
        for spread in (1, 1.5, 99)
    ]
    ratios = [span.high / span.low for span in spans]
    assert ratios == sorted(ratios)
    assert ratios[0] == pytest.approx(MARGIN**2, rel=0.1)
    assert ratios[0] < 2.0
    assert 4.0 < ratios[2] < 4.5


def test_workers_take_the_next_trial_when_they_are_free() -> None:
    trials = [Span.exactly(seconds) for seconds in (4, 1, 1, 1, 3)]
    opening = Span.exactly(2)
    for workers, total in ((0, 12), (1, 12), (2, 8), (5, 6)):
        crew = Crew(workers=workers, threads=1, fewer=False)
        assert makespan(trials, crew, opening) == Span.exactly(total)


def test_the_store_s_own_times_are_used_and_nothing_is_timed(lab, monkeypatch) -> None:
    run_study(lab.study(steps=40), lab.store, catalog=lab.catalog())

    def timed(*_: object) -> None:
        raise AssertionError("timed although the store knows")

    monkeypatch.setattr(clock_module, "time_jobs", timed)
    study = lab.study(steps=4000, seeds=2, name="longer")
    plan = plan_study(study, open_store(lab.store), catalog=lab.catalog())
    runs = open_store(lab.store).runs("tiny")
    steps = (runs.wall_seconds - runs.validation_seconds) / runs.n_steps
    for row in plan.pending:
        assert row.seconds.middle > 4000 * steps.min()
    # Two workers at once are another thing than one.
    with pytest.raises(AssertionError, match="although"):
        plan_study(study, open_store(lab.store), catalog=lab.catalog(), workers=2)


def test_what_is_done_took_what_it_took(lab, monkeypatch) -> None:
    run_study(lab.study(), lab.store, catalog=lab.catalog(), workers=0)
    monkeypatch.setattr(clock_module, "time_jobs", None)
    plan = plan_study(lab.study(), open_store(lab.store), catalog=lab.catalog())
    took = open_store(lab.store).runs("tiny").set_index("trial_id").wall_seconds
    assert plan.seconds == Span.exactly(0.0)
    for row in plan.trials:
        assert row.seconds == Span.exactly(took[row.trial.id])


def test_a_plan_is_held_against_the_run_of_the_same_trials(lab, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    plan = plan_study(lab.study(), catalog=lab.catalog(), workers=0)
    other = run_study(
        lab.study(seeds=2, name="other"), lab.folder / "b.duckdb", catalog=lab.catalog(), workers=0
    )
    assert other.forecast is None
    summary = run_study(lab.study(), lab.store, catalog=lab.catalog(), workers=0)
    assert summary.forecast == (plan.seconds.low, plan.seconds.high)
    for path in (tmp_path / "cache" / "plans").iterdir():
        path.write_text("[1]")
    again = run_study(lab.study(), lab.folder / "c.duckdb", catalog=lab.catalog(), workers=0)
    assert again.forecast is None


def test_a_trial_that_cannot_be_trained_has_no_time_and_the_plan_says_why(lab) -> None:
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False, encoding="utf-8")

    study = lab.study(options='trouble = "raise"')
    plan = plan_study(study, catalog=lab.catalog())
    assert plan.seconds is None
    assert "the net is in trouble" in plan.unknown
    assert [row.seconds for row in plan.trials] == [None] * 4
    done = command("plan", study, "--plugins-dir", lab.plugins, "--store", lab.store)
    assert done.returncode == 0
    assert "time unknown: trial" in done.stdout
    said = json.loads(command("plan", study, "--plugins-dir", lab.plugins, "--json").stdout)
    assert said["seconds"] is None
    assert "in trouble" in said["unknown"]


@pytest.mark.parametrize("asked", [{"device": "cuda:99"}, {"device": "gpu"}, {"workers": -1}])
def test_what_run_refuses_a_plan_refuses(lab, asked) -> None:
    with pytest.raises(InputError) as of_plan:
        plan_study(lab.study(), catalog=lab.catalog(), **asked)
    with pytest.raises(InputError) as of_run:
        run_study(lab.study(), lab.store, catalog=lab.catalog(), **asked)
    assert str(of_plan.value) == str(of_run.value)


def test_a_stopwatch_sees_enough_steps() -> None:
    watch = Stopwatch(torch.device("cpu"))
    calls = 0
    while not watch():
        calls += 1
        time.sleep(0.02)
    assert calls >= WARM_STEPS + LEAST_STEPS
    assert watch.looks
    assert min(watch.looks) >= 0.02
    assert 0.02 <= watch.step <= max(watch.looks)


def test_spans_add_up() -> None:
    assert Span(1, 2, 3) + Span(4, 5, 6) == Span(5, 7, 9)
    assert Span.around(2.0, 2.0) == Span(1.0, 2.0, 4.0)
    assert replace(Span.exactly(1.0), high=2.0).high == 2.0
