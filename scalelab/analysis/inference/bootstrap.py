"""Refits to resampled rows: what the estimates would have been on other runs of the same kind.

All refits are minimized together from the optimum of the fit, in chunks that stay in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.fitting.draws import Draws, Quantity, evaluate
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import Problem, minimize
from scalelab.analysis.inference.simulator import simulator, wide_problem
from scalelab.arrays import Array, Index
from scalelab.errors import FitError, InputError

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("pairs", "residuals", "clusters")

_CHUNK = 60_000
_BLOCKS = 400


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Refits to resampled rows.

    Attributes:
        fit: The fit that was resampled.
        kind: How, see `bootstrap`.
        seed: Of the resampling.
        draws: The refits that succeeded.
        failed: How many did not, because their rows could not determine the law.
    """

    fit: Point
    kind: str
    seed: int
    draws: Draws
    failed: int = 0

    @property
    def params(self) -> dict[str, Array]:
        """Public parameters by name, each of shape (refits,)."""
        return self.draws.params

    def values(self, quantity: Quantity) -> Array:
        """Returns a quantity for each refit, shape (refits,)."""
        return evaluate(quantity, self.draws)

    def stderr(self, quantity: Quantity) -> float:
        """Returns the standard deviation of a quantity over the refits."""
        return float(np.std(self.values(quantity), ddof=1))

    def interval(
        self, quantity: Quantity, level: float = 0.9, method: str = "percentile"
    ) -> tuple[float, float]:
        """Returns an interval of a quantity.

        Args:
            quantity: a parameter's name or a function of draws.
            level: Its coverage.
            method: `percentile`, or `bca` (bias-corrected and accelerated, Efron 1987), whose
                acceleration comes from leaving out one row, cluster or, of more than 400 rows, block at a
                time.

        Raises:
            InputError: The method is unknown or the level not between 0 and 1.
        """
        shares = tails(level)
        values = self.values(quantity)
        values = values[~np.isnan(values)]
        if method == "bca":
            shares = self._bca_tails(quantity, values, shares)
        elif method != "percentile":
            raise InputError(f"unknown bootstrap interval {method!r}; there are percentile and bca")
        lower, upper = np.quantile(values, shares)
        return float(lower), float(upper)

    def summary(self, level: float = 0.9, method: str = "percentile") -> pd.DataFrame:
        """Returns one row per parameter: estimate, standard error and interval."""
        import pandas as pd

        table = pd.DataFrame({"estimate": self.fit.params})
        table["stderr"] = [self.stderr(name) for name in self.fit.params]
        table[["lower", "upper"]] = [self.interval(name, level, method) for name in self.fit.params]
        return table

    def _bca_tails(self, quantity: Quantity, values: Array, shares: list[float]) -> list[float]:
        normal = NormalDist()
        center = self.fit.estimate(quantity)
        below = np.mean(values < center) + 0.5 * np.mean(values == center)
        below = float(np.clip(below, 0.5 / values.size, 1 - 0.5 / values.size))
        bias = normal.inv_cdf(below)
        left_out = evaluate(quantity, self.fit.keep("jackknife", lambda: _jackknife(self.fit)))
        influence = np.mean(left_out) - left_out
        spread = float((influence**2).sum() ** 1.5)
        acceleration = float((influence**3).sum()) / (6.0 * spread) if spread > 0 else 0.0
        moved = [bias + normal.inv_cdf(share) for share in shares]
        return [normal.cdf(bias + z / (1.0 - acceleration * z)) for z in moved]


def bootstrap(
    fit: Point,
    n: int = 1000,
    *,
    kind: str | None = None,
    seed: int | None = None,
    rows: Index | None = None,
) -> Bootstrap:
    """Refits to resampled rows.

    Args:
        fit: The fit.
        n: How many times.
        kind: `pairs` draws rows with replacement; `residuals` keeps the scales and draws noise, see
            `Simulator`; `clusters` draws whole
            groups. Default: clusters where the fit has groups, else pairs.
        seed: Of the resampling; default the fit's.
        rows: The rows of each resample, whole numbers of shape (n, any), instead of drawing pairs: to
            repeat a bootstrap that was published with its random numbers.

    Raises:
        InputError: The kind is unknown, `n` is below 2, or `clusters` is asked for without groups.
        FitError: All refits failed, or clusters are asked for and all rows are in one group.
    """
    table = fit.table
    kind = kind or ("pairs" if table.groups is None else "clusters")
    if kind not in KINDS:
        raise InputError(f"unknown bootstrap {kind!r}; there are {', '.join(KINDS)}")
    if n < 2:
        raise InputError(f"a bootstrap needs at least 2 refits, got {n}")
    seed = fit.seed if seed is None else seed
    if rows is not None:
        rows = np.asarray(rows)
        if kind != "pairs" or rows.ndim != 2 or rows.min() < 0 or rows.max() >= len(table):
            raise InputError(f"rows must be pairs of shape (n, any) with numbers from 0 to {len(table) - 1}")
        n = len(rows)
    rng = np.random.default_rng(seed)
    base = smooth_problem(fit)
    imitate = simulator(fit) if kind == "residuals" else None
    chunk = chunk_of(base)
    parts, failed = [], 0
    for begin in range(0, n, chunk):
        size = min(chunk, n - begin)
        problem, weights = base, np.broadcast_to(table.weights, (size, len(table)))
        if imitate is not None:
            problem = imitate.draw(base, rng, size)
        elif rows is not None:
            drawn = [np.bincount(line, minlength=len(table)) for line in rows[begin : begin + size]]
            weights = weights * np.array(drawn, dtype=float)
        else:
            weights = weights * _counts(fit, kind, rng, size)
        theta, ok = refit(problem, fit.theta, weights)
        failed += int((~ok).sum())
        parts.append(theta[ok])
    theta = np.concatenate(parts)
    if not len(theta):
        raise FitError(f"none of {n} resamples of {len(table)} rows determines the law {fit.law.name!r}")
    return Bootstrap(fit, kind, seed, fit.draws(theta), failed)


def _jackknife(fit: Point) -> Draws:
    """Returns refits without one row, cluster or, of more than 400 rows, block each."""
    table = fit.table
    blocks = table.groups if table.groups is not None else np.arange(len(table)) % _BLOCKS
    return without_each(fit, blocks)


def without_each(fit: Point, labels: Index) -> Draws:
    """Returns refits without the rows of one label each, in the order of the labels."""
    kept = labels[None, :] != np.unique(labels)[:, None]
    return fit.draws(refit(smooth_problem(fit), fit.theta, kept * fit.table.weights)[0])


def refit(problem: Problem, theta: Array, weights: Array) -> tuple[Array, Index]:
    """Minimizes from one parameter vector for a batch of weights or outcomes.

    Args:
        problem: With `y` of shape (n,) or (batch, n).
        theta: Where to start, shape (parameters,) or (batch, parameters).
        weights: Shape (batch, n).

    Returns:
        Internal parameters of shape (batch, parameters), and which of them are finite optima.
    """
    start = np.broadcast_to(theta, (weights.shape[0], theta.shape[-1]))
    solution = minimize(problem, start, weights, max_iter=60, xtol=1e-4, ftol=1e-7)
    return solution.theta, np.isfinite(solution.objective)


def smooth_problem(fit: Point) -> Problem:
    """Returns the problem for refits: absolute errors get a square part of a twentieth of the residuals.

    Far below the noise, it changes no refit noticeably and lets all of them converge in few steps. Where the
    outcomes bring larger errors than the law leaves, rows that lie on it by chance are no kink to cling to:
    the square part then spans the errors.
    """
    if fit.error > float(np.sqrt(np.mean(fit.residuals**2 * fit.table.weights))):
        return wide_problem(fit)
    if fit.estimator.kind != "absolute":
        return fit.problem
    width = max(0.05 * float(np.median(np.abs(fit.residuals))), 1e-15)
    return replace(fit.problem, estimator=fit.estimator.smoothed(width))


def chunk_of(problem: Problem) -> int:
    """Returns how many refits to minimize together, so that their derivatives stay in the cache."""
    return max(1, _CHUNK // int(problem.y.shape[-1]))


def check_level(level: float) -> None:
    """Raises an InputError unless the level lies between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.9, got {level}")


def tails(level: float) -> list[float]:
    """Returns the shares at which an interval of this coverage begins and ends.

    Raises:
        InputError: The level does not lie between 0 and 1.
    """
    check_level(level)
    return [0.5 - level / 2, 0.5 + level / 2]


def refuse_one_group(fit: Point) -> None:
    """Raises a FitError where all rows are of one group: one run says nothing of the spread between runs."""
    if fit.table.groups is not None and fit.table.groups.max() == 0:
        raise FitError(
            f"all {len(fit.table)} rows are in one group, so that nothing shows how much groups differ: "
            "there is no interval; add runs, or fit without groups if the rows are independent"
        )


def _counts(fit: Point, kind: str, rng: np.random.Generator, size: int) -> Array:
    """Returns how often each row was drawn, shape (size, n)."""
    groups = None if kind == "pairs" else fit.table.groups
    if kind == "clusters" and groups is None:
        raise InputError("clusters need groups: pass groups= to fit_law, one label per row")
    n = len(fit.table) if groups is None else int(groups.max()) + 1
    if groups is not None:
        refuse_one_group(fit)
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size).astype(float)
    return counts if groups is None else counts[:, groups]
