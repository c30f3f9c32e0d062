"""Trials an hour of one small training, as a scalelab study, as Ray Tune's trials and as Optuna's.

    python benchmarks/tuners.py [--trials 16] [--steps 300] [--repeats 2]

A trial trains a `convnext1d` of about 10,000 parameters for the same steps on the same synthetic ECG, by
AdamW with clipping, batches drawn without replacement, and ends with the validation loss of the whole split.
Ray Tune and Optuna are given that as the plain function that one writes in PyTorch; scalelab's trials also
have their augmentation off, and keep what they always keep: curve, calibration, cost, record. Each has its
default settings: `scalelab run`, `Tuner(train).fit()` and `study.optimize(objective)`, start-up included, one
after the other in turns. (With `ray[tune]` and `optuna`.)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import scalelab
from scalelab.measure.machine import cpu_name, usable_cores

OPTIONS = {"width": 4, "depth": 0.5, "kernel_size": 3, "expansion": 3.0}
BATCH, RATES = 32, (1e-4, 1e-2)
STUDY = """
name = "tuners"
seeds = {seeds}
[dataset]
name = "synthetic-ecg"
options = {{ n_train = 2000, n_validation = 500, n_test = 0, seconds = 2.5, leads = 2 }}
[data]
sizes = ["all"]
[[architecture]]
name = "convnext1d"
options = {{ width = 4, depth = 0.5, kernel_size = 3, expansion = 3.0 }}
[[optimizer]]
name = "adamw"
options = {{ lr = 1e-3 }}
[training]
length = {{ steps = {steps} }}
batch_size = 32
augment = false
"""


def train(folder: str, lr: float, steps: int, seed: int) -> float:
    """Trains in plain PyTorch, and returns the validation loss."""
    torch.manual_seed(seed)
    arrays = {name: np.load(Path(folder) / f"{name}.npy") for name in ("x", "y", "x_val", "y_val")}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    classes = int(tensors["y"].max()) + 1
    network = scalelab.build_model("convnext1d", OPTIONS, tuple(arrays["x"].shape[1:]), classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.05)
    n, order = len(tensors["y"]), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(n)])
        rows, order = order[:BATCH], order[BATCH:]
        loss = cross_entropy(network(tensors["x"][rows].float()), tensors["y"][rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        parts = zip(tensors["x_val"].split(128), tensors["y_val"].split(128), strict=True)
        losses = [float(cross_entropy(network(x.float()), y, reduction="sum")) for x, y in parts]
    return sum(losses) / len(tensors["y_val"])


def by_scalelab(folder: Path, trials: int, steps: int) -> list[float]:
    """Runs the study from the command line into a new store; returns its losses."""
    with tempfile.TemporaryDirectory() as own:
        path, store = Path(own) / "study.toml", Path(own) / "store.duckdb"
        path.write_text(STUDY.format(seeds=list(range(trials)), steps=steps), encoding="utf-8")
        environment = {**os.environ, "SCALELAB_CACHE": str(folder / "cache")}

        def command(*arguments: object) -> str:
            line = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
            done = subprocess.run(
                line, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            return done.stdout.decode()

        command("run", path, "--store", store)
        rows = command("store", "sql", "select loss_last as loss from runs", "--store", store, "--json")
        return [row["loss"] for row in json.loads(rows)["rows"]]


def by_ray(folder: Path, trials: int, steps: int) -> list[float]:
    """Runs Ray Tune in a Ray that is started for it; returns its losses."""
    import ray
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        tune.report({"loss": train(str(folder), config["lr"], steps, config["seed"])})

    ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    with tempfile.TemporaryDirectory() as own:
        tuner = tune.Tuner(
            trainable,
            param_space={"lr": tune.loguniform(*RATES), "seed": tune.grid_search(list(range(trials)))},
            run_config=tune.RunConfig(storage_path=own, verbose=0),
        )
        found = tuner.fit()
        ray.shutdown()
        return [float(one.metrics["loss"]) for one in found if one.metrics]


def by_optuna(folder: Path, trials: int, steps: int) -> list[float]:
    """Runs Optuna in this process; returns its losses."""
    import optuna

    def objective(trial: Any) -> float:
        return train(str(folder), trial.suggest_float("lr", *RATES, log=True), steps, trial.number)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.optimize(objective, n_trials=trials)
    return [float(one.value) for one in study.trials]


def save_data(folder: Path) -> int:
    """Writes the study's data as arrays, which also prepares its cache; returns the network's parameters."""
    os.environ["SCALELAB_CACHE"] = str(folder / "cache")
    path = folder / "study.toml"
    path.write_text(STUDY.format(seeds=[0], steps=1), encoding="utf-8")
    study = scalelab.load_study(path)
    dataset = scalelab.load_plugins().dataset(study.dataset.name)
    data = dataset.open(dataset.params.model_validate(study.dataset.options))
    for name, split in (("", data.train), ("_val", data.validation)):
        np.save(folder / f"x{name}.npy", np.asarray(split.inputs[:]))
        np.save(folder / f"y{name}.npy", np.asarray(split.targets).astype(np.int64))
    network = scalelab.build_model("convnext1d", OPTIONS, data.task.input_shape, data.task.n_outputs)
    return sum(parameter.numel() for parameter in network.parameters())


def main() -> None:
    """Prints a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    tools: dict[str, Callable[[Path, int, int], list[float]]] = {
        "scalelab": by_scalelab,
        "Ray Tune": by_ray,
        "Optuna": by_optuna,
    }
    seconds: dict[str, list[float]] = {name: [] for name in tools}
    losses: dict[str, list[float]] = {name: [] for name in tools}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_params = save_data(folder)
        for _ in range(asked.repeats):
            for tool, tuned in tools.items():
                begun = time.perf_counter()
                losses[tool] += tuned(folder, asked.trials, asked.steps)
                seconds[tool].append(time.perf_counter() - begun)
    print(f"{cpu_name()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}; {n_params:,} parameters, "
          f"{asked.steps} steps of {BATCH}, {asked.trials} trials, {asked.repeats} repeats")  # fmt: skip
    print("| tool | trials an hour, median | least | most | median loss |\n|---|---|---|---|---|")
    for tool, taken in seconds.items():
        assert len(losses[tool]) == asked.repeats * asked.trials, tool
        hourly = sorted(3600 * asked.trials / one for one in taken)
        print(f"| {tool} | {median(hourly):,.0f} | {hourly[0]:,.0f} | {hourly[-1]:,.0f} "
              f"| {median(losses[tool]):.3f} |")  # fmt: skip


if __name__ == "__main__":
    main()
