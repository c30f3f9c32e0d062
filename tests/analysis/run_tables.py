"""Seeded tables of runs with a known truth, with the columns of the store's `runs` and `curves`."""

from __future__ import annotations

import numpy as np
import pandas as pd

SIZES = (3_000, 12_000, 48_000, 190_000, 760_000)
DATA_SIZES = (500, 1_500, 4_500, 13_500, 40_000)
TRUTH = {"E": 0.12, "A": 9.0, "B": 6.0, "alpha": 0.42, "beta": 0.37}
PENALTY = {"adamw": 1.0, "sgd": 1.25, "sgdm": 1.08}


def true_loss(n_params, n_examples):
    """Hoffmann's form at TRUTH."""
    t = TRUTH
    return t["E"] + t["A"] * n_params ** -t["alpha"] + t["B"] * n_examples ** -t["beta"]


def grid_runs(
    *,
    optimizers=("adamw",),
    sizes=SIZES,
    data_sizes=DATA_SIZES,
    seeds=(0, 1, 2),
    noise=0.01,
    study="demo",
    seed=0,
):
    """Every size with every data size, optimizer and seed; the loss is the law times its noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for optimizer in optimizers:
        for index, n_params in enumerate(sizes):
            for n_examples in data_sizes:
                for trial_seed in seeds:
                    loss = true_loss(n_params, n_examples) * PENALTY[optimizer] * np.exp(noise * rng.normal())
                    rows.append(
                        _row(
                            study,
                            optimizer,
                            trial_seed,
                            n_params,
                            n_examples,
                            loss,
                            {
                                "architecture_width": 8 * 2**index,
                                "architecture_depths": [1, 1, 2 + index, 1],
                                "optimizer_lr": {"adamw": 1e-3, "sgd": 0.1, "sgdm": 0.03}[optimizer],
                            },
                        )
                    )
    return pd.DataFrame(rows)


def law_runs(n_params, n_examples, *, law, optimizer="adamw", noise=0.003, seed=0, per=6.0):
    """Runs of these sizes and lengths that saw each example once; the law is E, A, B, alpha, beta."""
    n, d = np.asarray(n_params, dtype=float), np.asarray(n_examples, dtype=float)
    e, a, b, alpha, beta = law
    loss = e + a * n**-alpha + b * d**-beta
    return pd.DataFrame(
        {
            "status": "done",
            "dataset": "signals",
            "architecture": "net",
            "optimizer": optimizer,
            "trial_id": [f"{optimizer}-{i}" for i in range(n.size)],
            "n_params": n,
            "n_examples": d,
            "epochs": 1.0,
            "train_flops": per * n * d,
            "loss": loss * np.exp(np.random.default_rng(seed).normal(0, noise, n.size)),
        }
    )


def design_runs(n=120, *, optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.02, seed=0):
    """Random designs: width and learning rate drive the objective, kernel and dropout do nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        optimizer = optimizers[index % len(optimizers)]
        width, depth = int(rng.choice([8, 16, 24, 32, 48, 64])), int(rng.integers(2, 9))
        lr, kernel, dropout = 10 ** rng.uniform(-4, -2), int(rng.choice([3, 9, 15])), rng.uniform(0, 0.5)
        n_params = 40 * width * width * depth
        for trial_seed in seeds:
            loss = (
                0.3
                + 2.0 / np.sqrt(width)
                + 0.15 * (np.log10(lr) + 3) ** 2
                + (0.2 if optimizer == "sgd" else 0.0)
                + noise * rng.normal()
            )
            rows.append(
                _row(
                    "space",
                    optimizer,
                    trial_seed,
                    n_params,
                    4000,
                    loss,
                    {
                        "architecture_width": width,
                        "architecture_depth": depth,
                        "architecture_kernel": kernel,
                        "optimizer_lr": lr,
                        "training_dropout": dropout,
                        "feature_last_width": width * 8,
                        "design": index,
                    },
                )
            )
    return pd.DataFrame(rows)


def _row(study, optimizer, seed, n_params, n_examples, loss, options):
    accuracy = 1.0 / (1.0 + loss)
    forward = 220.0 * n_params
    return {
        "study": study,
        "trial_id": f"{study}-{optimizer}-{n_params}-{n_examples}-{options.get('design', 0)}-{seed}",
        "status": "done",
        "attempt": 1,
        "attempts": 1,
        "error": None,
        "dataset": "toy-ecg",
        "architecture": "convnext1d",
        "optimizer": optimizer,
        "seed": seed,
        "data_seed": seed,
        "n_params": n_params,
        "n_examples": n_examples,
        "forward_flops": forward,
        "train_flops": 3.0 * forward * n_examples * 10,
        "n_steps": n_examples * 10 // 64 + 1,
        "epochs": 10.0,
        "loss": loss,
        "loss_last": loss * 1.01,
        "objective": accuracy,
        "objective_last": accuracy,
        "metric": "macro-f1",
        "direction": "maximize",
        "batch_size": 64,
        "schedule": "cosine",
        "precision": "fp32",
        "wall_seconds": 1e-12 * forward * n_examples * 30,
        "device": "cpu",
        "training_batch_size": 64,
        "training_schedule": "cosine",
        "dataset_split": "random",
        **{name: value for name, value in options.items() if name != "design"},
    }


def curves_of(runs, points=10):
    """A learning curve that falls to each run's loss."""
    rows = []
    for run in runs.to_dict("records"):
        for step in np.linspace(run["n_steps"] / points, run["n_steps"], points).round().astype(int):
            share = step / run["n_steps"]
            rows.append(
                {
                    "study": run["study"],
                    "trial_id": run["trial_id"],
                    "attempt": 1,
                    "step": int(step),
                    "n_seen": int(step) * 64,
                    "train_flops": run["train_flops"] * share,
                    "wall_seconds": run["wall_seconds"] * share,
                    "lr": 1e-3 * (1 - share),
                    "train_loss": run["loss"] * (1 + 0.4 * (1 - share)),
                    "loss": run["loss"] * (1 + 0.5 * (1 - share) ** 2),
                    "metrics": "{}",
                }
            )
    return pd.DataFrame(rows)
