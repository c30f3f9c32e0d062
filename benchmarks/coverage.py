"""Do 90% intervals cover 90% of the time? Simulates runs of known laws and counts.

    python benchmarks/coverage.py [--draws 500] [--method auto] [--law power-offset chinchilla] [--noise
    0.003 ...]
    python benchmarks/coverage.py --averaged [--draws 300] [--law power-offset m4 bnsl] [--noise 0.003 ...]

For each law and noise level as many data sets as asked for are drawn, fitted with the default estimator,
and the intervals of the exponents and of the loss at ten times the largest scale compared with the truth.
With `--averaged` nobody knows the law: `auto` is fitted, and its interval of that loss is counted.
Prints a Markdown table; docs/laws.md shows that of 500 draws, and that of 300 averaged ones.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.intervals import METHODS
from scalelab.analysis.laws import get_law

NOISES = (0.003, 0.01, 0.03)
LEVEL = 0.9
KNOWN, AVERAGED = ("power-offset", "chinchilla"), ("power-offset", "m4", "bnsl")
"""True laws: where the law that is fitted is the true one, and where it is unknown."""


def designs() -> dict[str, tuple[dict, dict, dict]]:
    """Truth, rows and the point ten times beyond them, by law."""
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e10, 7))
    line, tenfold = {"n_params": np.geomspace(1e6, 1e9, 30)}, {"n_params": np.array([1e10])}
    return {
        "power-offset": ({"E": 1.5, "A": 281.8, "alpha": 0.35}, line, tenfold),
        "m4": ({"E": 1.5, "E0": 4.0, "beta": 281.8, "c": 0.35, "alpha": 1.0}, line, tenfold),
        "bnsl": (
            {"E": 1.5, "b": 11.9, "c0": 0.15, "c1": 0.25, "d1": 3e7, "f1": 0.3},
            line,
            tenfold,
        ),
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


def simulate_averaged(name: str, sigma: float, draws: int) -> dict[str, tuple[float, float]]:
    """Returns coverage and median width of the interval of `auto`, that does not know the law."""
    params, x, beyond = designs()[name]
    law = get_law(name)
    clean, truth = law.predict(params, x), law.predict(params, beyond)[0]
    inside, widths = [], []
    for draw in range(draws):
        rng = np.random.default_rng([draw, round(sigma * 1e6)])
        fit = fit_law("auto", x, clean * np.exp(rng.normal(0.0, sigma, clean.size)), seed=draw)
        prediction = fit.predict(beyond, LEVEL)
        inside.append(prediction.lower[0] <= truth <= prediction.upper[0])
        widths.append(prediction.upper[0] - prediction.lower[0])
    return {"loss at 10x": (float(np.mean(inside)), float(np.median(widths)))}


def main() -> None:
    """Runs the simulations that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--method", default="auto", choices=METHODS)
    parser.add_argument("--law", nargs="+", choices=list(designs()))
    parser.add_argument("--averaged", action="store_true")
    parser.add_argument("--noise", nargs="+", type=float, default=list(NOISES))
    options = parser.parse_args()
    columns = f"coverage of 90% ({options.draws} draws) | median width | s a draw"
    print(f"| law | noise of the log loss | quantity | {columns} |")
    print("|---|---|---|---|---|---|")
    for name in options.law or (AVERAGED if options.averaged else KNOWN):
        for sigma in options.noise:
            start = time.perf_counter()
            if options.averaged:
                found = simulate_averaged(name, sigma, options.draws)
            else:
                found = simulate(name, sigma, options.draws, options.method)
            seconds = (time.perf_counter() - start) / options.draws
            for quantity, (coverage, width) in found.items():
                line = f"| {name} | {sigma:g} | {quantity} | {coverage:.1%} | {width:.3g} | {seconds:.2f} |"
                print(line, flush=True)


if __name__ == "__main__":
    main()
