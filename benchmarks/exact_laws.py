"""Do fits find laws that rows follow exactly? Draws laws of every form, fits them and counts the failures.

    python benchmarks/exact_laws.py [--draws 2000] [--laws power-offset m4] [--processes 2]
    python benchmarks/exact_laws.py --against OTHER_CHECKOUT [--repeats 15]

Each law is laid through as few rows as a fit takes up to 12. It failed if a prediction at a row, or at ten
times the largest of them, is off by more than one part in a million, or if the fit was refused. Not counted
as failures but beside them: fits that agree with the law at every row to 1e-12 and not beyond, for these rows
do not tell the two apart. `--against` times both programs in turn on noisy rows instead and prints ratios.
Both print Markdown tables; docs/laws.md shows them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from beside import ask, server

from scalelab import fit_law
from scalelab.analysis.laws import LAWS, get_law
from scalelab.errors import FitError

MOST_ROWS, BEYOND = 12, 10.0
WRONG, ROUNDING = 1e-6, 1e-12
NOISE, TIMED_ROWS, TURNS = 0.01, (8, 30, 200), 7
OLD = (
    "power", "power-offset", "m3", "m4", "bnsl", "bnsl2", "chinchilla", "kaplan", "data-constrained",
    "loglog", "sigmoid",
)  # fmt: skip
"""Forms that older checkouts have too."""
NAMES = (*OLD, *(name for name in LAWS if name not in OLD))
Rows = dict[str, np.ndarray]


class Draw:
    """What laws are drawn from: places over two to five decades, and numbers of the usual sizes."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.rng, self.n = rng, n
        low, self.decades = self.near(1e2, 1e7), rng.uniform(2, 5)
        self.places = (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / (n - 1)
        self.x = low * 10 ** (self.decades * self.places)
        self.inner, self.center = np.sort(self.x)[[1, -2]], float(np.exp(np.mean(np.log(self.x))))
        self.alpha, self.floor, self.height = rng.uniform(0.05, 1.2), self.near(0.05, 5), self.near(0.2, 5)
        self.scaled = self.height * self.center**self.alpha

    def near(self, low: float, high: float) -> float:
        """Returns a number between two, even in the logarithm."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def other(self) -> np.ndarray:
        """Returns a second axis, which is no function of the first."""
        order = self.rng.permutation(self.n)
        while abs(np.corrcoef(order, np.arange(self.n))[0, 1]) > 0.95:
            order = self.rng.permutation(self.n)
        return self.near(1e2, 1e7) * 10 ** (self.rng.uniform(2, 5) * self.places[order])


def drawn(name: str, n: int, rng: np.random.Generator) -> tuple[dict[str, float], Rows]:
    """Returns the parameters of a law, and n rows over two to five decades that it bends within."""
    draw = Draw(n, rng)
    found = _of_one_axis(name, draw)
    return (found, {"n_examples": draw.x}) if found else _of_more(name, draw)


def _of_one_axis(name: str, draw: Draw) -> dict[str, float]:
    near, alpha, floor, scaled = draw.near, draw.alpha, draw.floor, draw.scaled
    if name in ("power", "loglog"):
        return {"A": scaled, "alpha": alpha}
    if name == "power-offset":
        return {"E": floor, "A": scaled, "alpha": alpha}
    if name == "m3":
        return {"beta": scaled, "c": alpha, "gamma": 1 / near(*draw.inner)}
    if name == "m4":
        params = {
            "E": floor, "E0": floor + near(0.5, 5), "beta": near(0.3, 3) * draw.center**alpha, "c": alpha,
        }  # fmt: skip
        return params | {"alpha": near(0.3, 3)}
    if not name.startswith("bnsl"):
        return {}
    params = {"E": floor, "b": scaled, "c0": alpha, "c1": draw.rng.uniform(0.1, 0.8)}
    params |= {"d1": near(*draw.inner), "f1": near(0.2, 1.5)}
    if name == "bnsl2":
        places = sorted((near(*draw.inner), near(*draw.inner)))
        params |= {"d1": places[0], "c2": draw.rng.uniform(0.1, 0.6), "d2": places[1], "f2": near(0.2, 1.5)}
    return params


def _of_more(name: str, draw: Draw) -> tuple[dict[str, float], Rows]:
    near, alpha, rng = draw.near, draw.alpha, draw.rng
    if name == "sigmoid":
        params = {"low": rng.uniform(0, 0.3), "k": near(1, 8), "middle": rng.uniform(1, 2)}
        return params, {"loss": 0.3 + 2.7 * draw.places}
    if name == "loss-to-loss":
        losses = draw.floor + near(0.5, 3) * 10 ** (-draw.places)
        return {"E0": 0.7 * draw.floor, "E1": near(0.05, 3), "K": near(0.3, 3), "kappa": near(0.5, 2)}, {
            "loss": losses
        }
    other = draw.other()
    middle, beta = float(np.exp(np.mean(np.log(other)))), rng.uniform(0.05, 1.2)
    if name == "annealing":
        axes = {"S1": draw.x, "S2": 0.3 * draw.x * (other / other.max()) ** 0.3}
        return {
            "L0": draw.floor,
            "A": draw.scaled,
            "alpha": alpha,
            "C": 0.1 * draw.floor / axes["S2"].max(),
        }, axes
    axes = {"n_params": draw.x, "n_examples": other}
    floor = {} if name == "kaplan" else {"E": draw.floor}
    if name.startswith("kaplan"):
        beta = alpha * near(0.5, 2)
        sizes = {"N_c": draw.center * near(0.5, 2) ** (1 / alpha), "D_c": middle * near(0.5, 2) ** (1 / beta)}
        return floor | sizes | {"alpha_N": alpha, "alpha_D": beta}, axes
    if name == "shared-exponent":
        beta = alpha
    heights = {"A": draw.scaled, "B": near(0.2, 5) * middle**beta}
    rates = {"alpha": alpha} if name == "shared-exponent" else {"alpha": alpha, "beta": beta}
    if name.startswith("saturating"):
        more = {"c": near(0.05, 0.5), "gamma": rng.uniform(0.05, 0.6), "delta": rng.uniform(0.05, 0.6)}
        more["c"] *= draw.center ** -more["gamma"] * middle ** more["delta"]
        params = floor | {"L0": draw.floor + near(1, 5), "a": heights["A"], "b": heights["B"]} | rates
        return params | (more if name == "saturating-overfit" else {}), axes
    params = floor | heights | rates
    if name == "outer-exponent":
        params["gamma"] = near(0.4, 1.5)
    if name == "interaction":
        log_n, log_d = np.log(draw.center), np.log(middle)
        kappa, tilt = rng.uniform(-0.02, 0.02), rng.uniform(-0.1, 0.1)
        params |= {"beta": beta - kappa * log_n, "c": tilt + kappa * log_d, "kappa": kappa}
        params["B"] = near(0.2, 5) * float(np.exp(log_d * beta - log_n * (tilt + kappa * log_d)))
    if name == "seen-and-unique":
        gamma = rng.uniform(0.05, 1.2)
        axes["epochs"] = rng.choice([1.0, 2, 4, 8, 16, 32, 64], draw.n)
        params |= {"C": near(0.2, 5) * middle**gamma, "gamma": gamma}
    if name == "data-constrained":
        params |= {"R_D": near(3, 40), "R_N": near(2, 20)}
        axes["epochs"] = rng.choice([1.0, 2, 4, 8, 16, 32, 64], draw.n)
    if name == "step-law":
        best = near(1e-4, 1e-2)
        params |= {"c": best, "a": rng.uniform(-0.8, 0), "b": rng.uniform(0, 0.4), "h": near(0.01, 0.2)}
        params["c"] *= draw.center ** -params["a"] * middle ** -params["b"]
        axes["lr"] = best * 2.0 ** rng.integers(-3, 4, draw.n)
    return params, axes


def outcome(name: str, n: int, seed: int) -> tuple[str, float]:
    """Returns how the fit of a draw ended (`found`, `wrong`, `refused`, `alike`) and its seconds."""
    law = get_law(name)
    params, x = drawn(name, n, np.random.default_rng([NAMES.index(name), n, seed]))
    further = {axis: np.array([column.max() * BEYOND]) for axis, column in x.items()}
    if name == "sigmoid":
        further = {axis: np.array([column.min() / BEYOND]) for axis, column in x.items()}
    y, y_further = law.predict(params, x), law.predict(params, further)
    began = time.perf_counter()
    try:
        fit = fit_law(law, x, y)
    except FitError:
        return "refused", time.perf_counter() - began
    seconds = time.perf_counter() - began
    at_rows = np.abs(fit.predict(x) / y - 1).max()
    beyond = np.abs(fit.predict(further) / y_further - 1).max()
    if max(at_rows, beyond) <= WRONG:
        return "found", seconds
    return ("alike" if at_rows <= ROUNDING else "wrong"), seconds


def least_rows(name: str) -> int:
    """Returns the fewest rows that a fit takes."""
    return len(drawn(name, MOST_ROWS, np.random.default_rng(0))[0]) + 1


def recovery(names: list[str], draws: int, processes: int) -> None:
    """Prints failures by form and number of rows."""
    counts = range(3, MOST_ROWS + 1)
    print(f"| form | {' | '.join(f'{n} rows' for n in counts)} | failed | not told apart | ms a fit |")
    print("|---|" + "---|" * (len(counts) + 3))
    with ProcessPoolExecutor(processes) as pool:
        for name in names:
            own = [n for n in counts if n >= least_rows(name)]
            rows = [own[index % len(own)] for index in range(draws)]
            found = list(pool.map(outcome, [name] * draws, rows, range(draws), chunksize=20))
            failed = Counter(
                n for n, (how, _) in zip(rows, found, strict=True) if how in ("wrong", "refused")
            )
            alike = sum(how == "alike" for how, _ in found)
            cells = [str(failed[n]) if n in own else "–" for n in counts]
            middle = 1e3 * float(np.median([seconds for _, seconds in found]))
            print(
                f"| `{name}` | {' | '.join(cells)} | {failed.total()} | {alike} | {middle:.1f} |", flush=True
            )


def serve() -> None:
    """Times the fits that standard input asks for, one a line."""
    for line in sys.stdin:
        name, n, seed = json.loads(line)
        rng = np.random.default_rng([NAMES.index(name), n, seed])
        params, x = drawn(name, n, rng)
        noise = NOISE * rng.standard_normal(n)
        law = get_law(name)
        # The ceiling of a link was a parameter once.
        y = law.predict(params | ({"high": 1.0} if "high" in law.params else {}), x)
        y = y * np.exp(noise) if law.positive else y + noise
        # Time of the processor, for what else the machine does would show in ratios of a few milliseconds.
        began = time.process_time()
        with contextlib.suppress(FitError):
            fit_law(law, x, y)
        print(time.process_time() - began, flush=True)


def _seconds(here: subprocess.Popen[str], there: subprocess.Popen[str], job: list[str | int]) -> np.ndarray:
    """Returns the shortest of the timings of each side, which take turns."""
    turns = [[float(ask(side, job)) for side in (here, there)] for _ in range(TURNS)]
    return np.min(turns, axis=0)


def speed(names: list[str], other: Path, repeats: int) -> None:
    """Prints how long fits take here, as a ratio to another checkout, alternating between the two."""
    # Cores of one machine differ by tens of percent while others use it; the two never run at once.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with server(__file__, Path(__file__).parents[1]) as here, server(__file__, other) as there:
        print(f"| form | {' | '.join(f'{n} rows' for n in TIMED_ROWS)} |")
        print("|---|" + "---|" * len(TIMED_ROWS))
        for name in names:
            cells = []
            for n in TIMED_ROWS:
                n = max(n, least_rows(name))
                jobs = [[name, n, seed] for seed in range(repeats)]
                mine, theirs = np.array([_seconds(here, there, job) for job in jobs]).T
                cells.append(f"{mine.sum() / theirs.sum():.2f} ({1e3 * np.median(mine):.1f} ms)")
            print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--laws", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.against:
        speed([name for name in options.laws if name in OLD], options.against, options.repeats)
    else:
        recovery(options.laws, options.draws, options.processes)


if __name__ == "__main__":
    main()
