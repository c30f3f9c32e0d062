"""Studies that tune: trained until bracketed, resumed where they stopped, planned and marked in the store."""

from __future__ import annotations

from scalelab import analyze, finished_runs, open_store, plan_study, run_study
from scalelab.execute.events import Grown, Started
from scalelab.supervise.stop import StopSignal


def tuned_study(lab, body="start = 0.001, factor = 8", *, options="", name="tiny"):
    path = lab.study(options=options, name=name)
    text = path.read_text().replace('sizes = [16, "all"]', "sizes = [64]")
    path.write_text(text.replace('"plain-sgd"', f'"plain-sgd"\ntune = {{ lr = {{ {body} }} }}'))
    return path


def run(lab, study, **options):
    return run_study(study, lab.store, catalog=lab.catalog(), workers=0, **options)


def test_a_study_is_trained_until_every_rate_is_bracketed(lab):
    study, events = tuned_study(lab), []
    summary = run(lab, study, on_event=events.append)
    assert summary.complete
    grown = [event for event in events if isinstance(event, Grown)]
    assert sum(len(event.trials) for event in grown) == summary.n_trials - 6
    assert grown
    assert summary.sweeping.startswith("2 sweeps: ")
    assert "going on" not in summary.sweeping
    runs = open_store(lab.store).runs("tiny")
    assert set(runs.tuned) == {"lr"}
    assert runs.planned.all()
    assert len(runs) == summary.n_trials
    again = run(lab, study)
    assert (again.kept, again.done, again.sweeping) == (summary.n_trials, 0, summary.sweeping)
    plan = plan_study(study, lab.store, catalog=lab.catalog())
    assert [row.status for row in plan.trials] == ["done"] * summary.n_trials
    assert plan.sweeping == summary.sweeping
    assert plan_study(study, catalog=lab.catalog()).sweeping.startswith(
        "2 sweeps: 2 going on; up to 12 trials"
    )


def test_a_sweep_that_was_stopped_asks_for_the_same_trials(lab, tmp_path):
    study, stop = tuned_study(lab), StopSignal()
    started = []

    def stop_at_the_fourth(event):
        if isinstance(event, Started):
            started.append(event.trial.id)
            if len(started) == 4:
                stop.request()

    assert run(lab, study, stop=stop, on_event=stop_at_the_fourth).stopped
    resumed = run(lab, study)
    runs = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    lab.store = tmp_path / "whole.duckdb"
    whole = run(lab, study)
    assert resumed.n_trials == whole.n_trials
    other = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    assert runs.sort_index().equals(other.sort_index())


def test_two_studies_share_the_trials_of_a_sweep(lab):
    first = run(lab, tuned_study(lab))
    second = run(lab, tuned_study(lab, name="other"))
    assert (second.kept, second.done) == (first.n_trials, 0)
    done = finished_runs(open_store(lab.store))
    assert len(done) == first.n_trials
    assert done["sweep"].nunique() == 2


def test_a_failed_trial_holds_its_sweep_and_is_said(lab):
    summary = run(lab, tuned_study(lab, options="trouble = 'raise'"))
    assert len(summary.failed) == 6
    assert summary.sweeping.startswith("2 sweeps: 2 going on")


def test_rates_that_diverge_bound_a_sweep(lab):
    summary = run(lab, tuned_study(lab, options="trouble = 'nan'"))
    assert summary.diverged == summary.n_trials == 2 * 9
    assert summary.sweeping == "2 sweeps: 2 at an end"


def test_the_store_keeps_the_marks_when_it_is_rebuilt(lab):
    run(lab, tuned_study(lab))
    store = open_store(lab.store)
    before = store.runs("tiny")[["trial_id", "tuned"]]
    store.rebuild()
    assert store.runs("tiny")[["trial_id", "tuned"]].equals(before)


def test_a_report_has_the_sweeps(lab):
    run(lab, tuned_study(lab))
    found = analyze(open_store(lab.store), axes=["n_params"])
    assert [sweep.option for sweep in found.sweeps] == ["lr", "lr"]
    assert [len(sweep.rows) >= 3 for sweep in found.sweeps] == [True, True]
