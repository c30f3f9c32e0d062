"""How fast the store takes in records, and how fast it answers over many runs.

Run: `python benchmarks/store.py [--records 100000] [--runs 1000000]`; prints one Markdown table. The
records are ingested as they are after a crash: written to the journal as files, taken in by one
`Store.ingest`. The runs of the queries are made by DuckDB itself, in the same tables, with 5% of the trials
attempted twice.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

import scalelab
from scalelab.records import ComponentRef, CurvePoint, Machine, Record, Trial
from scalelab.store import Store, open_store

REGISTERED = 10_000
QUERIES = {
    "rows of one study (of ten)": "select count(*) from runs where study = 's3'",
    "best loss by optimizer and size": """
        select optimizer, n_params, min(loss), count(*) from runs
        where status = 'done' group by all order by all""",
    "points of a scaling law": """
        select n_params, n_examples, train_flops, loss from runs
        where study = 's3' and status = 'done' and loss is not null""",
    "Pareto front of loss against FLOPs": """
        select train_flops, loss from (
            select train_flops, loss, min(loss) over (order by train_flops, loss) as front from runs)
        where loss = front""",
    "mean loss by an architecture's option": """
        select architecture_width, avg(loss), stddev(loss) from runs group by all order by all""",
    "the ten best runs, all columns": "select * from runs order by objective limit 10",
    "mean accuracy, out of the metrics' JSON": "select avg((metrics->>'accuracy')::double) from runs",
}


def record(i: int, study: str = "bench") -> Record:
    trial = Trial(
        dataset=ComponentRef(name="synthetic-ecg", params={"n_records": 1000, "leads": 12, "noise": 0.1}),
        fingerprint="0123456789abcdef" * 4,
        architecture=ComponentRef(
            name="convnext1d",
            params={"width": 8 * (i % 16 + 1), "depths": [1, 1, 2, 1], "kernel": 7, "drop_path": 0.1},
        ),
        optimizer=ComponentRef(
            name="adamw", params={"lr": 0.001, "weight_decay": 0.05, "betas": [0.9, 0.999]}
        ),
        n_examples=1000 * (i % 5 + 1),
        seed=i,
    )
    curve = tuple(
        CurvePoint(
            step=10 * k, n_seen=640 * k, train_flops=1e9 * k, wall_seconds=0.1 * k, lr=1e-3 / k,
            train_loss=1 / k, loss=1.1 / k + 1e-6 * i, metrics={"accuracy": 1 - 0.5 / k},
        )
        for k in range(1, 11)
    )  # fmt: skip
    machine = Machine(
        host="h",
        pid=1,
        platform="Linux",
        cpu="x",
        cores=2,
        threads=1,
        python="3.11",
        torch="2.6",
        device="cpu",
    )
    return Record(
        trial=trial, study=study, attempt=1, status="done", metric="accuracy", direction="maximize",
        loss=0.11, loss_last=0.11, objective=0.95, objective_last=0.95, best_step=100,
        metrics={"accuracy": 0.95}, curve=curve, n_params=1000 * (i % 16 + 1), n_params_body=900,
        forward_flops=1e6, train_flops=1e12, n_steps=100, epochs=6.4, features={"stages": 4},
        precision="fp32", wall_seconds=12.5, peak_memory_bytes=2**30, machine=machine,
        scalelab_version="0.1.0", started_at=1.8e9 + i, finished_at=1.8e9 + i + 12.5,
    )  # fmt: skip


def seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Returns the median wall time."""
    return timed(action, repeats)[0]


def timed(action: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
    """Returns the median wall time and this process's median CPU time, less blurred on a busy machine."""
    times = []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        action()
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, used = zip(*times, strict=True)
    return statistics.median(wall), statistics.median(used)


def rate(n: int, times: tuple[float, float]) -> str:
    wall, cpu = times
    return f"{wall:.1f} s ({cpu:.1f} s CPU): {n / wall:,.0f} records/s ({n / cpu:,.0f} a CPU second)"


def ingest(folder: Path, n: int) -> list[tuple[str, str]]:
    store = open_store(folder / "ingest.duckdb", create=True)
    made = [record(i) for i in range(500)]
    durable = seconds(lambda: [store.journal.write(one) for one in made]) / len(made)
    store.ingest()
    planned = [record(i) for i in range(500, REGISTERED + 500)]
    registering = seconds(lambda: store.register("bench", "", [one.trial for one in planned]))
    for one in planned:
        store.journal.write(one, durable=False)
    as_run = timed(store.ingest)
    for i in range(REGISTERED + 500, n + 500):
        store.journal.write(record(i), durable=False)
    taken = timed(store.ingest)
    ids = [one.trial.id for one in made]
    one_more = []
    for i in range(10):
        store.journal.write(record(n + 500 + i))
        one_more.append(seconds(store.ingest))
    again = timed(store.rebuild)
    return [
        ("write one record to the journal, fsynced", f"{durable * 1e3:.2f} ms"),
        (f"register a study of {REGISTERED:,} trials", f"{registering:.1f} s"),
        (f"ingest {REGISTERED:,} records of a registered study, as a run does", rate(REGISTERED, as_run)),
        (
            f"ingest {n - REGISTERED:,} records of trials that were never registered",
            rate(n - REGISTERED, taken),
        ),
        (f"ingest one record more, into {n:,}", f"{statistics.median(one_more) * 1e3:.0f} ms"),
        (
            f"ask for the outcomes of 500 trials, of {n:,}",
            f"{seconds(lambda: store.outcomes(ids), 5) * 1e3:.0f} ms",
        ),
        (f"rebuild the database of {n:,} records", rate(n, again)),
    ]


def fill(store: Store, n: int) -> None:
    """Multiplies the store's one record to n trials in ten studies."""
    store.journal.write(record(0))
    store.ingest()
    with store.database.write() as connection:
        connection.execute(
            f"""insert into trials by name
            select * exclude (i) replace (md5(i::varchar)[:16] as trial_id, 1000 * (1 + i % 5) as n_examples,
                i as seed, 8 * (1 + i % 16) as architecture_width) from trials, range({n}) r(i)"""
        )
        connection.execute(
            f"""insert into records by name
            with made as (
                select * replace (md5(i::varchar)[:16] as trial_id,
                    (1000 * (1 + i % 16))::bigint as n_params, 1e9 * (1 + i % 1000) as train_flops,
                    0.1 + random() as loss, random() as objective,
                    case when i % 3 = 0 then 'failed' else 'done' end as status,
                    json_object('accuracy', random()) as metrics)
                from records, range({n}) r(i))
            select * exclude (i) from made
            union all
            select * exclude (i) replace (2 as attempt, 'done' as status) from made where i % 20 = 0"""
        )
        connection.execute(
            f"""insert into study_trials
            select 's' || (i % 10), md5(i::varchar)[:16], i, true from range({n}) r(i)"""
        )
        connection.execute("checkpoint")


def queries(folder: Path, n: int) -> list[tuple[str, str]]:
    store = open_store(folder / "queries.duckdb", create=True)
    fill(store, n)
    rows = []
    asked: dict[str, Callable[[], object]] = {
        f"{name}, over {n:,} runs": partial(store.rows, query) for name, query in QUERIES.items()
    }
    asked[f"runs of one study as a DataFrame ({n // 10:,} rows)"] = partial(store.runs, "s3")
    asked[f"state of ten studies of {n // 10:,} trials"] = store.studies
    for name, action in asked.items():
        wall, cpu = timed(action, 3)
        rows.append((name, f"{wall:.2f} s ({cpu:.2f} s CPU)"))
    rows.append(("size of the database", f"{store.path.stat().st_size / 1e6:.0f} MB"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="more than 10,000")
    parser.add_argument("--runs", type=int, default=1_000_000)
    options = parser.parse_args()
    import duckdb

    with tempfile.TemporaryDirectory() as name:
        rows = ingest(Path(name), options.records) + queries(Path(name), options.runs)
    print(
        f"scalelab {scalelab.__version__}, DuckDB {duckdb.__version__}, Python {platform.python_version()}, "
        f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}\n"
    )
    print("| what | time |\n|---|---|")
    for what, value in rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
