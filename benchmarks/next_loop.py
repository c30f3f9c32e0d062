"""Simulated studies: what part of a grid's FLOPs the loop of `next` spends for the grid's width; coverage.

    python benchmarks/next_loop.py [--studies 75] [--processes 2]

A study has six sizes by six amounts of data over two and a half decades each, and the loss at ten times the
largest of both is asked. The grid runs all 36; its interval (chinchilla, 90%, of a run, from `fit_law`) has
some width. The loop chooses from the same 36, each with a second seed, until its own interval is as narrow,
and the intervals of both are held against a run that is made there. Truths are drawn anew for every study, of
four forms (`simulated_runs`); the law that answers is chinchilla's for all, so that for three it is wrong.
"""

from __future__ import annotations

import argparse
from multiprocessing import get_context

import numpy as np
from simulated_runs import TWO_AXES, plane_of

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.chosen import relative_width
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.fitting.data import Table
from scalelab.analysis.inference.average import candidates
from scalelab.analysis.laws import get_law
from scalelab.analysis.next.belief import Belief, weighed
from scalelab.analysis.next.choose import TO_WIDTH, opening, picks
from scalelab.analysis.next.design import Aim, Design, widened

SIDE, DECADES, SIGMA, LEVEL = 6, 2.5, 0.01, 0.9
GROUP, MOST = 10, 1.5
FORM = get_law("chinchilla")
AXES = ("n_params", "n_examples")
OTHERS = [law for law in candidates(AXES) if law.name != FORM.name]


def study(asked: tuple[str, int]) -> tuple[float, bool, bool, bool]:
    """Returns the share of the grid's FLOPs that the loop spent, whether it got there, and who covered."""
    name, seed = asked
    rng = np.random.default_rng([TWO_AXES.index(name), seed, 3])
    plane, steps = plane_of(name, rng), np.linspace(0.0, DECADES * np.log(10.0), SIDE)
    u, v = (np.tile(own, 2) for own in (np.repeat(steps, SIDE), np.tile(steps, SIDE)))
    far = np.array([steps[-1] + np.log(10.0)])
    y = plane(u, v) * np.exp(SIGMA * rng.standard_normal(u.size))
    outcome = float(plane(far, far)[0] * np.exp(SIGMA * rng.standard_normal()))
    columns, target = (1e7 * np.exp(u), 2e8 * np.exp(v)), (1e7 * np.exp(far), 2e8 * np.exp(far))
    cost = 6.0 * columns[0] * columns[1]
    grid = np.arange(SIDE * SIDE)

    around = tuple(np.concatenate(pair) for pair in zip(columns, target, strict=True))

    def design_of(rows: np.ndarray) -> tuple[Design, Table]:
        table = Table(AXES, tuple(own[rows] for own in columns), y[rows], np.ones(rows.size))
        belief = Belief.of(FORM, table, around)
        others = weighed(belief, [Belief.of(law, table, around) for law in OTHERS], len(table))
        return Design.of(belief, table, columns, Aim(target), others), table

    def interval(rows: np.ndarray, design: Design) -> tuple[float, bool]:
        x = {axis: own[rows] for axis, own in zip(AXES, columns, strict=True)}
        found = fit_law("chinchilla", x, y[rows]).predict(
            dict(zip(AXES, target, strict=True)), LEVEL, noise=True
        )
        own = widened(Estimate(*(float(one[0]) for one in found)), design, LEVEL, of_run=True)
        return relative_width(own) or np.inf, own.ends[0] <= outcome <= own.ends[1]

    wanted, covered = interval(grid, design_of(grid)[0])
    chosen: list[int] = []
    design, table = design_of(grid[:0])
    while True:
        new = opening(design, table, columns, cost)
        if not new:
            free, most = np.ones(u.size, dtype=bool), max(1, len(chosen) // GROUP)
            free[chosen] = False
            new = [
                one.candidate
                for one in picks([design], [cost], np.inf, free=[free], most=most, rate=TO_WIDTH)
            ]
        chosen += new
        rows = np.array(chosen)
        design, table = design_of(rows)
        share = float(cost[rows].sum() / cost[grid].sum())
        # The interval is never narrower than its design, so that of a wide one need not be made.
        width, own = np.inf, False
        last = not new or share > MOST
        least = relative_width(widened(Estimate(1.0, 1.0, 1.0), design, LEVEL, of_run=True))
        if last or (least or 0.0) <= wanted:
            width, own = interval(rows, design)
        if width <= wanted or last:
            return share, width <= wanted, own, covered


def main() -> None:
    """Prints a row for each form and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=75)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    print("| truth | studies | reached | part of the grid's FLOPs: median, mean | covered | by the grid |")
    print("|---|---|---|---|---|---|")
    everything = []
    with get_context("spawn").Pool(asked.processes) as processes:
        for name in (*TWO_AXES, "all"):
            jobs = [(name, seed) for seed in range(asked.studies)]
            found = everything if name == "all" else processes.map(study, jobs, chunksize=1)
            everything = everything if name == "all" else [*everything, *found]
            share, reached, own, covered = (
                np.array(column, dtype=float) for column in zip(*found, strict=True)
            )
            spent = f"{np.median(share):.2f}, {share.mean():.2f}"
            counts = " | ".join(f"{one.mean():.0%}" for one in (own, covered))
            print(f"| {name} | {len(found)} | {reached.mean():.0%} | {spent} | {counts} |", flush=True)


if __name__ == "__main__":
    main()
