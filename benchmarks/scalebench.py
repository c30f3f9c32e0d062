"""Chooses runs under a budget from tables of public runs: `next` against five rules, on R² of costly runs.

    python benchmarks/scalebench.py FOLDER [--tables moe data_constrained …] [--repeats 10]

FOLDER has `<table>_train.parquet`, the pool, and `<table>_test.parquet`, the target region (ScaleBench,
arXiv 2604.22753). A repeat has a random nine tenths of the pool; a rule spends 1, 5 or 10% of what that
costs and sees a loss once it has paid for it. Every rule's runs are then fitted alike, with the same form and
the same weak priors (`scalelab.analysis.next.belief`). The five rules: at random; the cheapest first; at
random with a chance of one over the cost; D- and V-optimal from the cheapest 2.5 runs a parameter on, gain
over the power 0.4 of the cost, as published. A score below -1 counts as -1, as in the paper.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import duckdb
import numpy as np

from scalelab.analysis.fitting.data import Table
from scalelab.analysis.laws import get_law
from scalelab.analysis.next.belief import Belief
from scalelab.analysis.next.choose import picks
from scalelab.analysis.next.design import Aim, Design
from scalelab.law import Law

FORMS = {
    "moe": ("loss_validation", "E + A*dense_parameter_count^-alpha*num_experts^-beta", ()),
    "data_constrained": ("loss", "E + A*params^-a + B*unique_tokens^-b + C*tokens^-c", ("params", "tokens")),
    "vocab": (
        "unigram_normalized_loss",
        "E + A*non_vocab_parameters^-a + B*vocab_size^-b + C*num_characters^-c",
        ("non_vocab_parameters", "num_characters"),
    ),
    "parallel": ("loss", "E + A*num_params^-a*parallel_size^-b", ()),
}
"""By table the outcome, the form, and the axes whose product is the cost; by default all."""
BUDGETS = (0.01, 0.05, 0.1)
FIRST, GROUP = 2.5, 20
"""Cheapest runs to begin with, a parameter; a group of runs is a twentieth of those that there are."""
POWER = 0.4


@dataclass(frozen=True, eq=False)
class Pool:
    """Runs to choose from, and those to predict."""

    law: Law
    axes: tuple[str, ...]
    columns: tuple[np.ndarray, ...]
    y: np.ndarray
    cost: np.ndarray
    target: tuple[np.ndarray, ...]
    truth: np.ndarray

    def rows(self, chosen: np.ndarray) -> Table:
        """Returns the rows that were paid for."""
        columns = tuple(column[chosen] for column in self.columns)
        return Table(self.axes, columns, self.y[chosen], np.ones(chosen.size))

    def belief(self, chosen: list[int], before: Belief | None = None) -> Belief:
        """Fits the form to what was paid for."""
        around = tuple(np.concatenate(pair) for pair in zip(self.columns, self.target, strict=True))
        return Belief.of(self.law, self.rows(np.array(chosen, dtype=int)), around, before)

    def score(self, chosen: list[int]) -> float:
        """Returns R² of the target region."""
        missed = np.sum((self.truth - self.belief(chosen).values_at(self.target)) ** 2)
        return max(1.0 - float(missed / np.sum((self.truth - self.truth.mean()) ** 2)), -1.0)

    def some(self, kept: np.ndarray) -> Pool:
        """Returns the pool with some of its runs."""
        columns = tuple(column[kept] for column in self.columns)
        return Pool(self.law, self.axes, columns, self.y[kept], self.cost[kept], self.target, self.truth)


@cache
def read(folder: Path, table: str) -> dict[str, Pool]:
    """Reads a table; one pool for each of its groups."""
    outcome, form, paid = FORMS[table]
    parts = [
        duckdb.sql(f"SELECT * FROM '{folder}/{table}_{part}.parquet'").df() for part in ("train", "test")
    ]
    pools = {}
    for group in sorted(parts[0]["group"].unique()):
        train, test = (part[part["group"] == group] for part in parts)
        axes = tuple(name for name in train if name in form)
        y = train[outcome].to_numpy(dtype=float)
        law = get_law(form).suited(axes, y)
        columns, target = ([part[axis].to_numpy(dtype=float) for axis in axes] for part in (train, test))
        cost = np.prod([train[axis].to_numpy(dtype=float) for axis in paid or axes], axis=0)
        truth = test[outcome].to_numpy(dtype=float)
        name = table if group == "all_data" else f"{table}, {group}"
        pools[name] = Pool(law, axes, tuple(columns), y, cost, tuple(target), truth)
    return pools


def affordable(pool: Pool, order: np.ndarray, budget: float) -> list[int]:
    """Returns the runs that can be paid for in this order; what is too dear is left out."""
    chosen, left = [], budget
    for run in order:
        if pool.cost[run] <= left:
            chosen.append(int(run))
            left -= pool.cost[run]
    return chosen


def cheapest(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """Returns the runs by cost; those of the same cost in any order."""
    order = rng.permutation(pool.cost.size)
    return order[np.argsort(pool.cost[order], kind="stable")]


def drawn(pool: Pool, rng: np.random.Generator, power: float) -> np.ndarray:
    """Returns the runs in random order, those of low cost rather early by some power."""
    chance = pool.cost**-power
    return rng.choice(pool.cost.size, pool.cost.size, replace=False, p=chance / chance.sum())


def one_by_one(
    pool: Pool, rng: np.random.Generator, budget: float, choose: Callable[..., list[int]]
) -> list[int]:
    """Pays for the cheapest runs first and then for those that a rule chooses by what came of them."""
    first = cheapest(pool, rng)[: int(FIRST * len(pool.law.params))]
    chosen = affordable(pool, first, budget)
    belief = None
    while True:
        left = budget - float(pool.cost[chosen].sum())
        rest = rng.permutation(np.setdiff1d(np.arange(pool.cost.size), chosen))
        rest = rest[pool.cost[rest] <= left]
        if not rest.size:
            return chosen
        belief = pool.belief(chosen, belief)
        found = choose(pool, belief, chosen, rest, left)
        if not found:
            return chosen
        chosen += [int(rest[one]) for one in found]


def next_rule(pool: Pool, belief: Belief, chosen: list[int], rest: np.ndarray, left: float) -> list[int]:
    """The rule of `scalelab next`."""
    rows, candidates = pool.rows(np.array(chosen, dtype=int)), tuple(column[rest] for column in pool.columns)
    design = Design.of(belief, rows, candidates, Aim(pool.target), {})
    free = [np.ones(rest.size, dtype=bool)]
    most = max(1, len(chosen) // GROUP)
    return [one.candidate for one in picks([design], [pool.cost[rest]], left, free=free, most=most)]


def optimal(
    pool: Pool, belief: Belief, chosen: list[int], rest: np.ndarray, left: float, *, at_target: bool
) -> list[int]:
    """D- or V-optimal choice for the most probable parameters, as if the form were right."""
    precision = belief.slopes.T @ belief.slopes / belief.noise**2 + np.diag(belief.width**-2.0)
    covariance = np.linalg.inv(precision)
    slopes = belief.slopes_at(tuple(column[rest] for column in pool.columns))
    spread = np.einsum("np,pq,nq->n", slopes, covariance, slopes)
    gain = np.log1p(spread / belief.noise**2)
    if at_target:
        along = belief.slopes_at(pool.target) @ covariance @ slopes.T
        gain = np.sum(along**2, axis=0) / (belief.noise**2 + spread)
    found: list[int] = []
    for run in np.argsort(-gain / pool.cost[rest] ** POWER)[: max(1, len(chosen) // GROUP)]:
        if pool.cost[rest[run]] <= left:
            found.append(int(run))
            left -= pool.cost[rest[run]]
    return found


RULES: dict[str, Callable[[Pool, np.random.Generator, float], list[int]]] = {
    "random": lambda pool, rng, budget: affordable(pool, drawn(pool, rng, 0.0), budget),
    "cheapest first": lambda pool, rng, budget: affordable(pool, cheapest(pool, rng), budget),
    "cost-random": lambda pool, rng, budget: affordable(pool, drawn(pool, rng, 1.0), budget),
    "D-optimal": partial(one_by_one, choose=partial(optimal, at_target=False)),
    "V-optimal": partial(one_by_one, choose=partial(optimal, at_target=True)),
    "next": partial(one_by_one, choose=next_rule),
}


def trial(asked: tuple[Path, str, str, str, float, int]) -> float:
    """Returns the score of one repeat of a rule; the law of a formula does not travel, so tables are read."""
    folder, table, name, rule, share, repeat = asked
    pool = read(folder, table)[name]
    rng = np.random.default_rng([repeat, 7])
    own = pool.some(rng.permutation(pool.y.size)[: max(1, int(0.9 * pool.y.size))])
    return own.score(RULES[rule](own, rng, share * float(own.cost.sum())))


def main() -> None:
    """Prints one table of scores for each pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="*", default=["data_constrained", "moe"], choices=FORMS)
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=RULES)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    pools = [(table, name) for table in asked.tables for name in read(asked.folder, table)]
    with get_context("spawn").Pool(asked.processes) as processes:
        for pool in pools:
            print(f"\n| {pool[1]} | {' | '.join(f'{share:.0%}' for share in BUDGETS)} | mean | s |")
            print(f"|---|{'---|' * (len(BUDGETS) + 2)}")
            for rule in asked.rules:
                begin = time.perf_counter()
                parts = [(share, one) for share in BUDGETS for one in range(asked.repeats)]
                jobs = [(asked.folder, *pool, rule, *part) for part in parts]
                scores = np.array(processes.map(trial, jobs, chunksize=1)).reshape(len(BUDGETS), -1)
                errors = scores.std(axis=1, ddof=1) / np.sqrt(asked.repeats)
                cells = (
                    f"{one:.3f} ± {error:.3f}" for one, error in zip(scores.mean(1), errors, strict=True)
                )
                seconds = time.perf_counter() - begin
                print(f"| {rule} | {' | '.join(cells)} | {scores.mean():.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
