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

from scalelab import fit_law
from scalelab.analysis.laws import LAWS, get_law
from scalelab.errors import FitError

MOST_ROWS, BEYOND = 12, 10.0
WRONG, ROUNDING = 1e-6, 1e-12
NOISE, TIMED_ROWS = 0.01, (8, 30, 200)
NAMES = tuple(LAWS)
Rows = dict[str, np.ndarray]


def drawn(name: str, n: int, rng: np.random.Generator) -> tuple[dict[str, float], Rows]:
    """Returns the parameters of a law, and n rows over two to five decades that it bends within."""

    def near(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    low, decades = near(1e2, 1e7), rng.uniform(2, 5)
    places = (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / (n - 1)
    x = low * 10 ** (decades * places)
    inner, center = np.sort(x)[[1, -2]], float(np.exp(np.mean(np.log(x))))
    axis = {"n_examples": x}
    alpha, floor, height = rng.uniform(0.05, 1.2), near(0.05, 5), near(0.2, 5)
    scaled = height * center**alpha
    if name in ("power", "loglog"):
        return {"A": scaled, "alpha": alpha}, axis
    if name == "power-offset":
        return {"E": floor, "A": scaled, "alpha": alpha}, axis
    if name == "m3":
        return {"beta": scaled, "c": alpha, "gamma": 1 / near(*inner)}, axis
    if name == "m4":
        params = {"E": floor, "E0": floor + near(0.5, 5), "beta": near(0.3, 3) * center**alpha, "c": alpha}
        return params | {"alpha": near(0.3, 3)}, axis
    if name.startswith("bnsl"):
        params = {"E": floor, "b": scaled, "c0": alpha, "c1": rng.uniform(0.1, 0.8)}
        params |= {"d1": near(*inner), "f1": near(0.2, 1.5)}
        if name == "bnsl2":
            places = sorted((near(*inner), near(*inner)))
            params |= {"d1": places[0], "c2": rng.uniform(0.1, 0.6), "d2": places[1], "f2": near(0.2, 1.5)}
        return params, axis
    if name == "sigmoid":
        ends = {"low": rng.uniform(0, 0.3), "high": rng.uniform(0.7, 1)}
        return ends | {"k": near(1, 8), "middle": rng.uniform(1, 2)}, {"loss": 0.3 + 2.7 * places}
    other = near(1e2, 1e7) * 10 ** (rng.uniform(2, 5) * rng.permutation(places))
    axes, middle = {"n_params": x, "n_examples": other}, float(np.exp(np.mean(np.log(other))))
    beta = rng.uniform(0.05, 1.2)
    if name == "kaplan":
        beta = alpha * near(0.5, 2)
        sizes = {"N_c": center * near(0.5, 2) ** (1 / alpha), "D_c": middle * near(0.5, 2) ** (1 / beta)}
        return sizes | {"alpha_N": alpha, "alpha_D": beta}, axes
    params = {"E": floor, "A": scaled, "B": near(0.2, 5) * middle**beta, "alpha": alpha, "beta": beta}
    if name == "data-constrained":
        params |= {"R_D": near(3, 40), "R_N": near(2, 20)}
        axes["epochs"] = rng.choice([1.0, 2, 4, 8, 16, 32, 64], n)
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
        y = law.predict(params, x)
        y = y * np.exp(noise) if law.positive else y + noise
        # Time of the processor, for what else the machine does would show in ratios of a few milliseconds.
        began = time.process_time()
        with contextlib.suppress(FitError):
            fit_law(law, x, y)
        print(time.process_time() - began, flush=True)


def _server(root: Path) -> subprocess.Popen[str]:
    """Starts this script in another process, over the program of that checkout."""
    command = [sys.executable, __file__, "--serve"]
    environment = {**os.environ, "PYTHONPATH": str(root.resolve())}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _seconds(server: subprocess.Popen[str], job: list[str | int]) -> float:
    """Returns the shortest of three timings."""
    assert server.stdin is not None
    assert server.stdout is not None
    found = []
    for _ in range(3):
        print(json.dumps(job), file=server.stdin, flush=True)
        found.append(float(server.stdout.readline()))
    return min(found)


def speed(names: list[str], other: Path, repeats: int) -> None:
    """Prints how long fits take here, as a ratio to another checkout, alternating between the two."""
    with _server(Path(__file__).parents[1]) as here, _server(other) as there:
        print(f"| form | {' | '.join(f'{n} rows' for n in TIMED_ROWS)} |")
        print("|---|" + "---|" * len(TIMED_ROWS))
        for name in names:
            cells = []
            for n in TIMED_ROWS:
                n = max(n, least_rows(name))
                jobs = [[name, n, seed] for seed in range(repeats)]
                mine, theirs = np.array([[_seconds(side, job) for side in (here, there)] for job in jobs]).T
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
        speed(options.laws, options.against, options.repeats)
    else:
        recovery(options.laws, options.draws, options.processes)


if __name__ == "__main__":
    main()
