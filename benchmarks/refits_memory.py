"""Whether memory stays flat over thousands of fits whose intervals were asked for.

What the refits of a fit cost is kept on the fit, so that it goes when the fit does. Garbage collection is
off meanwhile: reference counts alone must free everything.

    python benchmarks/refits_memory.py [--n 10000]
"""

from __future__ import annotations

import argparse
import gc
import time
import weakref
from pathlib import Path

import numpy as np

import scalelab
from scalelab.analysis.inference.intervals import refits

SCALES = np.geomspace(1e5, 1e9, 8)


def one(seed: int) -> scalelab.Fit:
    """Returns a fit whose intervals and refits were asked for."""
    loss = (1.0 + 300 * SCALES**-0.4) * np.exp(np.random.default_rng(seed).normal(0, 0.01, SCALES.size))
    fit = scalelab.fit_law("power-offset", {"n_params": SCALES}, loss, estimator="log-mse")
    fit.interval("alpha", method="profile" if seed % 10 == 0 else "pairs")
    refits(fit, "residuals", n=100)
    return fit


def resident() -> float:
    """Returns the resident memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def measure(n: int, every: int) -> tuple[int, float]:
    """Returns how many of n fits outlived their last reference, and by how many MiB memory grew.

    The first tenth of the fits warms up allocators and caches, and does not count.
    """
    alive: weakref.WeakSet[scalelab.Fit] = weakref.WeakSet()
    gc.collect()
    gc.disable()
    try:
        warm = resident()
        start = time.perf_counter()
        for seed in range(n):
            alive.add(one(seed))
            if seed + 1 == max(n // 10, 1):
                warm = resident()
            if (seed + 1) % every == 0:
                spent = time.perf_counter() - start
                print(
                    f"{seed + 1:6d} fits: {resident():7.1f} MiB, {len(alive)} alive, {spent:.0f} s",
                    flush=True,
                )
        return len(alive), resident() - warm
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    n = parser.parse_args().n
    fits, growth = measure(n, max(n // 10, 1))
    print(
        f"{fits} of {n} fits outlived their last reference; after the first tenth memory grew by "
        f"{growth:.1f} MiB"
    )


if __name__ == "__main__":
    main()
