"""How long the example study takes to train, and its validation; beside another checkout if asked.

    python benchmarks/study_time.py                         # the corners of examples/mitbih-convnext.toml
    python benchmarks/study_time.py --against ROOT          # the same in ROOT, alternated trial by trial
    python benchmarks/study_time.py --steps 600             # shorter runs
    python benchmarks/study_time.py --data DIR              # the database, where it is somewhere else
    python benchmarks/study_time.py --cpu --against ROOT    # on a machine that is busy
    python benchmarks/study_time.py --precision bf16        # which studies so short do not find out
    python benchmarks/study_time.py --many --busy 2 --against ROOT

The corners are the smallest and the largest network on the smallest and the largest data, a study of one
trial each; what counts is `wall_seconds`, the time in the loop. `--many` is one study of 25 small networks on
synthetic ECG, its seconds those of all of its trials. `--busy` processes that never rest run beside it.
`scalelab run` has its default settings. `--cpu` counts the CPU time of the whole command, all its processes
on one core.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import tomlkit

HERE = Path(__file__).resolve().parents[1]
STUDY = HERE / "examples" / "mitbih-convnext.toml"
WIDTHS, SIZES = (4, 32), (250, 16000)
QUESTION = "select sum(wall_seconds) as wall_seconds, sum({validation}) as validation from runs"
MANY = """
name = "many"
seeds = {seeds}
[dataset]
name = "synthetic-ecg"
options = {{ n_train = 400, n_validation = 200, n_test = 0, seconds = 2.5, leads = 2 }}
[data]
sizes = ["all"]
[[architecture]]
name = "convnext1d"
space = {{ width = {{ type = "choice", values = [2, 3, 4, 6, 8] }} }}
[[optimizer]]
name = "adamw"
[training]
length = {{ steps = 100 }}
batch_size = 32
"""


def study(width: int, size: int, optimizer: str, steps: int, precision: str, data: Path | None) -> str:
    """Returns the example with a single trial."""
    text = tomllib.loads(STUDY.read_text(encoding="utf-8"))
    options = text["dataset"]["options"]
    options["path"] = str((data or STUDY.parent / options["path"]).resolve())
    text["data"]["sizes"] = [size]
    architecture = text["architecture"][0]
    architecture["options"]["width"] = width
    del architecture["space"]
    text["optimizer"] = [own for own in text["optimizer"] if own["name"] == optimizer]
    text["training"]["length"] = {"steps": steps}
    text["training"]["precision"] = precision
    return tomlkit.dumps(text)


def spin() -> None:
    """Never rests."""
    while True:
        pass


def cpu_seconds() -> float:
    """Returns the CPU time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(root: Path, text: str, validation: str, *, cpu: bool) -> tuple[float, float]:
    """Trains a study with the checkout at `root`; returns its seconds and those of its validation."""
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "study.toml", Path(folder) / "store.duckdb"
        path.write_text(text, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(root)}

        def scalelab(*arguments: object) -> str:
            line = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
            done = subprocess.run(line, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE)
            return done.stdout.decode()

        begun = cpu_seconds()
        scalelab("run", path, "--store", store)
        spent = cpu_seconds() - begun
        answer = scalelab("store", "sql", QUESTION.format(validation=validation), "--store", store, "--csv")
        row = next(csv.DictReader(io.StringIO(answer)))
        return spent if cpu else float(row["wall_seconds"]), float(row["validation"] or 0.0)


def main() -> None:
    """Prints a row for each trial, and the totals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--precision", default="auto", help="of the corners")
    parser.add_argument("--data", type=Path, help="where the MIT-BIH database is")
    parser.add_argument("--many", action="store_true", help="25 small networks instead")
    parser.add_argument("--seeds", type=int, default=5, help="of the small networks, five a seed")
    parser.add_argument("--cpu", action="store_true", help="CPU time, on one core")
    parser.add_argument("--busy", type=int, default=0, help="processes that never rest")
    asked = parser.parse_args()
    studies = (
        {f"{5 * asked.seeds} small networks": MANY.format(seeds=list(range(asked.seeds)))}
        if asked.many
        else {
            f"width {width} on {size:,}": study(
                width, size, asked.optimizer, asked.steps, asked.precision, asked.data
            )
            for width, size in itertools.product(WIDTHS, SIZES)
        }
    )
    if asked.cpu:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # of the processes that follow, too
    neighbors = [multiprocessing.Process(target=spin, daemon=True) for _ in range(asked.busy)]
    for neighbor in neighbors:
        neighbor.start()
    total = validated = before = 0.0
    for name, text in studies.items():
        there = seconds(asked.against.resolve(), text, "null", cpu=asked.cpu)[0] if asked.against else 0.0
        here, validation = seconds(HERE, text, "validation_seconds", cpu=asked.cpu)
        before, total, validated = before + there, total + here, validated + validation
        beside = f", there {there:.1f} s" if asked.against else ""
        print(f"{name:18} {here:7.1f} s, validation {validation / here:.1%}{beside}", flush=True)
    print(f"together {total:.1f} s, validation {validated / total:.1%}")
    if asked.against:
        print(f"there {before:.1f} s: {total / before:.2f} times as long here")
    for neighbor in neighbors:
        neighbor.terminate()


if __name__ == "__main__":
    main()
