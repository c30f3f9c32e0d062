"""Do 90% intervals cover 90% of the time? Simulates runs of known laws and counts.

    python benchmarks/coverage.py [--draws 500] [--method auto] [--law power-offset chinchilla] [--noise
    0.003 ...]
    python benchmarks/coverage.py --averaged [--draws 300] [--points 4 8 15 30]

For each law and noise level as many data sets as asked for are drawn, fitted with the default estimator,
and the intervals of the exponents and of the loss at ten times the largest scale compared with the truth.
With `--averaged` nobody knows the law: runs are those of `simulated_runs.py`, `auto` is fitted, and its
interval of that loss is counted; laws of two axes are left out where the rows are too few for any form.
Prints a Markdown table; docs/laws.md shows it.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from itertools import product

import numpy as np
from simulated_runs import NOISES as UNEQUAL
from simulated_runs import TRUTHS
from simulated_runs import simulate as simulate_runs

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.intervals import METHODS
from scalelab.analysis.laws import get_law
from scalelab.errors import FitError

NOISES = (0.003, 0.01, 0.03)
LEVEL = 0.9
KNOWN = ("power-offset", "chinchilla")


def designs() -> dict[str, tuple[dict, dict, dict]]:
    """Truth, rows and the point ten times beyond them, by law."""
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e10, 7))
    line, tenfold = {"n_params": np.geomspace(1e6, 1e9, 30)}, {"n_params": np.array([1e10])}
    return {
        "power-offset": ({"E": 1.5, "A": 281.8, "alpha": 0.35}, line, tenfold),
        "chinchilla": (
            {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
            {"n_params": n.ravel(), "n_examples": d.ravel()},
            {"n_params": np.array([1e10]), "n_examples": np.array([2e11])},
        ),
    }


def simulate(name: str, sigma: float, draws: int, method: str) -> dict[str, tuple[float, float]]:
    """Returns coverage and median width of each quantity's interval."""
    params, x, beyond = designs()[name]
    law = get_law(name)
    clean, truth = law.predict(params, x), law.predict(params, beyond)[0]
    inside, widths = defaultdict(list), defaultdict(list)
    for draw in range(draws):
        rng = np.random.default_rng([draw, round(sigma * 1e6)])
        fit = fit_law(name, x, clean * np.exp(rng.normal(0.0, sigma, clean.size)), seed=draw)
        ends = {
            quantity: (*fit.interval(quantity, LEVEL, method=method), params[quantity])
            for quantity in law.exponents
        }
        prediction = fit.predict(beyond, LEVEL, method=method)
        ends["loss at 10x"] = (prediction.lower[0], prediction.upper[0], truth)
        for quantity, (low, high, true) in ends.items():
            inside[quantity].append(low <= true <= high)
            widths[quantity].append(high - low)
    return {
        quantity: (float(np.mean(inside[quantity])), float(np.median(widths[quantity])))
        for quantity in inside
    }


def simulate_unknown(name: str, n: int, noise: str, draws: int) -> list[tuple[bool, float, float]]:
    """Returns, for each draw, whether the interval of `auto` held the truth, its width and its score.

    Width and score (width + 20 times what it missed by, Gneiting & Raftery 2007) are those of the log loss.
    """
    found = []
    for seed in range(draws):
        runs = simulate_runs(name, n, noise, seed)
        try:
            prediction = fit_law("auto", runs.x, runs.y).predict(runs.beyond, LEVEL)
        except FitError:
            return []
        low, high = (float(np.log(end[0])) for end in (prediction.lower, prediction.upper))
        miss = max(low - np.log(runs.truth), np.log(runs.truth) - high, 0.0)
        found.append((miss == 0, high - low, high - low + 20 * miss))
    return found


def unknown(points: list[int], draws: int) -> None:
    """Prints how the intervals of `auto` hold at ten times the scale, by truth and number of points."""
    print(
        f"| true law | points | noise | coverage of 90% ({draws} draws) | median width | score | s a draw |"
    )
    print("|---|---|---|---|---|---|---|")
    for n in points:
        pooled = []
        for name, noise in product(TRUTHS, UNEQUAL):
            start = time.process_time()
            cell = simulate_unknown(name, n, noise, draws)
            if cell:
                row(name, n, noise, cell, f"{(time.process_time() - start) / draws:.2f}")
            pooled += cell
        row("**all**", n, "", pooled, "")


def row(name: str, n: int, noise: str, cell: list[tuple[bool, float, float]], seconds: str) -> None:
    """Prints a row of the table."""
    held, widths, scores = np.array(cell, dtype=float).T
    line = f"| {name} | {n} | {noise} | {held.mean():.1%} | {np.median(widths):.3f} | {scores.mean():.3f} |"
    print(line, seconds, "|", flush=True)


def main() -> None:
    """Runs the simulations that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--method", default="auto", choices=METHODS)
    parser.add_argument("--law", nargs="+", choices=list(designs()))
    parser.add_argument("--averaged", action="store_true")
    parser.add_argument("--points", nargs="+", type=int, default=[4, 8, 15, 30])
    parser.add_argument("--noise", nargs="+", type=float, default=list(NOISES))
    options = parser.parse_args()
    if options.averaged:
        unknown(options.points, options.draws)
        return
    columns = f"coverage of 90% ({options.draws} draws) | median width | s a draw"
    print(f"| law | noise of the log loss | quantity | {columns} |")
    print("|---|---|---|---|---|---|")
    for name in options.law or KNOWN:
        for sigma in options.noise:
            start = time.perf_counter()
            found = simulate(name, sigma, options.draws, options.method)
            seconds = (time.perf_counter() - start) / options.draws
            for quantity, (coverage, width) in found.items():
                line = f"| {name} | {sigma:g} | {quantity} | {coverage:.1%} | {width:.3g} | {seconds:.2f} |"
                print(line, flush=True)


if __name__ == "__main__":
    main()
