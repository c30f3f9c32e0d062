"""What importing a table of a million rows takes: peak memory and seconds of the command, CSV and Parquet.

python benchmarks/import_memory.py [--rows 1000000] [--columns 4]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path


def write(folder: str, n_rows: int, n_columns: int) -> None:
    """Writes runs of two optimizers, with further columns of numbers and one of text."""
    import duckdb
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    columns = {
        "n_params": draw.integers(1_000, 10_000_000, n_rows),
        "n_examples": draw.integers(1_000, 10_000_000, n_rows),
        "loss": draw.uniform(0.5, 2.0, n_rows),
        "optimizer": draw.choice(["adam", "sgd"], n_rows),
        "note": [f"run-{i}" for i in range(n_rows)],
    }
    columns |= {f"fact_{i}": draw.normal(size=n_rows) for i in range(n_columns)}
    runs = pd.DataFrame(columns)
    runs.to_csv(Path(folder, "runs.csv"), index=False)
    duckdb.from_df(runs).write_parquet(f"{folder}/runs.parquet")


def run(*arguments: str) -> tuple[float, float]:
    """Runs a scalelab command; returns its seconds and the peak of its resident memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "scalelab.cli", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"scalelab {' '.join(arguments)} ended with {process.returncode}")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss / unit


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a command's peak counts from that of the process which starts it.
        maker = get_context("spawn").Process(target=write, args=(folder, asked.rows, asked.columns))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the tables could not be made")
        for ending in ("csv", "parquet"):
            store = f"{folder}/{ending}.duckdb"
            for arguments in (
                ["import", f"{folder}/runs.{ending}"],
                ["status"],
                ["store", "check"],
                ["store", "rebuild"],
            ):
                seconds, peak = run(*arguments, "--store", store)
                what = " ".join(arguments).replace(f"{folder}/", "")
                print(f"{what:22s} {seconds:7.1f} s {peak:8.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
