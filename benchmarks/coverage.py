"""Do 90% intervals cover 90% of the time? Simulates runs of known laws and counts.

    python benchmarks/coverage.py [--draws 500] [--method auto] [--law power-offset chinchilla] [--noise
    0.003 ...]
    python benchmarks/coverage.py --plentiful [--draws 500]
    python benchmarks/coverage.py --averaged [--draws 300] [--points 4 8 15 30] [--data-alone]
                                            [--against OTHER_CHECKOUT]

For each law and noise level as many data sets as asked for are drawn, fitted with the default estimator,
and the intervals of the exponents and of the loss at ten times the largest scale compared with the truth.
With `--plentiful` the same for hundreds of rows, whose intervals are limits of large samples, also where the
law misses something at each scale that all seeds of it share. With `--averaged` nobody knows the law: runs
are those of `simulated_runs.py`, `auto` is fitted, and its interval of that loss is counted; laws of two axes
are left out where the rows are too few for any form. With `--data-alone` the scale is ten times the data at a
network of middle size, and only laws of two axes are drawn. With `--against` the other program does the same
draws, and its coverage and score stand beside.
Prints a Markdown table; docs/laws.md shows it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from beside import ask, server
from simulated_runs import NOISES as UNEQUAL
from simulated_runs import TRUTHS, TWO_AXES
from simulated_runs import simulate as simulate_runs

from scalelab import fit_law
from scalelab.errors import FitError

NOISES = (0.003, 0.01, 0.03)
LEVEL = 0.9
KNOWN = ("power-offset", "chinchilla")
PLENTIFUL = (
    ("power-offset, 400 sizes", 0.0),
    ("chinchilla, 400 cells", 0.0),
    ("chinchilla, 100 cells of 10 seeds", 0.0),
    ("chinchilla, 100 cells of 10 seeds", 0.01),
)
"""Designs, and the standard deviation of what the law misses at a scale."""


def designs() -> dict[str, tuple[dict, dict, dict]]:
    """Truth, rows and the point ten times beyond them, by law."""
    line = {"E": 1.5, "A": 281.8, "alpha": 0.35}, {"n_params": np.array([1e10])}
    plane = (
        {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
        {"n_params": np.array([1e10]), "n_examples": np.array([2e11])},
    )

    def sizes(n: int) -> dict:
        return {"n_params": np.geomspace(1e6, 1e9, n)}

    def grid(n: int, seeds: int = 1) -> dict:
        cells = np.meshgrid(np.geomspace(1e7, 1e9, n), np.geomspace(2e8, 2e10, n))
        return dict(zip(plane[1], (np.tile(axis.ravel(), seeds) for axis in cells), strict=True))

    runs = {
        "power-offset": (*line, sizes(30)),
        "chinchilla": (*plane, grid(7)),
        "power-offset, 400 sizes": (*line, sizes(400)),
        "chinchilla, 400 cells": (*plane, grid(20)),
        "chinchilla, 100 cells of 10 seeds": (*plane, grid(10, 10)),
    }
    return {name: (params, x, beyond) for name, (params, beyond, x) in runs.items()}


def simulate(
    name: str, sigma: float, draws: int, method: str, missed: float = 0.0
) -> dict[str, tuple[float, float]]:
    """Returns coverage and median width of each quantity's interval."""
    from scalelab.analysis.laws import get_law

    params, x, beyond = designs()[name]
    law = get_law(name.split(",")[0])
    _, cells = np.unique(np.stack(list(x.values())), axis=1, return_inverse=True)
    clean, truth = law.predict(params, x), law.predict(params, beyond)[0]
    inside, widths = defaultdict(list), defaultdict(list)
    for draw in range(draws):
        rng = np.random.default_rng([draw, round(sigma * 1e6)])
        noise = rng.normal(0.0, sigma, clean.size) + missed * rng.normal(size=cells.max() + 1)[cells]
        fit = fit_law(law, x, clean * np.exp(noise), seed=draw)
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


class Held(NamedTuple):
    """What an interval of the log loss was worth: whether it held the truth, its width, and its score.

    The score is the width and 20 times what it missed by (Gneiting & Raftery 2007).
    """

    inside: bool
    width: float
    score: float


def unknown_draw(name: str, n: int, noise: str, seed: int, data_alone: bool) -> Held | None:
    """Returns what the interval of `auto` is worth in one draw; `None` where no form is supported."""
    runs = simulate_runs(name, n, noise, seed, data_alone)
    try:
        prediction = fit_law("auto", runs.x, runs.y).predict(runs.beyond, LEVEL)
    except FitError:
        return None
    low, high = (float(np.log(end[0])) for end in (prediction.lower, prediction.upper))
    miss = max(low - np.log(runs.truth), np.log(runs.truth) - high, 0.0)
    return Held(bool(miss == 0), high - low, float(high - low + 20 * miss))


def serve() -> None:
    """Answers to draws from standard input, one a line."""
    for line in sys.stdin:
        print(json.dumps(unknown_draw(*json.loads(line))), flush=True)


def unknown(points: list[int], draws: int, other: Path | None, data_alone: bool) -> None:
    """Prints how the intervals of `auto` hold at ten times the scale, by truth and number of points."""
    beside = "| coverage there | score there " if other else ""
    print(
        f"| true law | points | noise | coverage of 90% ({draws} draws) | median width | score {beside}"
        "| s a draw |"
    )
    print("|---" * (9 if other else 7) + "|")
    served = other and server(__file__, other)
    for n in points:
        pooled: list[list[Held | None]] = [[], []]
        for name, noise in product(TWO_AXES if data_alone else TRUTHS, UNEQUAL):
            jobs = [(name, n, noise, seed, data_alone) for seed in range(draws)]
            start = time.process_time()
            cell = [unknown_draw(*job) for job in jobs]
            seconds = (time.process_time() - start) / draws
            there = [_asked(served, job) for job in jobs] if served else []
            if any(cell):
                row(name, n, noise, cell, there, f"{seconds:.2f}")
            pooled[0] += cell
            pooled[1] += there
        row("**all**", n, "", *pooled, "")


def _asked(served: subprocess.Popen[str], job: tuple[str, int, str, int, bool]) -> Held | None:
    answer = ask(served, job)
    return Held(*answer) if answer else None


def row(
    name: str, n: int, noise: str, cell: list[Held | None], there: list[Held | None], seconds: str
) -> None:
    """Prints a row of the table."""
    held, widths, scores = np.array([one for one in cell if one], dtype=float).T
    line = f"| {name} | {n} | {noise} | {held.mean():.1%} | {np.median(widths):.3f} | {scores.mean():.3f} |"
    if there:
        inside, _, theirs = np.array([one for one in there if one], dtype=float).T
        line += f" {inside.mean():.1%} | {theirs.mean():.3f} |"
    print(line, seconds, "|", flush=True)


def main() -> None:
    """Runs the simulations that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--method", default="auto", help="of the interval, one of those in docs/laws.md")
    parser.add_argument("--law", nargs="+", choices=list(designs()))
    parser.add_argument("--plentiful", action="store_true", help="hundreds of rows")
    parser.add_argument("--averaged", action="store_true")
    parser.add_argument("--points", nargs="+", type=int, default=[4, 8, 15, 30])
    parser.add_argument("--noise", nargs="+", type=float, default=list(NOISES))
    parser.add_argument("--data-alone", action="store_true", help="ten times the data alone, with --averaged")
    parser.add_argument("--against", type=Path, help="another checkout, with --averaged")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.averaged:
        unknown(options.points, options.draws, options.against, options.data_alone)
        return
    columns = f"coverage of 90% ({options.draws} draws) | median width | s a draw"
    print(f"| law | noise of the log loss | missed at a scale | quantity | {columns} |")
    print("|---|---|---|---|---|---|---|")
    cases = product(options.law or KNOWN, (0.0,), options.noise)
    if options.plentiful:
        cases = ((name, missed, 0.01) for name, missed in PLENTIFUL)
    for name, missed, sigma in cases:
        start = time.perf_counter()
        found = simulate(name, sigma, options.draws, options.method, missed)
        seconds = (time.perf_counter() - start) / options.draws
        for quantity, (coverage, width) in found.items():
            line = f"| {name} | {sigma:g} | {missed:g} | {quantity} | {coverage:.1%} | {width:.3g} |"
            print(line, f"{seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
