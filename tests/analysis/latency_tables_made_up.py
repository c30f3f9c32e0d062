"""Measurements of networks whose latencies follow a known rule."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd


def made_up(
    n: int = 64, noise: float = 0.03, seed: int = 0, rule: str = "roofline", **columns
) -> pd.DataFrame:
    """Returns a table like the store's `latencies`: n networks on one target."""
    rng = np.random.default_rng(seed)
    flops = 10 ** rng.uniform(6.5, 9, n)
    share = rng.uniform(0, 0.3, n)
    n_ops = rng.integers(30, 200, n)
    moved = flops / 10 ** rng.uniform(0.7, 1.5, n)
    params = flops / 10 ** rng.uniform(1.5, 2.5, n)
    if rule == "roofline":
        latency = 2e-6 * n_ops + flops * (1 - share) / 5e10 + flops * share / 4e9 + moved / 2e10
    else:
        latency = 1e-9 * flops**0.7 * moved**0.2
    latency = latency * np.exp(rng.normal(0, noise, n))
    table = pd.DataFrame({
        "measurement_id": [f"m{i}" for i in range(n)], "network_id": [f"n{i}" for i in range(n)],
        "study": "s", "status": "ok", "reason": None, "architecture": "net",
        "options": [json.dumps({"width": i, "kind": "x"}) for i in range(n)], "input_shape": "[2,64]",
        "host": "h", "target": "fast:cpu:f32", "backend": "fast", "device": "cpu", "precision": "f32",
        "batch_size": 1, "threads": 1.0, "n_params": params, "forward_flops": flops,
        "grouped_flops": share * flops,
        "activation_bytes": moved, "n_ops": n_ops, "n_layers": n_ops // 3, "latency": latency,
        "latency_low": 0.98 * latency, "latency_high": 1.03 * latency, "p90": 1.1 * latency,
        "p99": 1.5 * latency, "call_latency": latency + 2e-5,
        "throughput": 1 / latency,
        "throughput_async": np.nan,
        "convert_seconds": 0.5, "quantize_seconds": np.nan, "compile_seconds": 0.2, "load_seconds": 0.1,
        "model_bytes": 4 * params, "relative_error": 1e-6, "agreement": 1.0,
        "objective_f32": np.nan, "objective_here": np.nan, "scores_f32": None, "scores_here": None,
        "objective": np.nan, "metric": None,
        "direction": None,
        "trial_id": None, "finished_at": pd.Timestamp("2026-01-01"),
    })  # fmt: skip
    return table.assign(**columns)


def trained(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Returns the table with an accuracy that grows with size."""
    rng = np.random.default_rng(seed)
    objective = 0.5 + 0.04 * np.log10(table["n_params"]) + rng.normal(0, 0.005, len(table))
    names = [f"t{i}" for i in range(len(table))]
    return table.assign(objective=objective, metric="accuracy", direction="maximize", trial_id=names)
