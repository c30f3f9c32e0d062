"""From the journal into tables and views."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from store_samples import STARTED, a_record, a_trial

from scalelab.errors import StoreError
from scalelab.records import Calibration
from scalelab.store import Journal, open_store
from scalelab.store.envelope import seal
from scalelab.store.kinds import REGISTRATIONS
from scalelab.store.registrations import Registration

RUNS = """
study trial_id status attempt attempts error dataset architecture optimizer seed data_seed n_params
n_params_body n_examples forward_flops train_flops n_steps epochs loss loss_last objective objective_last
best_step n_validated constant_loss
test_loss test_objective n_tested train_flops_best test_metrics
metric direction batch_size schedule precision wall_seconds
validation_seconds
peak_memory_bytes device device_name calibration n_windows n_available
host threads started_at finished_at plugins metrics
"""


def keep(store, *records) -> int:
    for record in records:
        store.journal.write(record)
    return store.ingest()


def test_a_run_shows_everything_about_it(store):
    record = a_record(a_trial(3, act="gelu", bias=True, drop=0.5))
    assert keep(store, record) == 1
    runs = store.runs("s")
    assert set(RUNS.split()) <= set(runs.columns)
    row = runs.iloc[0]
    for name in (
        "loss",
        "loss_last",
        "objective",
        "n_params",
        "train_flops",
        "epochs",
        "precision",
        "metric",
    ):
        assert row[name] == getattr(record, name), name
    assert row.trial_id == record.trial.id
    assert (row.dataset, row.architecture, row.optimizer) == ("blobs", "net", "adamw")
    assert (row.n_examples, row.seed, row.batch_size, row.schedule) == (64, 3, 64, "cosine")
    assert (row.host, row.device, row.threads) == ("h", "cpu", 1)
    assert row.started_at.timestamp() == STARTED + 1
    assert (row.test_loss, row.test_objective, row.test_accuracy, row.n_tested) == (0.3, 0.85, 0.85, 30)
    assert math.isnan(row.test_auroc)
    assert row.train_flops_best == pytest.approx(row.train_flops * 20 / 30)
    assert row.plugins == '{"dataset":{"plugin":"p","distribution":"d","version":"1"}}'
    assert (row.dataset_n, row.dataset_noise, row.optimizer_lr) == (64, 0.5, 0.001)
    assert (row.architecture_act, row.architecture_bias, row.architecture_drop) == ("gelu", True, 0.5)
    assert row.architecture_depths == "[1,2]"
    assert (row.training_batch_size, row.training_length_epochs, row.feature_stages) == (64, 10.0, 4)
    kinds = store.rows(
        "select typeof(architecture_width), typeof(architecture_bias), typeof(optimizer_lr) from runs"
    )
    assert kinds[1] == [("BIGINT", "BOOLEAN", "DOUBLE")]


def test_calibration_and_windows_are_shown_where_they_are_known(store):
    known = a_record(0)
    keep(store, known, a_record(1, calibration=None, n_windows=None, n_available=None))
    runs = store.runs().set_index("seed")
    shown = {split: Calibration(**told) for split, told in json.loads(runs.calibration[0]).items()}
    assert shown == known.calibration
    assert (runs.n_windows[0], runs.n_available[0]) == (128, 500)
    unknown = "calibration is null and n_windows is null and n_available is null"
    assert store.rows(f"select seed from runs where {unknown}")[1] == [(1,)]


def test_curves_are_those_of_the_run_shown(store):
    keep(store, a_record(0, 1, "failed"), a_record(0, 2, points=4), a_record(1, points=2))
    curves = store.curves("s")
    assert len(curves) == 6
    ours = curves[curves.trial_id == a_trial(0).id]
    assert ours.step.tolist() == [10, 20, 30, 40]
    assert set(ours.attempt) == {2}
    assert ours.loss.isna().tolist() == [False, True, False, False]
    assert store.curves(trial_ids=[a_trial(1).id]).train_loss.tolist() == [1.0, 0.5]
    assert store.curves(trial_ids=[]).empty


def test_the_attempt_that_counts_is_the_last_that_ended(store):
    trial = a_trial(0)
    keep(store, a_record(trial, 1, "interrupted"))
    assert store.outcomes()[trial.id][:5] == ("interrupted", 1, "the reason", None, None)
    keep(store, a_record(trial, 2, "failed"))
    assert store.outcomes()[trial.id].status == "failed"
    keep(store, a_record(trial, 3, "diverged"), a_record(trial, 4, "interrupted"))
    assert store.outcomes([trial.id])[trial.id][:5] == ("diverged", 4, None, 12.25, 0.1)
    assert store.reached([trial.id])[trial.id] == (math.inf, None, a_record(trial, 3, "diverged").direction)
    row = store.runs().iloc[0]
    assert (row.status, row.attempt, row.attempts) == ("diverged", 3, 4)


def test_ingesting_again_changes_nothing(store):
    keep(store, a_record(0), a_record(1))
    before = store.rows("select * from records order by trial_id")
    for path in list(store.journal.taken()):
        path.rename(store.journal.new / path.name)
    assert store.ingest() == 0
    assert store.rows("select * from records order by trial_id") == before
    assert store.journal.pending() == []
    assert store.rows("select count(*) from curve_points")[1] == [(6,)]


def test_a_crash_between_commit_and_move_is_harmless(store, monkeypatch):
    for seed in range(3):
        store.journal.write(a_record(seed))
    with monkeypatch.context() as patch:

        def crash(*_args):
            raise KeyboardInterrupt

        patch.setattr(Journal, "keep", crash)
        with pytest.raises(KeyboardInterrupt):
            store.ingest()
    assert len(store.journal.pending()) == 3
    assert len(store.runs()) == 3
    assert store.ingest() == 0
    assert store.journal.pending() == []
    assert store.check().healthy
    assert len(store.runs()) == 3


def test_batches_hold_all_records(store, monkeypatch):
    monkeypatch.setattr("scalelab.store.ingest.BATCH_FILES", 4)
    assert keep(store, *(a_record(seed) for seed in range(11))) == 11
    monkeypatch.setattr("scalelab.store.ingest.BATCH_BYTES", 1)
    assert keep(store, *(a_record(seed) for seed in range(11, 14))) == 3
    assert len(store.runs()) == 14
    assert store.check().healthy


def test_a_record_that_the_database_refuses_holds_up_nobody(store, caplog):
    trial = a_trial(9)
    poison = seal(
        {
            "trial_id": f'"{trial.id}"',
            "attempt": "1",
            "features": "{}",
            "trial": '{"no":"trial"}',
            "record": "{}",
        }
    )
    for seed in range(5):
        store.journal.write(a_record(seed))
    (store.journal.new / f"{trial.id}-1.json").write_bytes(poison)
    assert store.ingest() == 5
    assert "trial.dataset: Field required" in caplog.text
    assert [path.name for path in store.journal.quarantined()] == [f"{trial.id}-1.json"]


def test_columns_widen_and_read_the_same_after_a_rebuild(store):
    values = [1, 0.5, 1e-5, None, "auto", [48, 96.0], {"a": 1}, True, 2**70]
    for seed, value in enumerate(values):
        keep(store, a_record(a_trial(seed, x=value, y=seed if seed < 2 else seed / 2, z=None)))
    shown = store.rows(
        "select seed, architecture_x, typeof(architecture_y), architecture_z from runs order by seed"
    )
    assert [row[1] for row in shown[1]] == [
        "1", "0.5", "0.00001", None, "auto", "[48,96.0]", None, "true", str(2**70),
    ]  # fmt: skip
    assert shown[1][6][1] is None
    assert store.rows("select architecture_x_a from runs where seed = 6")[1] == [(1,)]
    assert {row[2] for row in shown[1]} == {"DOUBLE"}
    store.rebuild()
    again = store.rows(
        "select seed, architecture_x, typeof(architecture_y), architecture_z from runs order by seed"
    )
    assert again == shown


def test_a_number_that_was_always_missing_becomes_a_number(store):
    keep(store, a_record(a_trial(0, k=None)))
    keep(store, a_record(a_trial(1, k=3)))
    assert store.rows("select architecture_k from runs order by seed")[1] == [(None,), (3,)]
    keep(store, a_record(a_trial(2, k=0.5)))
    assert store.rows("select architecture_k from runs order by seed")[1] == [(None,), (3.0,), (0.5,)]


def test_names_that_differ_in_case_or_punctuation_get_columns_of_their_own(store):
    record = a_record(
        a_trial(0, n=1, N=2, a_b=3, a={"b": 4}), features={"last width": 5, "last-width": 6, "é~/x": "y'\""}
    )
    keep(store, record)
    runs = store.runs()
    brought = {
        name: value for name, value in runs.iloc[0].items() if name.startswith(("architecture_", "feature_"))
    }
    assert {brought["architecture_N"], brought["architecture_n_2"]} == {1, 2}
    assert {brought["architecture_a_b"], brought["architecture_a_b_2"]} == {3, 4}
    assert {brought["feature_last_width"], brought["feature_last_width_2"]} == {5, 6}
    assert brought["feature_é_x"] == "y'\""


def test_an_architecture_that_comes_later_leaves_gaps(store):
    keep(store, a_record(a_trial(0)))
    keep(store, a_record(a_trial(1, architecture="other", heads=4)))
    runs = store.runs().set_index("seed").sort_index()
    assert runs.architecture_heads.isna().tolist() == [True, False]
    assert runs.architecture_heads.dtype == "float64"


def test_a_registered_study_shows_what_is_to_be_done(store):
    trials = [a_trial(seed) for seed in range(6)]
    store.register("s", "the text", trials)
    keep(
        store,
        a_record(0),
        a_record(1, 1, "diverged"),
        a_record(2, 1, "failed"),
        a_record(3, 1, "interrupted"),
    )
    claim = store.claims.claim(trials[3].id, "s", 2)
    assert claim
    (summary,) = store.studies()
    assert summary[:8] == ("s", 6, 1, 1, 1, 0, 1, 2)
    assert summary.registered_at.endswith("Z")
    store.claims.release(claim)
    assert store.studies()[0].interrupted == 1
    assert len(store.runs("s")) == 4
    assert store.rows("select study, text, n_trials from studies")[1] == [("s", "the text", 6)]


def test_registering_the_same_again_writes_nothing(store):
    trials = [a_trial(0), a_trial(1)]
    store.register("s", "text", trials)
    before = store.path.read_bytes()
    store.register("s", "text", trials)
    assert store.path.read_bytes() == before
    assert len(store.journal.files(REGISTRATIONS)) == 1


def test_an_edited_study_keeps_runs_that_it_no_longer_asks_for(store):
    store.register("s", "one", [a_trial(0), a_trial(1)])
    keep(store, a_record(0), a_record(1))
    store.register("s", "two", [a_trial(2), a_trial(1)])
    assert store.studies()[0][:8] == ("s", 2, 1, 0, 0, 0, 0, 1)
    planned = store.runs("s").set_index("seed").planned
    assert planned.to_dict() == {0: False, 1: True}
    order = "select t.seed from study_trials m join trials t using (trial_id) where planned order by position"
    assert store.rows(order)[1] == [(2,), (1,)]
    store.register("s", "one", [a_trial(0), a_trial(1)])
    assert store.runs("s").planned.all()
    assert store.rows("select count(*) from study_trials")[1] == [(3,)]


def test_an_older_registration_that_comes_late_changes_no_plan(store):
    store.register("s", "new", [a_trial(1)])
    store.journal.write(
        Registration(study="s", text="old", registered_at=STARTED - 1e9, trials=(a_trial(0),))
    )
    store.ingest()
    assert store.rows("select text from studies")[1] == [("new",)]
    assert store.studies()[0].planned == 1
    assert store.rows("select count(*) from trials")[1] == [(2,)]


def test_a_trial_may_belong_to_several_studies(store):
    store.register("a", "", [a_trial(0), a_trial(1)])
    store.register("b", "", [a_trial(1), a_trial(2)])
    keep(store, a_record(0, study="a"), a_record(1, study="a"))
    assert [summary[:4] for summary in store.studies()] == [("a", 2, 2, 0), ("b", 2, 1, 0)]
    assert store.runs("b").seed.tolist() == [1]
    assert len(store.curves("b")) == 3
    assert store.outcomes()[a_trial(1).id].status == "done"


def test_a_study_that_was_never_registered_counts_its_records(store):
    keep(store, a_record(0, study="wild"))
    assert store.studies()[0][:3] == ("wild", 1, 1)
    assert store.studies()[0].registered_at is None


def fill_up(tight, acknowledged) -> None:
    for seed in range(10_000):
        record = a_record(a_trial(seed, note="x" * 2000 + str(seed)), points=20)
        tight.journal.write(record)
        acknowledged.append(record.id)
        if seed % 20 == 19:
            tight.ingest()


def test_a_full_disk_loses_nothing(tmp_path, store):
    """A store on a file system of three megabytes, which fills up."""
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        tight = open_store(small / "x.duckdb", create=True, wait=2.0)
        acknowledged: list[str] = []
        with pytest.raises(StoreError, match=r"disk full; free some space"):
            fill_up(tight, acknowledged)
        subprocess.run(["mount", "-o", "remount,size=60m", str(small)], check=True)
        tight.ingest()
        there = {f"{row[0]}-1" for row in tight.rows("select trial_id from records")[1]}
        assert there == set(acknowledged)
        assert tight.check().healthy
    finally:
        subprocess.run(["umount", str(small)], check=True)
