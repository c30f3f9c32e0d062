"""Running, resuming and the outcomes of trials, with real workers."""

from __future__ import annotations

import json

import pytest

from scalelab import finished_runs, open_store, run_study
from scalelab.execute.events import Planned, Retried


def run(lab, study, **options):
    return run_study(study, lab.store, catalog=lab.catalog(), **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_study_runs_and_running_it_again_is_a_no_op(lab, workers):
    first = run(lab, lab.study(), workers=workers)
    assert (first.done, first.kept, first.complete) == (4, 0, True)
    again = run(lab, lab.study(), workers=workers)
    assert (again.done, again.kept, again.complete) == (0, 4, True)
    runs = open_store(lab.store).runs("tiny")
    assert len(runs) == 4
    assert set(runs.status) == {"done"}
    assert set(runs.n_examples) == {16, 64}
    assert set(runs.architecture_width) == {2, 4}
    assert set(runs.n_available) == {64}


def test_runs_are_tested_and_their_weights_kept(lab):
    run(lab, lab.study(), workers=0, keep_weights=True)
    store = open_store(lab.store)
    runs = store.runs("tiny")
    assert (runs.n_tested == 32).all()
    assert (runs.test_loss > 0).all()
    assert runs.test_accuracy.between(0, 1).all()
    assert (runs.test_objective == runs.test_loss).all()
    for text in runs.calibration:
        told = json.loads(text)
        assert list(told["test"]["ece"]) == ["0", "1"]
        assert sum(told["test"]["counts"]) == 2 * 32
        assert sum(told["validation"]["positives"]) == runs.n_validated[0]
    assert runs.train_flops_best.equals(runs.train_flops * runs.best_step / runs.n_steps)
    on_test = finished_runs(store, on="test", charge="best")
    assert on_test.loss.tolist() == runs.test_loss.tolist()
    weights = list((lab.folder / "store.duckdb.journal" / "weights").iterdir())
    assert len(weights) == 4


def test_workers_do_not_change_results(lab, tmp_path):
    run(lab, lab.study(seeds=2), workers=2, threads=1)
    one = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    lab.store = tmp_path / "other.duckdb"
    run(lab, lab.study(seeds=2), workers=1, threads=1)
    other = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    assert one.sort_index().equals(other.sort_index())


def test_new_trials_are_added_to_old_ones(lab):
    run(lab, lab.study(seeds=1), workers=0)
    more = run(lab, lab.study(seeds=2), workers=0)
    assert (more.kept, more.done) == (4, 4)


def test_a_component_that_raises_fails_its_trials_and_says_why_in_one_line(lab):
    summary = run(lab, lab.study(options="trouble = 'raise'"), workers=1)
    assert len(summary.failed) == 4
    reason = next(iter(summary.failed.values()))
    assert reason.startswith("ValueError: the net is in trouble (at toys.py:")
    assert "\n" not in reason
    logs = list((lab.folder / "store.duckdb.journal" / "logs").iterdir())
    assert len(logs) == 4
    assert "Traceback" in logs[0].read_text(encoding="utf-8")


def test_failed_trials_are_tried_again_only_on_request(lab):
    study = lab.study(options="trouble = 'raise'")
    run(lab, study, workers=0)
    kept = run(lab, study, workers=0)
    assert len(kept.failed) == 4
    assert set(open_store(lab.store).runs("tiny").attempts) == {1}
    run(lab, study, workers=0, retry_failed=True)
    assert set(open_store(lab.store).runs("tiny").attempts) == {2}


def test_a_loss_that_stops_being_finite_is_an_outcome(lab):
    summary = run(lab, lab.study(options="trouble = 'nan'"), workers=0)
    assert (summary.diverged, summary.complete) == (4, True)
    curves = open_store(lab.store).curves("tiny")
    assert curves.step.tolist() == [2] * 4


def test_a_killed_worker_costs_one_attempt_not_the_study(lab):
    mark = lab.folder / "killed"
    events = []
    study = lab.study(options=f"trouble = 'kill-once:{mark}'")
    summary = run(lab, study, workers=2, on_event=events.append)
    assert (summary.done, summary.complete) == (4, True)
    lost = [event for event in events if isinstance(event, Retried)]
    assert len(lost) == 1
    assert "SIGKILL" in lost[0].reason
    assert sorted(open_store(lab.store).runs("tiny").attempts) == [1, 1, 1, 2]


def test_a_trial_that_always_kills_its_worker_ends_as_failed(lab):
    summary = run(lab, lab.study(options="trouble = 'kill'"), workers=2, max_attempts=2)
    assert len(summary.failed) == 4
    assert all("lost 2 times" in reason for reason in summary.failed.values())


def test_a_hung_worker_is_killed(lab):
    summary = run(lab, lab.study(options="trouble = 'hang'"), workers=2, max_attempts=1, stall_seconds=4.0)
    assert all("no sign of life" in reason for reason in summary.failed.values())


def test_the_first_event_says_what_is_planned(lab):
    events = []
    run(lab, lab.study(), workers=0, on_event=events.append)
    assert isinstance(events[0], Planned)
    assert (len(events[0].trials), events[0].n_kept, events[0].n_pending) == (4, 0, 4)
