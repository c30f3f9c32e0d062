"""How often do the intervals of a comparison of two families cover? Simulates two known laws and counts.

    python benchmarks/compare_coverage.py [--draws 150] [--points 4 6 12 25]

The laws differ in exponent by 0.1 and cross; the noise of the log loss is 0.01. Prints a Markdown table;
docs/laws.md shows it.
"""

from __future__ import annotations

import argparse

import numpy as np

from scalelab.analysis.fits.compare import Comparison
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.intervals import refits

LEVEL, SIGMA, CENTER = 0.9, 0.01, 1e12
FLOOR, FIRST, SECOND = 0.3, (2.0, 0.3), (2.2, 0.4)


def law(x: np.ndarray, parameters: tuple[float, float]) -> np.ndarray:
    """Returns the loss without noise."""
    return FLOOR + parameters[0] * (x / CENTER) ** -parameters[1]


def covered(n: int, seed: int) -> tuple[bool, bool, bool]:
    """Whether the intervals of difference, multiplier and crossing hold the truth in one draw."""
    x, rng = np.geomspace(CENTER, 1000 * CENTER, n), np.random.default_rng(seed)
    fits = {
        name: fit_law(
            "power-offset",
            {"train_flops": x},
            law(x, parameters) * np.exp(rng.normal(0, SIGMA, n)),
            seed=index,
        )
        for index, (name, parameters) in enumerate((("a", FIRST), ("b", SECOND)))
    }
    ends = {name: {"alpha": fit.interval("alpha", LEVEL)} for name, fit in fits.items()}
    both = Comparison(fits, (), LEVEL, {name: refits(fit).draws for name, fit in fits.items()}, ends)
    scale = 100 * CENTER
    reached = CENTER * ((law(scale, SECOND) - FLOOR) / FIRST[0]) ** (-1 / FIRST[1])
    meeting = CENTER * (SECOND[0] / FIRST[0]) ** (1 / (SECOND[1] - FIRST[1]))
    found = (
        (both.difference("a", "b", "alpha"), SECOND[1] - FIRST[1]),
        (both.multiplier("a", "b", scale), reached / scale),
        (both.crossing("a", "b")[0], meeting),
    )
    return tuple(one.lower <= truth <= one.upper for one, truth in found)


def main() -> None:
    """Runs the simulations that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--points", nargs="+", type=int, default=[4, 6, 12, 25])
    options = parser.parse_args()
    print(f"| points | difference of exponents | multiplier | crossing | ({options.draws} draws)")
    print("|---|---|---|---|")
    for n in options.points:
        shares = np.mean([covered(n, seed) for seed in range(options.draws)], axis=0)
        print(f"| {n} | " + " | ".join(f"{share:.0%}" for share in shares) + " |", flush=True)


if __name__ == "__main__":
    main()
