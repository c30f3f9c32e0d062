"""Sources in the formats of trackers, written without them, for tests that need no library."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib

import duckdb
import pandas as pd

import scalelab
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

SIZES = [10_000 * 4**i for i in range(6)]


def loss_of(n_params):
    """The loss of a size: an exact law."""
    return 1.5 + 30 * n_params**-0.3


def check_law(source, tmp_path):
    """Makes sure that the law of runs of a source is that of their numbers, to the last bit."""
    store = scalelab.open_store(tmp_path / "t.duckdb", create=True)
    scalelab.import_runs(source, store, study="t")
    runs = store.runs("t").query("status == 'done'").sort_values("n_params")
    imported = scalelab.fit_law("power", runs["n_params"], runs["loss"])
    direct = scalelab.fit_law("power", SIZES, [loss_of(size) for size in SIZES])
    assert imported.params == direct.params


def read(source, **options):
    """Returns what was read of a source, and its rows as a DataFrame with options and facts as columns."""
    found = read_runs(source, Wanted(**options))
    rows = duckdb.read_parquet(str(found.table.rows.path)).df()
    facts = pd.DataFrame([json.loads(text) for text in rows["extra"]], index=rows.index)
    return found, rows.drop(columns="extra").join(facts)


OPTUNA = """
create table studies (study_id integer primary key, study_name varchar);
create table study_directions (study_id integer, objective integer, direction varchar);
create table study_system_attributes (study_id integer, key varchar, value_json text);
create table trials (
    trial_id integer primary key, number integer, study_id integer, state varchar, datetime_start datetime,
    datetime_complete datetime
);
create table trial_params (trial_id integer, param_name varchar, param_value float, distribution_json text);
create table trial_values (trial_id integer, objective integer, value float, value_type varchar);
create table trial_intermediate_values (
    trial_id integer, step integer, intermediate_value float, intermediate_value_type varchar
);
create table trial_user_attributes (trial_id integer, key varchar, value_json text);
"""
INT = json.dumps({"name": "IntDistribution", "attributes": {"low": 1, "high": 9**9, "step": 1, "log": True}})
CHOICE = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": ["relu", None, [1]]}})


def optuna_database(path, trials, *, directions=("MINIMIZE",), name="s"):
    """Adds a study of trials to a database: (state, n_params, values, intermediate values)."""
    new = not path.exists()
    with sqlite3.connect(path) as db:
        if new:
            db.executescript(OPTUNA)
        study = db.execute("insert into studies (study_name) values (?)", [name]).lastrowid
        for at, direction in enumerate(directions):
            db.execute("insert into study_directions values (?, ?, ?)", [study, at, direction])
        for number, (state, n_params, values, reports) in enumerate(trials):
            times = ["2026-01-01 10:00:00.000000", "2026-01-01 10:01:30.500000"]
            trial = db.execute(
                "insert into trials (number, study_id, state, datetime_start, datetime_complete) "
                "values (?, ?, ?, ?, ?)", [number, study, state, *times],
            ).lastrowid  # fmt: skip
            db.execute("insert into trial_params values (?, 'n_params', ?, ?)", [trial, n_params, INT])
            db.execute("insert into trial_params values (?, 'act', ?, ?)", [trial, number % 3, CHOICE])
            for at, value in enumerate(values):
                kind = "FINITE" if value is not None else "INF_POS"
                db.execute("insert into trial_values values (?, ?, ?, ?)", [trial, at, value, kind])
            for step, value in enumerate(reports):
                row = [trial, step, value, "FINITE"]
                db.execute("insert into trial_intermediate_values values (?, ?, ?, ?)", row)
    db.close()
    return path


MLFLOW = """
create table experiments (experiment_id integer primary key, name varchar, lifecycle_stage varchar);
create table runs (
    run_uuid varchar primary key, name varchar, status varchar, start_time bigint, end_time bigint,
    lifecycle_stage varchar, experiment_id integer
);
create table params (key varchar, value varchar, run_uuid varchar);
create table tags (key varchar, value varchar, run_uuid varchar);
create table latest_metrics (key varchar, value float, run_uuid varchar);
create table metrics (
    key varchar, value float, timestamp bigint, run_uuid varchar, step bigint, is_nan boolean
);
insert into experiments values (0, 'Default', 'active'), (1, 'sizes', 'active');
"""


def mlflow_database(path, runs):
    """Writes a database of runs: (key, status, n_params, [(step, value), …])."""
    with sqlite3.connect(path) as db:
        db.executescript(MLFLOW)
        for key, status, n_params, reports in runs:
            mlflow_run(db, key, status, n_params, reports)
    db.close()
    return path


def mlflow_run(db, key, status, n_params, reports, stage="active"):
    """Adds a run to an open database."""
    db.execute("insert into runs values (?, ?, ?, 1000, 61000, ?, 1)", [key, f"run {key}", status, stage])
    db.execute("insert into params values ('n_params', ?, ?)", [str(n_params), key])
    for at, (step, value) in enumerate(reports):
        row = ["val_loss", value or 0.0, 2000 + at, key, step, value is None]
        db.execute("insert into metrics values (?, ?, ?, ?, ?, ?)", row)


def mlflow_folder(folder, key, status, n_params, reports, stage="active"):
    """Writes a run into a folder `mlruns`; the status as its number."""
    experiment = folder / "1"
    run = experiment / key
    for name in ("params", "metrics", "tags"):
        (run / name).mkdir(parents=True)
    (experiment / "meta.yaml").write_text("experiment_id: '1'\nlifecycle_stage: active\nname: sizes\n")
    (run / "meta.yaml").write_text(
        f"run_id: '{key}'\nrun_name: run {key}\nstatus: {status}\nlifecycle_stage: {stage}\n"
        "start_time: 1000\nend_time: 61000\n"
    )
    (run / "params" / "n_params").write_text(str(n_params))
    (run / "tags" / "mlflow.user").write_text("somebody")
    (run / "tags" / "team").write_text("blue")
    lines = [f"{2000 + at} {value} {step}\n" for at, (step, value) in enumerate(reports)]
    (run / "metrics" / "val_loss").write_text("".join(lines))
    return run


def message(*fields):
    """Returns a message of protocol buffers whose fields are bytes, whole numbers or doubles."""
    parts = []
    for number, value in fields:
        if isinstance(value, bytes):
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
        elif isinstance(value, float):
            parts.append(varint(number << 3 | 1) + struct.pack("<d", value))
        else:
            parts.append(varint(number << 3) + varint(value))
    return b"".join(parts)


def varint(value):
    """Returns a whole number as a message has it."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def wandb_log(records):
    """Returns the log of a run, given its records."""
    data = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        start = 0
        while start < len(record):
            left = 2**15 - len(data) % 2**15
            if left < 7:
                data += bytes(left)
                continue
            piece = record[start : start + left - 7]
            first, start = not start, start + len(piece)
            last = start == len(record)
            kind = 1 if first and last else 2 if first else 4 if last else 3
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            data += struct.pack("<IHB", checksum, len(piece), kind) + piece
    return bytes(data)


def wandb_records(key, config, steps, *, exit_code=0, project="p", name="a run"):
    """Yields the records of a run whose `wandb.log` was called once a step, with values by name."""
    updates = [
        (1, message((1, text.encode()), (16, json.dumps(value).encode()))) for text, value in config.items()
    ]
    told = (1, key.encode()), (3, project.encode()), (8, name.encode())
    yield message((1, 1), (17, message(*told, (4, message(*updates)))))
    for step, values in steps:
        items = [
            (1, message((2, text.encode()), (16, json.dumps(value).encode())))
            for text, value in (values | {"_step": step, "_runtime": step + 0.5}).items()
        ]
        yield message((1, 2), (2, message(*items, (2, message((1, step))))))
    if exit_code is not None:
        yield message((1, 3), (18, message((1, exit_code)) if exit_code else message((2, 0))))


def wandb_folder(folder, key, records, started="20260101_000000"):
    """Writes the folder of one start of a run."""
    start = folder / f"run-{started}-{key}"
    start.mkdir(parents=True)
    (start / f"run-{key}.wandb").write_bytes(records if isinstance(records, bytes) else wandb_log(records))
    return start
