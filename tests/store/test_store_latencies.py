"""Measurements in journal and database: each exactly once, whatever is lost."""

from __future__ import annotations

import json
import shutil

import pytest
from store_samples import a_measurement, a_record, a_trial

from scalelab.errors import StoreError
from scalelab.measurements import Measurement
from scalelab.store.envelope import TornError
from scalelab.store.journal import Journal
from scalelab.store.kinds import MEASUREMENTS


def test_a_measurement_is_taken_in_once(store):
    for _ in range(2):
        store.journal.write(a_measurement())
    store.ingest()
    store.journal.write(a_measurement())
    store.ingest()
    table = store.latencies()
    assert len(table) == 1
    row = table.iloc[0]
    assert (row.status, row.target, row.batch_size, row.threads) == ("ok", "fast:cpu:f32", 1, 2)
    assert (row.latency, row.latency_low, row.latency_high) == (0.008, 0.0072, pytest.approx(0.0096))
    assert (row.convert_seconds, row.load_seconds, row.model_bytes) == (0.5, 0.25, 4000)
    assert (row.n_params, row.forward_flops, row.activation_bytes, row.n_ops) == (1000, 1e6, 3e4, 20)
    assert json.loads(row.options)["width"] == 8
    assert json.loads(row.packages) == {"numpy": "2.0"}
    assert row.compile_seconds != row.compile_seconds, "a step that did not apply has no time"
    assert len(store.journal.taken(MEASUREMENTS)) == 1


def test_the_last_attempt_that_went_well_counts(store):
    for attempt, status in ((1, "failed"), (2, "ok"), (3, "timeout")):
        store.journal.write(a_measurement(attempt=attempt, status=status))
    store.journal.write(a_measurement(16, status="failed"))
    store.ingest()
    ids = {width: a_measurement(width).benchmark.id for width in (8, 16, 32)}
    tried = store.tried(ids.values())
    assert tried[ids[8]] == ("ok", 3, None)
    assert tried[ids[16]] == ("failed", 1, "the reason")
    assert ids[32] not in tried
    table = store.latencies().set_index("measurement_id")
    assert table.attempt[ids[8]] == 2
    assert table.attempts[ids[8]] == 3


def test_the_objective_is_that_of_the_best_design_of_the_very_network(store):
    # Two seeds of one design, then a design that is better than their mean, then another network.
    for seed, optimizer, objective in ((0, "adamw", 0.9), (1, "adamw", 0.5), (2, "sgd", 0.8)):
        store.journal.write(a_record(a_trial(seed, optimizer=optimizer), objective=objective))
    store.journal.write(a_record(a_trial(3, width=16), objective=0.99))
    store.journal.write(a_measurement())
    store.journal.write(a_measurement(32))
    store.ingest()
    table = store.latencies().set_index("n_params", append=True)
    mine = table[table.objective.notna()]
    assert mine.objective.tolist() == [0.8]
    assert mine.trial_id.tolist() == [a_trial(2, optimizer="sgd").id]
    assert mine.metric.tolist() == ["accuracy"]
    assert len(table) == 2


def test_a_rebuild_keeps_what_only_one_of_journal_and_database_holds(store):
    store.journal.write(a_measurement())
    store.ingest()
    shutil.rmtree(store.journal.folder)
    store.journal.write(a_measurement(16))
    report = store.rebuild()
    assert report.measurements == 2
    assert sorted(store.latencies().latency) == [0.008, 0.016]
    assert store.check().healthy
    assert Journal(store.path).taken(MEASUREMENTS)


def test_a_check_finds_what_is_missing(store):
    store.journal.write(a_measurement())
    store.ingest()
    with store.database.write() as connection:
        connection.execute("delete from measurements")
    report = store.check()
    assert report.missing["measurements"] == [a_measurement().id]
    assert (
        "1 measurement is in the journal and missing from the database, or incomplete there"
        in report.problems[0]
    )
    store.rebuild()
    assert store.check().healthy


def test_a_torn_file_is_set_aside_and_holds_up_nobody(store, caplog):
    store.journal.write(a_measurement())
    store.journal.write(a_measurement(16))
    torn = store.journal.new / f"{a_measurement().id}.latency.json"
    torn.write_bytes(torn.read_bytes()[:200])
    store.ingest()
    assert store.latencies().latency.tolist() == [0.016]
    assert [path.name for path in store.journal.quarantined()] == [torn.name]
    assert "it is truncated or corrupt" in caplog.text


def test_a_file_says_what_it_holds():
    measurement = a_measurement()
    sealed = MEASUREMENTS.seal(measurement)
    entry = MEASUREMENTS.open(measurement.id, sealed)
    assert (entry.measurement_id, entry.attempt) == (measurement.benchmark.id, 1)
    assert Measurement.model_validate_json(entry.content) == measurement
    with pytest.raises(TornError, match="checksum"):
        MEASUREMENTS.open(measurement.id, sealed.replace(b"0.008", b"0.007"))
    with pytest.raises(TornError, match=f"it holds measurement {measurement.id}"):
        MEASUREMENTS.open(a_measurement(16).id, sealed)


def test_what_json_cannot_say_is_refused(store):
    with pytest.raises(StoreError, match="cannot be kept"):
        store.journal.write(a_measurement(facts={"x": object()}))


def test_a_benchmark_is_named_by_all_that_changes_its_time():
    one = a_measurement().benchmark
    changes = {
        "batch_size": 2, "device": "gpu", "host": "other", "packages": {"numpy": "2.1"}, "weights": "a" * 16,
        "input_shape": (2, 65), "n_outputs": 4, "fingerprint": "g" * 16,
    }  # fmt: skip
    ids = {one.model_copy(update={name: value}).id for name, value in changes.items()}
    assert len(ids | {one.id, a_measurement(precision="int8").benchmark.id}) == len(changes) + 2


def test_export_has_the_latencies(store, tmp_path):
    import duckdb

    store.journal.write(a_measurement())
    store.ingest()
    files = {path.name: path for path in store.export(tmp_path / "out")}
    found = duckdb.sql(f"select latency from read_parquet('{files['latencies.parquet']}')").fetchall()
    assert found == [(0.008,)]
