"""Tree models over many runs: seconds a part; and how often importances tell drivers from noise.

    python benchmarks/trees.py [--runs 10000] [--optimizers 1]
    python benchmarks/trees.py --draws 100 [--runs 120]

The first fits a forest, boosting and XGBoost to synthetic runs with all importances, interactions and
partial dependence, as `scalelab analyze --design` does, and prints the seconds of each part. The second draws
tables whose objective follows two known choices of ten, and counts in how many of them every measure tells
both from noise (and their intervals from those of noise) and none of the other eight.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
import pandas as pd

from scalelab.analysis.runs.designs import finished_runs
from scalelab.analysis.trees.design import design_of
from scalelab.analysis.trees.effects import effects_of
from scalelab.analysis.trees.fit import tree_model
from scalelab.analysis.trees.importances import importance_table, refit_importances
from scalelab.analysis.trees.learners import LEARNERS, threads_for
from scalelab.analysis.trees.result import MEASURES
from scalelab.analysis.trees.validation import tune

DRIVERS = ("architecture_depth", "optimizer_lr")


def synthetic(n: int, seed: int, noise: float = 0.1) -> pd.DataFrame:
    """Runs of random designs: depth and learning rate decide the loss, eight choices do nothing."""
    rng = np.random.default_rng(seed)
    depth, lr = rng.integers(4, 21, n), 10 ** rng.uniform(-3, -2, n)
    loss = 1.0 - 0.025 * depth + 1.6 * (np.log10(lr) + 2.5) ** 2 + noise * rng.normal(size=n)
    return finished_runs(
        pd.DataFrame(
            {
                "status": "done",
                "dataset": "synthetic",
                "architecture": "net",
                "optimizer": "adamw",
                "n_examples": 4000,
                "architecture_depth": depth,
                "architecture_w_0": rng.choice(np.arange(32, 129, 8), n),
                "architecture_w_a": rng.uniform(10, 50, n),
                "architecture_w_m": rng.choice(np.arange(11, 31) / 10, n),
                "architecture_group_width": rng.choice([1, 2, 4, 8, 16, 32], n),
                "architecture_multiplier": rng.choice([0.5, 1.0, 2.0, 4.0], n),
                "architecture_kernel": rng.choice([3, 9, 15], n),
                "architecture_norm": rng.choice(["batch", "layer", "none"], n),
                "training_dropout": rng.uniform(0, 0.5, n),
                "optimizer_lr": lr,
                "loss": loss,
            }
        )
    )


def time_parts(n: int, optimizers: int) -> None:
    done = synthetic(n, 0)
    done["optimizer"] = np.random.default_rng(1).choice([f"optimizer{i}" for i in range(optimizers)], n)
    total, total_cpu = 0.0, 0.0
    scopes = ["all", *(sorted(done["optimizer"].unique()) if optimizers > 1 else [])]
    print(f"{n:,} runs, {len(scopes)} scope(s)")
    print("| scope | part | seconds | of one core |")
    print("|---|---|---|---|")
    for scope in scopes:
        rows = done if scope == "all" else done[done["optimizer"] == scope].reset_index(drop=True)
        for learner in LEARNERS:
            start, cpu = time.perf_counter(), time.process_time()
            model = tree_model(rows, "synthetic", scope, "loss", learner=learner)
            total += (seconds := time.perf_counter() - start)
            total_cpu += (used := time.process_time() - cpu)
            what = f"{learner.name}: cross-validation, importances"
            print(f"| {scope} | {what} | {seconds:.1f} | {used:.1f} |", flush=True)
        start, cpu = time.perf_counter(), time.process_time()
        design = design_of(rows)
        effects_of(
            design, rows["objective"].to_numpy(), model.settings[0], list(design.columns), level=0.9, seed=0
        )
        total += (seconds := time.perf_counter() - start)
        total_cpu += (used := time.process_time() - cpu)
        print(f"| {scope} | interactions, partial dependence | {seconds:.1f} | {used:.1f} |", flush=True)
    print(f"| | all | {total:.1f} | {total_cpu:.1f} |")


def count_draws(n: int, draws: int, first: int, noise: float) -> None:
    kinds = ("noise", "missed", "overlap", "any")
    wrong: dict[str, Counter[tuple[str, str]]] = {kind: Counter() for kind in kinds}
    keys = []
    for draw in range(first, first + draws):
        done = synthetic(n, draw, noise)
        design, y = design_of(done), done["objective"].to_numpy()
        with threads_for(n):
            for learner in LEARNERS:
                setting = tune(learner, design.matrix, y, design.units, draw)
                found = refit_importances(learner, design, y, setting, seed=draw, measures=MEASURES)
                for measure, table in importance_table(design, y, found, 0.9).groupby("measure"):
                    key = (learner.name, str(measure))
                    keys += [key] if key not in keys else []
                    driver = table["choice"].isin(DRIVERS)
                    ranked = bool(table[~driver]["matters"].any())
                    missed = not bool(table[driver]["matters"].all())
                    overlap = bool(table[driver]["lower"].min() <= table[~driver]["upper"].max())
                    wrong["noise"][key] += ranked
                    wrong["missed"][key] += missed
                    wrong["overlap"][key] += overlap
                    wrong["any"][key] += ranked or missed
    print(f"{draws} draws from {first}, of {n} runs, noise {noise:g}")
    print("| model | measure | correct | noise ranked | driver missed | intervals overlap |")
    print("|---|---|---|---|---|---|")
    for key in keys:
        counts = [wrong[kind][key] for kind in ("noise", "missed", "overlap")]
        print(f"| {key[0]} | {key[1]} | {draws - wrong['any'][key]} | {' | '.join(map(str, counts))} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int)
    parser.add_argument("--optimizers", type=int, default=1)
    parser.add_argument("--draws", type=int)
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--noise", type=float, default=0.1)
    options = parser.parse_args()
    if options.draws:
        count_draws(options.runs or 120, options.draws, options.first, options.noise)
    else:
        time_parts(options.runs or 10_000, options.optimizers)


if __name__ == "__main__":
    main()
