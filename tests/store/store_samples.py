"""Trials and records for the tests of the store, and what child processes of them do."""

from __future__ import annotations

import fcntl
import json
import os
import random
from pathlib import Path

from hypothesis import strategies as st

from scalelab.measurements import Benchmark, Footprint, Measurement
from scalelab.predictions import Guess, RegisteredPrediction, Settings, Source
from scalelab.records import Calibration, ComponentRef, CurvePoint, Machine, Provenance, Record, Trial
from scalelab.store.imports import ImportedTable
from scalelab.store.journal import Journal
from scalelab.store.kinds import RECORDS

STARTED = 1.8e9


def rows_of(table: ImportedTable) -> dict[str, list]:
    """The rows of an imported table, by column."""
    import duckdb

    found = duckdb.read_parquet(str(table.rows.path))
    rows = dict(zip(found.columns, map(list, zip(*found.fetchall(), strict=True)), strict=True))
    if "extra" in rows:
        rows["extra"] = [own if own is None else json.loads(own) for own in rows["extra"]]
    return rows


def a_trial(seed: int = 0, *, architecture: str = "net", optimizer: str = "adamw", **params: object) -> Trial:
    return Trial(
        dataset=ComponentRef(name="blobs", params={"n": 64, "noise": 0.5}),
        fingerprint="f" * 16,
        architecture=ComponentRef(name=architecture, params={"width": 8, "depths": [1, 2], **params}),
        optimizer=ComponentRef(name=optimizer, params={"lr": 0.001}),
        n_examples=64,
        seed=seed,
    )


def a_calibration(n: int) -> Calibration:
    return Calibration(
        ece={"no": 0.125, "yes": 0.1},
        counts=(n, 0, n),
        probabilities=(0.2, None, 0.8),
        positives=(8, 0, n - 8),
    )


def a_record(
    trial: Trial | int = 0,
    attempt: int = 1,
    status: str = "done",
    *,
    study: str = "s",
    points: int = 3,
    **facts,
) -> Record:
    trial = a_trial(trial) if isinstance(trial, int) else trial
    curve = tuple(
        CurvePoint(
            step=10 * k, n_seen=80 * k, train_flops=1e6 * k, wall_seconds=0.1 * k, lr=1e-3 / k,
            train_loss=1 / k, loss=None if k == 2 else 1.1 / k, metrics={"accuracy": 1 - 1 / (3 * k)},
            n_validated=40,
        )
        for k in range(1, points + 1)
    )  # fmt: skip
    values = {
        "loss": 0.1 + trial.seed / 7, "loss_last": 0.2, "objective": 0.9, "objective_last": 0.8,
        "best_step": 20, "n_validated": 40, "constant_loss": 0.65,
        "metric": "accuracy", "direction": "maximize",
        "metrics": {"accuracy": 0.9, "auroc": None},
        "test_loss": 0.3, "test_objective": 0.85, "n_tested": 30,
        "test_metrics": {"accuracy": 0.85, "auroc": None},
        "calibration": {"validation": a_calibration(40), "test": a_calibration(30)}, "n_windows": 128,
        "n_available": 500,
        "n_params": 1000 + trial.seed % 1000, "n_params_body": 900, "forward_flops": 1e6,
        "train_flops": 1e12 / 3, "n_steps": 30, "epochs": 3.75, "features": {"stages": 4},
        "precision": "fp32", "wall_seconds": 12.25, "validation_seconds": 0.5, "peak_memory_bytes": 2**31,
        "machine": Machine(
            host="h", pid=7, platform="Linux", cpu="x", cores=2, threads=1, python="3.11", torch="2.6",
            device="cpu",
        ),
        "provenance": {"dataset": Provenance(plugin="p", distribution="d", version="1")},
        "scalelab_version": "0.1.0",
    } if status in ("done", "diverged") else {"error": "the reason"}  # fmt: skip
    return Record(
        trial=trial,
        study=study,
        attempt=attempt,
        status=status,
        curve=curve if status in ("done", "diverged") else (),
        **{"started_at": STARTED + attempt, "finished_at": STARTED + attempt + 0.123456, **values, **facts},
    )


def a_measurement(
    width: int = 8, attempt: int = 1, status: str = "ok", *, precision: str = "f32", **facts
) -> Measurement:
    trial = a_trial(0, width=width)
    benchmark = Benchmark(
        architecture=trial.architecture,
        input_shape=(2, 64),
        n_outputs=3,
        fingerprint=trial.fingerprint,
        backend=ComponentRef(name="fast", params={"precision": precision, "threads": 2}),
        device="cpu",
        host="h",
        packages={"numpy": "2.0"},
    )
    values = {
        "latency": 0.001 * width, "latency_low": 0.0009 * width, "latency_high": 0.0012 * width,
        "p90": 0.1, "p99": 0.2, "call_latency": 0.0011 * width, "n_calls": 100, "n_rounds": 5,
        "settled": False, "throughput": 1000 / width, "threads": 2,
        "seconds": {"convert": 0.5, "load": 0.25}, "model_bytes": 4000, "relative_error": 1e-6,
        "footprint": Footprint(
            n_params=1000, forward_flops=1e6, grouped_flops=0.0, activation_bytes=3e4, n_ops=20, n_layers=5
        ),
    } if status == "ok" else {"reason": "the reason"}  # fmt: skip
    return Measurement(
        benchmark=benchmark, attempt=attempt, status=status, study="s", started_at=STARTED,
        finished_at=STARTED + attempt, **{**values, **facts},
    )  # fmt: skip


def a_prediction(**filters: str) -> RegisteredPrediction:
    guess = Guess(rule="law", value=0.5, lower=0.4, upper=0.7, slopes={"n_params": -0.1})
    return RegisteredPrediction(
        dataset="blobs", architecture="net", optimizer="adamw", at={"n_params": 1e6}, level=0.9, law=guess,
        settings=Settings(same={"dataset": "blobs", "optimizer_lr": 0.001}, free=("architecture_width",)),
        baselines=(guess.model_copy(update={"rule": "last value"}),),
        source=Source(
            law="power", equation="L = A * x^-alpha", estimator="log-huber", seed=0, on="validation",
            charge="last", filters=filters, studies=("s",), n_points=5, selection="all", data_hash="d" * 64,
        ),
    )  # fmt: skip


def opened(name: str, text: bytes) -> Record:
    """Returns the record in the text of a journal file."""
    entry = RECORDS.open(name, text)
    content = {"trial": entry.trial.value, "features": entry.features}
    return Record.model_validate({**json.loads(entry.record), **content})


def kept(journal: Journal, name: str) -> Record:
    """Returns a record of the journal."""
    (path,) = journal.folder.glob(f"*/**/{name}.json")
    return opened(name, path.read_bytes())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
numbers = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def records(draw) -> Record:
    params = draw(st.dictionaries(st.text(max_size=6), json_values, max_size=4))
    return a_record(
        a_trial(draw(st.integers(0, 2**63 - 1)), **{f"p{key}": value for key, value in params.items()}),
        draw(st.integers(1, 10**6)),
        draw(st.sampled_from(["done", "diverged", "failed", "interrupted"])),
        study=draw(st.text()),
        error=draw(st.none() | st.text()),
        loss=draw(numbers),
        metrics=draw(st.dictionaries(st.text(max_size=5), numbers, max_size=3)),
        features=draw(
            st.dictionaries(
                st.text(max_size=5),
                st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                max_size=3,
            )
        ),
        started_at=draw(st.floats(0, 1e10)),
    )


def merge_after_mark(path: str, other: str, mark: str) -> None:
    """Takes over what another store holds, after saying that it begins."""
    from scalelab.store import Store

    Path(mark).touch()
    Store(path).merge(other)


def ingest_for_ever(path: str, acknowledged: str, start: int) -> None:
    """Writes record after record, notes each that was acknowledged, and ingests in between."""
    from scalelab.store import Store

    store = Store(path)
    notes = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for seed in range(start, start + 100_000):
        # Every tenth record brings a new option, so that kills also hit the making of columns.
        options = {f"option_{seed}": seed} if seed % 10 == 0 else {}
        record = a_record(a_trial(seed, **options))
        store.journal.write(record)
        os.write(notes, f"{record.id}\n".encode())
        if seed % 3 == 0:
            store.ingest()


def coordinate(path: str, marks: str, seeds: int, violations: str, chance: int) -> None:
    """Attempts trials as a coordinator does, and notes when somebody else is at the same one."""
    from scalelab.store import Store

    dice = random.Random(chance)
    store = Store(path)
    trials = {trial.id: trial for trial in map(a_trial, range(seeds))}
    while True:
        store.claims.reap()
        store.ingest()
        outcomes = store.outcomes(trials)
        open_ones = [key for key in trials if key not in outcomes or outcomes[key].status != "done"]
        if not open_ones:
            return
        dice.shuffle(open_ones)
        for key in open_ones[:5]:
            attempt = outcomes[key].attempts + 1 if key in outcomes else 1
            claim = store.claims.claim(key, "s", attempt)
            if claim is not None:
                _attempt(store, trials[key], attempt, Path(marks), violations, dice)
                store.claims.release(claim)


def _attempt(store, trial, attempt, marks, violations, dice) -> None:
    with (marks / trial.id).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Path(violations).open("a", encoding="utf-8") as file:
                file.write(f"{trial.id} at the same time\n")
        status = "failed" if dice.random() < 0.2 else "done"
        store.journal.write(a_record(trial, attempt, status))
        with Path(violations + ".attempts").open("a", encoding="utf-8") as file:
            file.write(f"{trial.id}-{attempt}\n")
