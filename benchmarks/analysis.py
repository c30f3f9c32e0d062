"""What an analysis takes, beside another checkout: CPU seconds of `scalelab analyze`, alternated; a ratio.

    python benchmarks/analysis.py [--against ROOT] [--repeats 3] [--families 100] [--runs 100000]

With `--against`, the stores of `mitbih-convnext` and `mitbih-design` that the other checkout keeps are
analyzed by its code and, migrated copies of them, by this one. Imported runs, a table of families with a
known law, are analyzed by this code alone: by the wall clock, on all cores, with and without `--no-trees`.
Without `--against` this checkout's own stores are measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parents[1]
STORES = {
    "`analyze` of {runs} runs": ("examples/mitbih-convnext.duckdb", ()),
    "`analyze --design` of {runs} runs": ("examples/mitbih-design.duckdb", ("--design",)),
}


def scalelab(root: Path, *arguments: str) -> tuple[float, float]:
    """Runs a command of a checkout; returns its CPU seconds, with its processes, and its wall time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "scalelab.cli", *arguments], cwd=root, check=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start


def imported(families: int, runs: int, path: Path) -> None:
    """Writes a table of families with laws L(N, D) of their own: a grid of ten sizes and ten lengths each."""
    rng = np.random.default_rng(0)
    sizes, lengths = np.geomspace(1e5, 1e8, 10).astype(int), np.geomspace(1e6, 1e9, 10).astype(int)
    cells = np.resize(np.arange(100), runs // families)
    tables = []
    for family in range(families):
        low, alpha, beta = rng.uniform(0.5, 1.5), rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4)
        n, d = sizes[cells // 10], lengths[cells % 10]
        loss = low + rng.uniform(20, 60) * n**-alpha + rng.uniform(20, 60) * d**-beta
        noisy = loss * np.exp(0.01 * rng.normal(size=cells.size))
        names = {"dataset": f"data{family // 10}", "architecture": f"net{family % 10}", "optimizer": "adamw"}
        seeds = np.arange(cells.size) // 100
        tables.append(pd.DataFrame({**names, "n_params": n, "n_examples": d, "seed": seeds, "loss": noisy}))
    pd.concat(tables).to_csv(path, index=False)


def beside(other: Path | None, repeats: int, folder: Path) -> None:
    import duckdb

    print("| what | here, CPU s | there, CPU s | here / there |\n|---|---|---|---|")
    for number, (what, (name, options)) in enumerate(STORES.items()):
        copies = {}
        for root in filter(None, (HERE, other)):
            copies[root] = folder / f"{number}-{len(copies)}.duckdb"
            held = (other or HERE) / name
            # Where the reference study was not yet in the root, the 48 runs were.
            shutil.copy(held if held.exists() else held.parents[1] / "experiments.duckdb", copies[root])
        scalelab(HERE, "store", "migrate", "--store", str(copies[HERE]))
        with duckdb.connect(str(copies[HERE]), read_only=True) as connection:
            (n_runs,) = connection.sql("SELECT count(*) FROM runs").fetchall()[0]
        seconds: dict[Path, list[float]] = {root: [] for root in copies}
        for _ in range(repeats):
            for root, store in copies.items():
                seconds[root].append(scalelab(root, "analyze", "--store", str(store), *options)[0])
        here = seconds[HERE]
        row = [f"{statistics.median(here):.1f} ({min(here):.1f} to {max(here):.1f})", "–", "–"]
        if other:
            there = seconds[other]
            ratios = statistics.median(a / b for a, b in zip(here, there, strict=True))
            row[1:] = [
                f"{statistics.median(there):.1f} ({min(there):.1f} to {max(there):.1f})",
                f"{ratios:.2f}",
            ]
        print(f"| {what.format(runs=n_runs)} | {' | '.join(row)} |", flush=True)


def many(families: int, runs: int, folder: Path) -> None:
    table, store = folder / "many.csv", str(folder / "many.duckdb")
    imported(families, runs, table)
    scalelab(HERE, "import", str(table), "--store", store)
    print(f"\n| {runs:,} imported runs of {families} families | CPU s | wall s |\n|---|---|---|")
    for options in (("--no-trees", "--axis", "n_params"), ("--no-trees",), ()):
        cpu, wall = scalelab(HERE, "analyze", "--store", store, *options)
        print(f"| `analyze{''.join(f' {one}' for one in options)}` | {cpu:.1f} | {wall:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="another checkout, such as a clone of an older commit")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--families", type=int, default=100)
    parser.add_argument("--runs", type=int, default=100_000, help="imported ones; 0 leaves that part out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.repeats:
            beside(options.against and options.against.resolve(), options.repeats, Path(folder))
        if options.runs:
            many(options.families, options.runs, Path(folder))


if __name__ == "__main__":
    main()
