"""Fits the constants of the interval of `auto`, and says how it holds where it was not fitted.

    python benchmarks/calibrate.py [--draws 40] [--points 4 8 15 30] [--folder FOLDER of the reference tables]

The parts of the interval (`scalelab.analysis.inference.spread`) are taken apart again for the 36 learning
curves and for simulated runs whose law is unknown to `auto` (`simulated_runs.py`), and their constants fitted
by the likelihood of Student's t of five degrees of freedom; curves and simulations weigh the same. Prints the
constants, and what holds of the 90% intervals of the curves with all constants fitted without the curve's
task.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats
from simulated_runs import NOISES, TRUTHS, TWO_AXES, simulate

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.noise import noise
from scalelab.analysis.inference.spread import DISAGREEMENT, DOF, NOISE, REACH, quantile
from scalelab.errors import FitError

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "extrapolation"
_FIRST = 10_000
"""Seed of the first draw: the coverage that docs/laws.md shows is of others, which begin at zero."""
USED = np.array([NOISE, DISAGREEMENT, REACH])


class Case(NamedTuple):
    """One data set: log errors at some scales, and the parts of their interval for constants of one.

    Attributes:
        group: What is left out together.
        error: Log prediction minus log truth, shape (n,).
        parts: Noise, disagreement and reach, shape (3, n).
        run: The noise that the truth has, of one run.
        seconds: What fit and interval took.
    """

    group: str
    error: np.ndarray
    parts: np.ndarray
    run: float
    seconds: float


def case(group: str, x: dict, y: np.ndarray, beyond: dict, truth: np.ndarray, *, of_runs: bool) -> Case:
    """Fits `auto` and takes its interval apart."""
    start = time.process_time()
    fit = fit_law("auto", x, y)
    predicted = fit.predict(beyond, 0.9, noise=of_runs).mean
    seconds = time.process_time() - start
    parts = np.stack(fit.spread(beyond)) / USED[:, None]
    run = noise(fit.best).sigma if of_runs else 0.0
    return Case(group, np.log(predicted / truth), parts, run, seconds)


def curves(folder: Path) -> list[Case]:
    """Returns the 36 learning curves."""
    table, found = pd.read_csv(folder / "image_classification_36.csv"), []
    for (task, _), rows in table.groupby(["Task", "Model"]):
        known, rest = rows[rows.Training == 1], rows[rows.Training == 0]
        x, beyond = ({"n_examples": part["Seen Examples"].to_numpy(float)} for part in (known, rest))
        found.append(case(task, x, known.Loss.to_numpy(), beyond, rest.Loss.to_numpy(), of_runs=True))
    return found


def simulations(draws: int, points: list[int]) -> list[Case]:
    """Returns simulated runs of every truth, number of points and noise."""
    found = []
    for name in TRUTHS:
        for n in points:
            for kind in NOISES:
                for seed in range(_FIRST, _FIRST + draws):
                    runs = simulate(name, n, kind, seed)
                    try:
                        truth = np.array([runs.truth])
                        found.append(case(f"{n}", runs.x, runs.y, runs.beyond, truth, of_runs=False))
                    except FitError:
                        if name not in TWO_AXES or n > 4:
                            raise
    return found


def deviation(constants: np.ndarray, one: Case) -> np.ndarray:
    """Returns the standard deviation of each error of a case."""
    return np.sqrt(((constants[:, None] * one.parts) ** 2).sum(axis=0) + one.run**2 + 1e-12)


def joined(cases: list[Case]) -> tuple[np.ndarray, ...]:
    """Returns errors, squared parts, squared noise of the truth and weights of all; cases weigh the same."""
    sizes = [one.error.size for one in cases]
    runs, shares = (np.repeat(each, sizes) for each in ([one.run**2 for one in cases], 1 / np.array(sizes)))
    errors = np.concatenate([one.error for one in cases])
    return errors, np.concatenate([one.parts for one in cases], axis=1) ** 2, runs, shares / len(cases)


def fitted(*samples: list[Case]) -> np.ndarray:
    """Returns the likeliest constants; every sample weighs the same, and so does every case in it."""
    known = [joined(cases) for cases in samples]

    def unlikely(logs: np.ndarray) -> float:
        total = 0.0
        for errors, squares, runs, shares in known:
            scale = np.sqrt(np.exp(2 * logs) @ squares + runs + 1e-12)
            total -= float(shares @ stats.t.logpdf(errors, DOF, scale=scale))
        return total

    found = optimize.minimize(unlikely, np.log(USED), method="Nelder-Mead", options={"xatol": 1e-3})
    return np.exp(found.x)


def held(constants: np.ndarray, one: Case, level: float = 0.9) -> tuple[float, float, float]:
    """Returns the share of errors that the interval holds, its width and its score; of logarithms."""
    half = quantile(level) * deviation(constants, one)
    miss = np.maximum(np.abs(one.error) - half, 0.0)
    return float(np.mean(miss == 0)), float(np.mean(2 * half)), float(np.mean(2 * half + 20 * miss))


def line(name: str, results: list[tuple[float, float, float]], error: float) -> None:
    """Prints a row: coverage, width, score and root mean square error."""
    share, width, score = np.mean(results, axis=0)
    print(f"| {name} | {len(results)} | {share:.1%} | {width:.3f} | {score:.3f} | {error:.4f} |", flush=True)


def main() -> None:
    """Fits the constants and prints what holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--points", type=int, nargs="+", default=[4, 8, 15, 30])
    parser.add_argument("--folder", type=Path, default=REFERENCE)
    parser.add_argument("--keep", type=Path, help="where to write the cases, pickled")
    options = parser.parse_args()
    real, made = curves(options.folder), simulations(options.draws, options.points)
    if options.keep:
        options.keep.write_bytes(pickle.dumps((real, made)))
    found = fitted(real, made)
    print("noise, disagreement, reach:", ", ".join(f"{value:.3f}" for value in found))
    seconds = [one.seconds for one in real]
    took = f"{np.mean(seconds):.3f} s of one core, {max(seconds):.3f} s at most"
    print(f"a curve with its interval takes {took}\n")
    print("| data | cases | coverage of 90% | width | score | error |")
    print("|---|---|---|---|---|---|")
    left_out = {
        group: fitted([one for one in real if one.group != group], made)
        for group in {one.group for one in real}
    }
    error = float(np.mean([np.sqrt(np.mean(one.error**2)) for one in real]))
    line("curves, constants without their task", [held(left_out[one.group], one) for one in real], error)
    line("curves, constants in use", [held(USED, one) for one in real], error)
    for n in map(str, options.points):
        cases = [one for one in made if one.group == n]
        error = float(np.sqrt(np.mean([one.error**2 for one in cases])))
        line(f"simulated, {n} points", [held(USED, one) for one in cases], error)


if __name__ == "__main__":
    main()
