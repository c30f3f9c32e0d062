"""What nobody should have to wait for: the CPU seconds of each, the least of some repeats.

    python benchmarks/quick.py [--repeats 5] [--mitdb DIR] [--challenge DIR]

DIR holds the records of the MIT-BIH Arrhythmia Database, or some of PhysioNet/CinC Challenge 2021; without
them the rows about reading records are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from store import record

import scalelab
from scalelab.store import open_store
from scalelab.study import expand

PLUGINS = """
import time
import scalelab.components, scalelab.records, pluggy, importlib.metadata
start = time.process_time()
from scalelab.plugins import load_plugins
load_plugins()
print(time.process_time() - start)
"""
STUDY = """
name = "quick"
seeds = [0, 1, 2, 3, 4]
[dataset]
name = "synthetic-ecg"
options = { n_train = 1000, n_validation = 100, n_test = 0 }
[data]
sizes = [100, 200, 500, 1000]
[[architecture]]
name = "convnext1d"
space = { width = [8, 16, 32, 64], depth = [0.5, 1.0, 1.5, 2.0] }
[[optimizer]]
name = "adamw"
space = { lr = [0.001, 0.003, 0.01] }
[sampling]
method = "grid"
[training]
length = { steps = 100 }
"""


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Returns the least CPU time of an action."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def rows(repeats: int, folder: Path) -> Iterator[tuple[str, float]]:
    """Yields what is timed, and its seconds."""
    command = [sys.executable, "-c", PLUGINS]
    loads = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(repeats)]
    yield "load all bundled plugins", min(float(done.stdout) for done in loads)

    (folder / "study.toml").write_text(STUDY)
    catalog = scalelab.load_plugins()
    study = scalelab.load_study(folder / "study.toml", catalog)
    n_trials = len(expand(study, catalog).trials)
    yield f"expand a study of {n_trials} trials", seconds(lambda: expand(study, catalog), repeats)

    store = open_store(folder / "store.duckdb", create=True)
    records = [record(i) for i in range(1000)]
    store.register("bench", "", [one.trial for one in records])
    for one in records:
        store.journal.write(one, durable=False)
    store.ingest()
    ids = [one.trial.id for one in records]
    yield "outcomes of 1,000 trials", seconds(lambda: store.outcomes(ids), repeats)

    rng = np.random.default_rng(0)
    n, d = (np.exp(rng.uniform(np.log(low), np.log(high), 240)) for low, high in ((5e7, 1e10), (1e9, 3e11)))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(rng.normal(0, 0.01, n.size))
    fit = scalelab.fit_law("chinchilla", {"n_params": n, "n_examples": d}, loss)
    yield "4,000 refits of `chinchilla` to 240 runs", seconds(lambda: fit.bootstrap(4000), repeats)

    x = np.exp(rng.uniform(np.log(1e5), np.log(1e9), 1_000_000))
    y = (1.5 + 300 * x**-0.4) * np.exp(rng.normal(0, 0.02, x.size))
    yield "fit `power-offset` to a million rows", seconds(lambda: scalelab.fit_law("power-offset", x, y), 1)


def reading(repeats: int, mitdb: Path | None, challenge: Path | None) -> Iterator[tuple[str, float]]:
    """Yields what is timed of real records, and its seconds."""
    if mitdb is not None:
        from scalelab_plugins.mitbih import MitbihParams, open_mitbih

        params = MitbihParams(path=mitdb)
        open_mitbih(params)
        yield "open `mitbih` again", seconds(lambda: open_mitbih(params), repeats)
    if challenge is not None:
        import wfdb
        from scalelab_plugins.physionet2021.records import find_records, read_record

        headers = find_records(challenge)[::4]
        ours = np.median([seconds(lambda h=h: read_record(h), 1) for h in headers])
        theirs = np.median([seconds(lambda h=h: wfdb.rdrecord(str(h)[:-4]), 1) for h in headers])
        yield f"read a record of twelve leads ({theirs / ours:.1f} times as fast as wfdb)", float(ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mitdb", type=Path)
    parser.add_argument("--challenge", type=Path)
    args = parser.parse_args()
    print("| what | CPU s |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        found = rows(args.repeats, Path(folder))
        for what, took in (*found, *reading(args.repeats, args.mitdb, args.challenge)):
            print(f"| {what} | {took:.4f} |", flush=True)


if __name__ == "__main__":
    main()
