"""Fits the four isoFLOP experiments: our fit against an exhaustive search, in the same run on the same rows.

    python benchmarks/isoflops.py [path/to/isoflops.csv]

The search is the idea of the peer `vpnls`, written plainly here as the baseline: a grid of 0.01 in both
exponents, and for each of its nodes the three linear parameters by least squares with reweighting for the
Huber penalty (1e-3 on the loss, N in millions, D in billions). Times are the best of five. Peer objectives
(vpnls 0.1.0) are mean, times a million.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.laws.starts import mesh, solve_linear

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "isoflops" / "isoflops.csv"
PEER = {
    "epochai_chinchilla__massivetext__chinchilla": 33.28,
    "ml_scalefit__massivetext__chinchilla": 13.10,
    "llama_3__exp_loss": 4.82,
    "misfitting__fineweb_c4__transformer": 42.39,
}
DELTA = 1e-3
EXPONENTS = np.arange(0.05, 0.951, 0.01)
REWEIGHTINGS = 10
CHUNK = 1000


def huber(residuals: np.ndarray) -> np.ndarray:
    """Penalty of each residual."""
    inner = np.minimum(np.abs(residuals), DELTA)
    return inner * (np.abs(residuals) - 0.5 * inner)


def exhaustive(n: np.ndarray, d: np.ndarray, loss: np.ndarray) -> float:
    """Returns the lowest summed objective over the grid of exponents."""
    best = np.inf
    nodes = mesh(EXPONENTS, EXPONENTS)
    for begin in range(0, len(nodes), CHUNK):
        part = nodes[begin : begin + CHUNK]
        powers = np.exp(-part[:, :, None] * np.log(np.stack([n, d])))
        basis = np.concatenate([np.ones((len(part), 1, n.size)), powers], axis=1)
        weights = np.ones((len(part), n.size))
        for _ in range(REWEIGHTINGS):
            linear = solve_linear(basis, loss, weights)
            residuals = np.einsum("bk,bkn->bn", linear, basis) - loss
            weights = DELTA / np.maximum(np.abs(residuals), DELTA)
        best = min(best, float(huber(residuals).sum(axis=1).min()))
    return best


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Returns the shortest time of several, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    """Prints one row per experiment."""
    table = pd.read_csv(sys.argv[1] if len(sys.argv) > 1 else REFERENCE)
    print(
        "| experiment | runs | peer | search | ours | search s | ours s | times faster | 1,000 bootstraps s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for experiment, rows in table.groupby("experiment"):
        n, d = (rows.params / 1e6).to_numpy(), (rows.tokens / 1e9).to_numpy()
        loss = rows.loss.to_numpy()
        x = {"n_params": n, "n_examples": d}
        slow, found = timed(lambda: exhaustive(n, d, loss), 2)  # noqa: B023
        quick, fit = timed(lambda: fit_law("chinchilla", x, loss, estimator="huber", delta=DELTA), 5)  # noqa: B023
        boot, _ = timed(lambda: fit.bootstrap(1000), 2)  # noqa: B023
        scale = 1e6 / loss.size
        print(
            f"| {experiment} | {loss.size} | {PEER[str(experiment)]:.2f} "
            f"| {found * scale:.2f} | {fit.objective * scale:.2f} "
            f"| {slow:.3f} | {quick:.4f} | {slow / quick:.0f} | {boot:.2f} |"
        )


if __name__ == "__main__":
    main()
