"""What importing runs with long curves takes, beside a plain-Python reading of the same files.

Writes runs as MLflow's SQLite database and as folders of Weights & Biases, imports each with the command, and
reads each in plain Python into lists: MLflow's with sqlite3, the logs with the messages of the package
`wandb`, which must be installed for that.

python benchmarks/import_trackers.py [--runs 10000] [--points 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

TABLES = """
create table experiments (
    experiment_id integer primary key, name varchar(256) unique, lifecycle_stage varchar(32)
);
create table runs (
    run_uuid varchar(32) primary key, name varchar(250), status varchar(9), start_time bigint,
    end_time bigint, lifecycle_stage varchar(20), experiment_id integer
);
create table params (
    key varchar(250), value varchar(8000), run_uuid varchar(32), primary key (key, run_uuid)
);
create table tags (
    key varchar(250), value varchar(8000), run_uuid varchar(32), primary key (key, run_uuid)
);
create table latest_metrics (
    key varchar(250), value float, timestamp bigint, step bigint, is_nan boolean, run_uuid varchar(32),
    primary key (key, run_uuid)
);
create table metrics (
    key varchar(250) not null, value float not null, timestamp bigint not null, run_uuid varchar(32) not null,
    step bigint default '0' not null, is_nan boolean default '0' not null,
    primary key (key, timestamp, step, run_uuid, value, is_nan)
);
create index index_metrics_run_uuid on metrics (run_uuid);
"""
"""Those of MLflow 3.17, without what no import reads."""


def loss_of(run: int, step: int) -> float:
    return 1.5 + 30 * (10_000.0 * 1.001**run) ** -0.3 + 2.0 / (step + 1)


def write_mlflow(path: Path, n_runs: int, n_points: int) -> None:
    """Writes a database of one metric."""
    with sqlite3.connect(path) as connection:
        connection.execute("pragma synchronous = off")
        connection.executescript(TABLES)
        connection.execute("insert into experiments values (0, 'sizes', 'active')")
        for run in range(n_runs):
            key = f"{run:032x}"
            connection.execute(
                "insert into runs values (?, ?, 'FINISHED', 1000, 900000, 'active', 0)", [key, f"run-{run}"]
            )
            params = [("n_params", str(int(10_000 * 1.001**run)), key), ("lr", "0.1", key)]
            connection.executemany("insert into params values (?, ?, ?)", params)
            reports = [
                ("val_loss", loss_of(run, step), 1000 + step, key, step, 0) for step in range(n_points)
            ]
            connection.executemany("insert into metrics values (?, ?, ?, ?, ?, ?)", reports)


def read_mlflow(path: Path) -> int:
    """Reads it as a script would that wants the curves."""
    connection, n_points = sqlite3.connect(path), 0
    for key, name, status, *_ in connection.execute("select * from runs").fetchall():
        run = {"name": name, "status": status, "curves": {}}
        run["params"] = dict(
            connection.execute("select key, value from params where run_uuid = ?", [key]).fetchall()
        )
        rows = connection.execute(
            "select key, step, timestamp, value from metrics where run_uuid = ? order by key, step", [key]
        )
        for metric, step, at, value in rows:
            run["curves"].setdefault(metric, []).append({"step": step, "time": at, "value": value})
        n_points += sum(map(len, run["curves"].values()))
    return n_points


def message(*fields: tuple[int, bytes]) -> bytes:
    """Returns a message of protocol buffers whose fields are texts or messages."""
    return b"".join(varint(number << 3 | 2) + varint(len(text)) + text for number, text in fields)


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])


def log(records: Iterator[bytes]) -> bytes:
    """Returns a log of Weights & Biases."""
    data = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        kind, start = 1, 0
        while start < len(record) or not start:
            left = 2**15 - len(data) % 2**15
            if left < 7:
                data += bytes(left)
                continue
            piece = record[start : start + left - 7]
            start += len(piece)
            last = start == len(record)
            kind = (1 if last else 2) if start == len(piece) else (4 if last else 3)
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            data += struct.pack("<IHB", checksum, len(piece), kind) + piece
    return bytes(data)


def write_wandb(folder: Path, n_runs: int, n_points: int) -> None:
    """Writes a folder a run, with the six values at each step that `wandb.log` of two metrics writes."""
    for run in range(n_runs):
        start = folder / f"run-20261101_000000-{run:08d}"
        start.mkdir(parents=True)
        config = {"n_params": int(10_000 * 1.001**run), "lr": 0.1}
        (start / f"run-{run:08d}.wandb").write_bytes(log(records(run, config, n_points)))


def records(run: int, config: dict[str, float], n_points: int) -> Iterator[bytes]:
    updates = [
        (1, message((1, name.encode()), (16, json.dumps(value).encode()))) for name, value in config.items()
    ]
    names = (1, f"{run:08d}".encode()), (3, b"sizes"), (8, f"run-{run}".encode())
    yield message((17, message(*names, (4, message(*updates)))))
    for step in range(n_points):
        told = {"val_loss": loss_of(run, step), "loss": 1 / (step + 1), "_timestamp": 1.79e9 + step}
        told |= {"_runtime": step + 0.5, "_step": step}
        items = [(1, message((2, name.encode()), (16, repr(value).encode()))) for name, value in told.items()]
        yield message((2, message(*items)))
    yield message((18, b""))


def read_wandb(folder: Path) -> int:
    """Reads the logs with the messages of the package."""
    record_of = import_module("wandb.proto.wandb_internal_pb2").Record
    n_points = 0
    for path in sorted(folder.glob("run-*/*.wandb")):
        data, at, parts, run = path.read_bytes(), 7, b"", {"config": {}, "curves": {}}
        while at < len(data):
            left = 2**15 - at % 2**15
            if left < 7:
                at += left
                continue
            _, size, kind = struct.unpack_from("<IHB", data, at)
            parts += data[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):
                record = record_of()
                record.ParseFromString(parts)
                parts = b""
                take(record, run)
        n_points += len(run["curves"]["val_loss"])
    return n_points


def take(record: object, run: dict) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
    elif kind == "history":
        told = {".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name, value in told.items():
            if not name.startswith("_"):
                point = {"step": told["_step"], "time": told["_runtime"], "value": value}
                run["curves"].setdefault(name, []).append(point)


def timed(arguments: list[str]) -> tuple[float, float, float]:
    """Runs Python; returns its seconds of CPU and of wall, and the peak of its resident memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / unit


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        {"mlflow": read_mlflow, "wandb": read_wandb}[asked.read[0]](Path(asked.read[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("mlflow", write_mlflow), ("wandb", write_wandb)):
            place = Path(folder, name)
            maker = get_context("spawn").Process(target=write, args=(place, asked.runs, asked.points))
            maker.start()
            maker.join()
            command = ["-m", "scalelab.cli", "import", str(place), "--store", f"{folder}/{name}.duckdb"]
            told = {
                "plain": timed([__file__, "--read", name, str(place)]),
                "import": timed(command),
                "import again": timed(command),
                "status": timed(["-m", "scalelab.cli", "status", "--store", f"{folder}/{name}.duckdb"]),
            }
            for what, (cpu, wall, peak) in told.items():
                ratio = cpu / told["plain"][0]
                line = f"{name:7s} {what:13s} {cpu:7.1f} s of CPU {wall:7.1f} s {peak:6.0f} MiB"
                print(f"{line} {ratio:5.2f} × plain", flush=True)


if __name__ == "__main__":
    main()
