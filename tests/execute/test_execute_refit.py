"""Studies that refit: the best design of the folds is trained again, resumed and marked in the store."""

from __future__ import annotations

import pytest
import scipy.stats

from scalelab import analyze, open_store, plan_study, run_study
from scalelab.execute.events import Grown, Started
from scalelab.jsonable import json_object
from scalelab.report.sections.all import sections
from scalelab.supervise.stop import StopSignal

FOLDS = 'name = "blobs"\nspace = { n = [32, 48] }\n'
REFIT = "\n[refit]\nseeds = [7, 8]\ndataset = { n = 64 }\n"


def refit_study(lab, *, options="", name="tiny"):
    path = lab.study(options=options, name=name)
    text = path.read_text().replace('sizes = [16, "all"]', 'sizes = ["all"]')
    path.write_text(text.replace('name = "blobs"\n', FOLDS) + 'objective = "accuracy"\n' + REFIT)
    return path


def run(lab, study, **options):
    return run_study(study, lab.store, catalog=lab.catalog(), workers=0, **options)


def test_the_best_design_is_trained_again(lab):
    study, events = refit_study(lab), []
    plan = plan_study(study, catalog=lab.catalog())
    assert plan.refitting.startswith("refit: after 4 trials more, the best of 2 designs by mean accuracy is")
    summary = run(lab, study, on_event=events.append)
    assert summary.complete
    assert summary.n_trials == 4 + 2
    assert summary.refitting.startswith("refit: the best of 2 designs by mean accuracy (")
    (grown,) = (event for event in events if isinstance(event, Grown))
    assert grown.why == summary.refitting
    runs = open_store(lab.store).runs("tiny")
    again = runs[runs.refitted]
    assert sorted(again.seed) == [7, 8]
    assert set(again.n_examples) == {64}
    assert set(again.metric) == {"accuracy"}
    means = runs[~runs.refitted].groupby("architecture_width").objective.mean()
    assert means[again.architecture_width.iloc[0]] == means.max()
    repeated = run(lab, study)
    assert (repeated.kept, repeated.done, repeated.refitting) == (6, 0, summary.refitting)
    assert [row.status for row in plan_study(study, lab.store, catalog=lab.catalog()).trials] == ["done"] * 6
    store = open_store(lab.store)
    before = store.runs("tiny")[["trial_id", "refitted"]]
    store.rebuild()
    assert store.runs("tiny")[["trial_id", "refitted"]].equals(before)


def test_a_report_says_what_it_reached_on_test_over_its_seeds(lab):
    run(lab, refit_study(lab))
    store = open_store(lab.store)
    found = analyze(store, axes=["n_params"])
    (refit,) = found.refits
    assert (refit.study, refit.seeds, refit.chosen_by) == ("tiny", (7, 8), "accuracy")
    runs = store.runs("tiny").query("refitted").sort_values("seed")
    (tested,) = (one for one in refit.scores if (one.split, one.name) == ("test", "accuracy"))
    assert tested.values == tuple(runs.test_objective)
    (loss,) = (one for one in refit.scores if (one.split, one.name) == ("test", "loss"))
    ends = scipy.stats.t.interval(0.9, 1, loc=runs.test_loss.mean(), scale=runs.test_loss.sem())
    assert (loss.mean.lower, loss.mean.upper) == pytest.approx(ends)
    made = sections(found)
    (line,) = (line for one in made for line in one.answer if "trained again" in line)
    assert line.startswith("The best design of tiny by mean accuracy, net with plain-sgd on ")
    (table,) = next(one for one in made if one.key == "refits").tables
    assert table.rows[0][:2] == ("validation", "loss")
    assert len(table.rows) == 4
    assert json_object(found)["refits"][0]["scores"][0]["values"] == list(runs.loss)


def test_a_refit_that_was_stopped_is_the_same(lab, tmp_path):
    study, stop, started = refit_study(lab), StopSignal(), []

    def stop_in_the_refit(event):
        if isinstance(event, Started):
            started.append(event.trial.id)
            if len(started) == 6:
                stop.request()

    assert run(lab, study, stop=stop, on_event=stop_in_the_refit).stopped
    assert run(lab, study).complete
    runs = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    lab.store = tmp_path / "whole.duckdb"
    run(lab, study)
    other = open_store(lab.store).runs("tiny").set_index("trial_id").loss
    assert runs.sort_index().equals(other.sort_index())


def test_a_failed_fold_holds_the_refit(lab):
    summary = run(lab, refit_study(lab, options="trouble = 'raise'"))
    assert len(summary.failed) == summary.n_trials == 4
    assert summary.refitting.startswith("refit: after 4 trials more")


def test_where_every_design_diverged_there_is_none(lab):
    summary = run(lab, refit_study(lab, options="trouble = 'nan'"))
    assert summary.diverged == summary.n_trials == 4
    assert summary.refitting == "refit: none, for a trial of each of the 2 designs has no accuracy"
