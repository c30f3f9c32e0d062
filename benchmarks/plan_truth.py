"""Holds what `scalelab plan` said against what `scalelab run` took, for studies of different kinds.

    python benchmarks/plan_truth.py                 # ten studies, about a quarter of an hour
    python benchmarks/plan_truth.py --neighbours 2  # beside two busy processes
    python benchmarks/plan_truth.py --only 0 3      # some of them

Each study is planned in an empty store and then run, on synthetic ECG. The last two
are planned again when they are half done, from the store's own records.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = """
[dataset]
name = "synthetic-ecg"
options = {{ {data} }}
[data]
sizes = {sizes}
"""
CONVNEXT = """
[[architecture]]
name = "convnext1d"
options = {{ drop_path = 0.0 }}
space = {{ width = {{ type = "doubling", low = {low}, high = {high} }} }}
"""
REGNET = """
[[architecture]]
name = "regnet1d"
options = { w_init = 8 }
space = { w_0 = { type = "choice", values = [8, 16, 24] } }
"""
OPTIMIZERS = {
    "adamw": '[[optimizer]]\nname = "adamw"\n',
    "sgd": '[[optimizer]]\nname = "sgd"\n',
    "sgdm": '[[optimizer]]\nname = "sgdm"\n',
}


def study(
    *,
    data: str = "n_train = 600, n_validation = 300, n_test = 0, seconds = 5.0",
    sizes: str = "[200, 400]",
    nets: str = CONVNEXT.format(low=4, high=16),
    optimizers: tuple[str, ...] = ("adamw",),
    steps: int = 300,
    batch: int = 32,
    extra: str = "",
) -> str:
    """Returns the text of a study file without its name."""
    chosen = "".join(OPTIMIZERS[name] for name in optimizers)
    training = f"[training]\nlength = {{ steps = {steps} }}\nbatch_size = {batch}\n{extra}"
    return DATA.format(data=data, sizes=sizes) + nets + chosen + training


KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "small networks": (study(), ()),
    "three optimizers": (study(optimizers=("adamw", "sgd", "sgdm"), steps=150), ()),
    "wide networks": (study(nets=CONVNEXT.format(low=16, high=64), steps=60), ()),
    "two workers": (study(steps=250, sizes="[100, 200, 400]"), ("--workers", "2")),
    "this process": (study(steps=200), ("--workers", "0")),
    "many short trials": (
        study(steps=20, sizes="[50, 100, 200, 400]", nets=CONVNEXT.format(low=4, high=8)),
        (),
    ),
    "two architectures": (study(nets=CONVNEXT.format(low=4, high=8) + REGNET, steps=120), ()),
    "large batches": (study(batch=256, steps=60), ()),
    "whole validation": (study(extra="validations = 20\nvalidation_examples = 100000\n"), ()),
    "one long trial": (study(sizes="[400]", nets=CONVNEXT.format(low=8, high=8), steps=1500), ()),
}


def scalelab(*arguments: object) -> str:
    """Runs a command and returns what it printed."""
    line = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
    return subprocess.run(line, check=True, capture_output=True, text=True, encoding="utf-8").stdout


def hold(name: str, text: str, options: tuple[str, ...], folder: Path) -> tuple[float, float, float]:
    """Plans and runs a study; returns the least and the most seconds of its plan, and those it took."""
    path = folder / f"{name.replace(' ', '-')}.toml"
    path.write_text(f'name = "{path.stem}"\nseeds = [0]\n{text}', encoding="utf-8")
    store = path.with_suffix(".duckdb")
    plan = json.loads(scalelab("plan", path, "--store", store, "--json", *options))
    run = json.loads(scalelab("run", path, "--store", store, "--json", *options))
    assert run["forecast"] == [plan["seconds"]["low"], plan["seconds"]["high"]]
    return plan["seconds"]["low"], plan["seconds"]["high"], run["seconds"]


def busy() -> None:
    """Keeps a core busy."""
    while True:
        sum(range(100_000))


def main() -> None:
    """Prints a row for each study and how many of the ranges hold what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neighbours", type=int, default=0, help="busy processes beside it")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the studies, from 0")
    asked = parser.parse_args()
    neighbours = [multiprocessing.Process(target=busy, daemon=True) for _ in range(asked.neighbours)]
    for neighbour in neighbours:
        neighbour.start()
    held = []
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'study':20} {'plan':>17} {'took':>8} {'high/low':>9} {'took/middle':>12}")
        for number, (name, (text, options)) in enumerate(KINDS.items()):
            if asked.only is not None and number not in asked.only:
                continue
            low, high, took = hold(name, text, options, Path(folder))
            held.append(low <= took <= high)
            middle = (low * high) ** 0.5
            print(
                f"{name:20} {low:7.1f} to {high:5.1f} s {took:6.1f} s {high / low:9.2f} {took / middle:12.2f}"
                f"  {'held' if held[-1] else 'MISSED'}",
                flush=True,
            )
            time.sleep(1.0)
    print(f"{sum(held)} of {len(held)} ranges hold what came")
    for neighbour in neighbours:
        neighbour.terminate()


if __name__ == "__main__":
    main()
