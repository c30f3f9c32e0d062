"""A study that names a trainer: planned, trained by real workers, killed, recorded, proposed again."""

from __future__ import annotations

import json

import pytest

from scalelab import load_study, open_store, plan_study, run_study
from scalelab.errors import PluginError, StudyError
from scalelab.execute.cluster.mail import Needs
from scalelab.propose.budget import run_values, written
from scalelab.report.sections.studies import plan_table
from scalelab.study import expand, parse_study
from scalelab.trainers import components_of

GUEST = """
import math
import os
import signal

import scalelab
from pydantic import Field


class GuestParams(scalelab.Params):
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")
    trouble: str = Field("", description="what goes wrong")


def train(params, run):
    from torch.nn.functional import cross_entropy

    step, _ = run.resume()
    while step < run.n_steps:
        stop = run.should_stop()
        run.save(step)
        if stop:
            return run.result("interrupted", step)
        step += 1
        if params.trouble.startswith("kill-once:") and step == 3:
            mark = params.trouble.split(":", 1)[1]
            if not os.path.exists(mark):
                open(mark, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        run.begin(step)
        inputs, targets = run.batch(step)
        run.optimizer.zero_grad()
        loss = cross_entropy(run.module(inputs), targets, label_smoothing=params.smoothing)
        loss.backward()
        run.optimizer.step()
        if step in run.validations and not math.isfinite(run.report(step, loss.item()).loss):
            return run.result("diverged", step)
    return 42 if params.trouble == "garbage" else run.result("done", step)


@scalelab.hookimpl
def scalelab_trainers():
    return [
        scalelab.Trainer(
            name="guest", summary="A guest", train=train, params=GuestParams, ignores=("ema", "clip_norm")
        )
    ]
"""


@pytest.fixture
def guest(lab):
    """Writes a study whose trainer is the guest, with these options."""
    (lab.plugins / "guest.py").write_text(GUEST)

    def study(options="smoothing = 0.2", name="guest", extra="", **rest):
        path = lab.study(**rest)
        path.write_text(
            path.read_text() + f'{extra}\n[trainer]\nname = "{name}"\noptions = {{ {options} }}\n'
        )
        return path

    return study


def ids(path, lab):
    catalog = lab.catalog()
    return [trial.id for trial in expand(load_study(path, catalog), catalog).trials]


def test_scalelabs_own_loop_is_not_in_the_identity(lab, guest):
    own = ids(lab.study(), lab)
    assert ids(guest("", name="scalelab"), lab) == own
    assert not set(ids(guest(), lab)) & set(own)
    assert set(ids(guest(), lab)) != set(ids(guest("smoothing = 0.3"), lab))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_trainer_trains_a_study_and_its_records_say_so(lab, guest, workers):
    path = guest()
    summary = run_study(path, lab.store, catalog=lab.catalog(), workers=workers)
    assert (summary.done, summary.failed) == (4, {})
    runs = open_store(lab.store).runs("tiny")
    assert set(runs.trainer_name) == {"guest"}
    assert set(runs.trainer_smoothing) == {0.2}
    assert (runs.n_steps == 4).all()
    assert (runs.n_tested == 32).all()
    assert all(json.loads(one)["trainer"]["plugin"] == "guest" for one in runs.plugins)
    assert all("guest.py" in json.loads(one) for one in runs.libraries)
    assert run_study(path, lab.store, catalog=lab.catalog(), workers=0).kept == 4
    assert not list((lab.folder / "store.duckdb.journal" / "checkpoints").iterdir())


def test_columns_of_trainers_stand_beside_runs_that_have_none(lab, guest):
    run_study(lab.study(name="own"), lab.store, catalog=lab.catalog(), workers=0)
    assert "trainer_name" not in open_store(lab.store).runs()
    run_study(guest(), lab.store, catalog=lab.catalog(), workers=0)
    runs = open_store(lab.store).runs()
    assert runs[runs.study == "own"].trainer_name.isna().all()
    assert (runs[runs.study == "tiny"].trainer_name == "guest").all()


def test_a_killed_worker_is_tried_again_and_ends_the_same(lab, guest, tmp_path):
    mark = tmp_path / "mark"
    path = guest(f"smoothing = 0.2, trouble = 'kill-once:{mark}'", sizes="16")
    summary = run_study(path, lab.store, catalog=lab.catalog(), workers=1)
    assert (summary.done, mark.exists()) == (2, True)
    killed = open_store(lab.store).runs("tiny")
    assert sorted(killed.attempts) == [1, 2]
    lab.store = tmp_path / "other.duckdb"
    run_study(guest(sizes="16"), lab.store, catalog=lab.catalog(), workers=1)
    assert sorted(open_store(lab.store).runs("tiny").loss) == sorted(killed.loss)


def test_garbage_is_a_failed_record_of_one_line(lab, guest):
    summary = run_study(guest("trouble = 'garbage'"), lab.store, catalog=lab.catalog(), workers=1)
    assert len(summary.failed) == 4
    (reason,) = set(summary.failed.values())
    assert reason.startswith("trainer 'guest' returned int, expected scalelab.TrainResult")


def test_the_time_of_a_foreign_trainer_is_not_made_up(lab, guest):
    plan = plan_study(guest(), catalog=lab.catalog())
    assert plan.seconds is None
    assert plan.unknown.startswith("trainer 'guest' trains its own way")
    table = plan_table(plan)
    assert {row[table.columns.index("trainer")] for row in table.rows} == {"guest"}
    assert any(note.startswith("guest: steps and FLOPs are asked for") for note in table.notes)
    assert "trainer" not in plan_table(plan_study(lab.study(), catalog=lab.catalog())).columns


def test_what_is_wrong_with_a_trainer_is_said(lab, guest):
    guest()  # which writes the plugin
    catalog = lab.catalog()

    def refused(error, **how):
        with pytest.raises(error) as caught:
            expand(load_study(guest(**how), catalog), catalog)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    said = refused(PluginError, name="gest")
    assert "trainer.name = 'gest': there is no trainer 'gest'; did you mean 'guest'" in said
    assert "trainer.options.smoothing = 2" in refused(StudyError, options="smoothing = 2")
    assert "did you mean 'smoothing'" in refused(StudyError, options="smothing = 0.1")
    said = refused(StudyError, extra="ema = 0.9")
    assert "training.ema: trainer 'guest' does not heed it; leave it out" in said
    expand(load_study(guest(extra="clip_norm = 1.0"), catalog), catalog)  # which is the default


def test_an_option_of_a_trainer_may_follow_a_number_of_the_trial(lab, guest):
    rule = 'smoothing = { at = 0.4, scale = "n_examples", reference = 64, power = 1.0 }'
    path = guest(rule)
    catalog = lab.catalog()
    trials = expand(load_study(path, catalog), catalog).trials
    assert {trial.n_examples: trial.trainer.params["smoothing"] for trial in trials} == {16: 0.1, 64: 0.4}


def test_a_machine_of_a_cluster_needs_the_trainer_too(lab, guest):
    path = guest()
    catalog = lab.catalog()
    trials = expand(load_study(path, catalog), catalog).trials
    needs = Needs.of(trials, catalog)
    assert ("trainer", "guest", 1) in needs.components
    assert "guest.py" in needs.files
    assert set(components_of(trials[0])) == {"dataset", "architecture", "optimizer", "trainer"}


def test_a_run_is_proposed_again_with_its_trainer(lab, guest):
    path = guest()
    catalog = lab.catalog()
    study = load_study(path, catalog)
    start = expand(study, catalog).trials[0]
    text, expansion = written(run_values(start, study, path, catalog), study, path, catalog)
    assert parse_study(text, "s", catalog).trainer.name == "guest"
    assert expansion.trials[0].trainer == start.trainer
    assert expansion.trials[0].id == start.id
