"""The law of compute where the frontier of the runs is the edge of their grid: the optimum of L(N, D).

The loss at a budget C is that of the law L(N, D) at the N and D of C = k·N·D where it is lowest. By the
envelope theorem it moves with the parameters as the law does at that N and D, so that its interval is that of
the law there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.fitted import AHEAD, DEFAULT_LAW, JOINT_LAW, FittedLaw, run_parts
from scalelab.analysis.fits.fit import Fit, FitOptions, fit_law
from scalelab.analysis.fitting.draws import Quantity
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.intervals import intervals, run_reach
from scalelab.analysis.inference.quantities import (
    FLOPS_PER,
    compute_exponent,
    optimal_examples,
    optimal_params,
    refuse_no_optimum,
)
from scalelab.analysis.inference.spread import Parts
from scalelab.analysis.inference.trend import refuse_no_trend
from scalelab.analysis.laws import get_law
from scalelab.analysis.laws.saturating import Saturating
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.selection import (
    EdgeError,
    Points,
    axis_points,
    check_trend,
    grid_points,
    training_points,
)
from scalelab.analysis.runs.uncounted import compute_doubts
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit


_SURE = 0.99


class Costs(NamedTuple):
    """What training cost.

    Attributes:
        flops: Training FLOPs of each run, measured or else by the factor; shape (runs,).
        per: FLOPs for each parameter and example seen: the geometric mean of what was measured.
        ratios: What was measured of each run that records it, shape (any,).
    """

    flops: Array
    per: float
    ratios: Array


def costs_of(points: Points) -> Costs:
    """Returns what the runs of points of `n_params` and `n_examples`, those seen, cost."""
    product = points.x["n_params"] * points.x["n_examples"]
    flops = points.of_runs("train_flops")
    ratio = flops / product
    known = np.isfinite(ratio) & (ratio > 0)
    per = float(np.exp(np.mean(np.log(ratio[known])))) if known.any() else FLOPS_PER
    return Costs(np.where(known, flops, per * product), per, ratio[known])


@dataclass(frozen=True, eq=False)
class Optimum:
    """A law L(N, D) where it is lowest for each budget.

    Attributes:
        grid: The points of N and D that it was fitted to.
        fit: The law.
        flops_per: FLOPs for each parameter and example seen.
        points: The same points by what they cost.
    """

    grid: Points
    fit: Fit
    flops_per: float
    points: Points

    @classmethod
    def of(cls, designs: pd.DataFrame, *, estimator: str, seed: int) -> Optimum:
        """Fits the law L(N, D) of a family.

        Raises:
            FitError: The runs support none, or it has no optimum.
        """
        grid = training_points(designs)
        refuse_no_trend(*grid.means)
        fit = fit_law(
            get_law(JOINT_LAW), grid.x, grid.loss, estimator=estimator, errors=grid.errors, seed=seed
        )
        refuse_no_optimum(fit)
        per = costs_of(grid).per
        spent = per * grid.rows["n_params"] * grid.rows["n_examples"]
        rows = grid.rows.assign(train_flops=grid.rows["train_flops"].fillna(spent))
        words = f"{grid.selection}, at the best split of C = {per:.3g}·N·D"
        return cls(grid, fit, per, Points(("train_flops",), rows, words, "at the best split of N and D"))

    def split(self, budgets: Array) -> dict[str, Array]:
        """Returns the N and D that budgets are best spent on, each of shape (budgets,)."""
        made = (optimal_params, optimal_examples)
        sizes = [[self.fit.estimate(of(float(c), self.flops_per)) for c in budgets] for of in made]
        return dict(zip(self.grid.axes, map(np.array, sizes), strict=True))

    def at(self, scale: Mapping[str, float]) -> dict[str, float]:
        """Returns the N and D of a scale that names its `train_flops`."""
        split = self.split(np.array([scale["train_flops"]]))
        return {axis: float(value[0]) for axis, value in split.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimumLaw(FittedLaw):
    """The law of compute at the optimum of a law L(N, D): `fit` is that law.

    Attributes:
        optimum: Where it is lowest.
    """

    optimum: Optimum

    @property
    @override
    def law(self) -> str:
        return f"{self.best.law.name} at its optimum"

    @property
    @override
    def equation(self) -> str:
        return f"L = E + K * C^-gamma, the least of {self.best.law.equation}"

    @property
    @override
    def exponents(self) -> tuple[str, ...]:
        return ("gamma",)

    @cached_property
    @override
    def log_errors(self) -> NDArray[np.float64]:
        grid = self.optimum.grid
        return np.log(grid.loss) - np.log(self.fit.predict(grid.x))

    @cached_property
    @override
    def ahead_parts(self) -> Parts:
        far = AHEAD * float(self.points.rows["train_flops"].max())
        return run_parts(self.fit, self.optimum.at({"train_flops": far}), self.ahead, self.level)

    @cached_property
    @override
    def doubts(self) -> tuple[str, ...]:
        grid = self.optimum.grid
        return (*diagnose(self.best).warnings(), *grid.doubts, *compute_doubts(grid.rows))

    @override
    def along(self, scales: Array) -> dict[str, Array]:
        return self.optimum.split(scales)


def law_of(
    designs: pd.DataFrame, axes: Sequence[str], law: str | Law, *, estimator: str, seed: int
) -> tuple[Points, Fit | AutoFit[Fit], Optimum | None]:
    """Fits a law of one family along some axes.

    Args:
        designs: The designs of the family.
        axes: One axis, or those of a grid.
        law: A form, or the name of the default one along compute, which gives way to the optimum of L(N, D)
            where the frontier says nothing.
        estimator: What is minimized.
        seed: Seed of everything random.

    Returns:
        The points, the law, and for a law of compute at the optimum of L(N, D), which the law then is, that.

    Raises:
        FitError: The runs support none.
    """
    try:
        points = axis_points(designs, axes[0]) if len(axes) == 1 else grid_points(designs, tuple(axes))
        check_trend(points, designs)
        how: FitOptions = {"estimator": estimator, "errors": points.errors, "seed": seed}
        fit = fit_law(_with_constant(law, points), points.x, points.loss, **how)
        if tuple(axes) == ("train_flops",):
            _refuse_beaten(points, fit, designs)
    except FitError as none:
        if law != DEFAULT_LAW or tuple(axes) != ("train_flops",):
            raise
        try:
            optimum = Optimum.of(designs, estimator=estimator, seed=seed)
        except FitError as error:
            why = str(error).partition(";")[0]
            reason = str(none) if why in str(none) else f"{none}. No law L(N, D) says more: {why}"
            remedies = none.remedies | (frozenset() if reason == str(none) else error.remedies)
            if isinstance(none, EdgeError):
                raise EdgeError(reason, none.along, remedies) from None
            raise FitError(reason, remedies) from None
        return optimum.points, optimum.fit, optimum
    return points, fit, None


def _refuse_beaten(points: Points, fit: Fit | AutoFit[Fit], designs: pd.DataFrame) -> None:
    """Refuses the law of a frontier that larger runs of the family fell far below.

    A frontier ends at the edge of the grid, which is left out. Where the grid has a gap before that edge, in
    data say, the designs before the gap are on it for want of others, and level off where compute does not.

    Raises:
        FitError: A run of more compute than the law's points has a loss below the 99% interval of one.
    """
    known = designs.dropna(subset=["loss", "train_flops"])
    beyond = known[known["train_flops"] > points.rows["train_flops"].max()]
    if isinstance(fit, Fit) and len(beyond):
        # The noise of one run is told at once and clears most of them; the rest of its interval takes long.
        at, scores = {"train_flops": beyond["train_flops"].to_numpy()}, fit.estimator
        least = scores.outcome(scores.score(fit.predict(at)) - run_reach(fit, at, _SURE))
        beyond = beyond[beyond["loss"].to_numpy() < least]
    if beyond.empty:
        return
    said = fit.predict({"train_flops": beyond["train_flops"].to_numpy()}, _SURE, noise=True)
    below = said.lower - beyond["loss"].to_numpy()
    worst = int(below.argmax())
    if below[worst] > 0:
        run = beyond.iloc[worst]
        raise FitError(
            f"runs of more compute than those on the frontier fell far below its law, to a loss of "
            f"{run['loss']:.3g} at {run['train_flops']:.3g} FLOPs, where it says {said.mean[worst]:.3g}: the "
            "grid has a gap before them, or that run is unlike the others; add sizes between, or a repeat",
            ("sizes",),
        )


def _with_constant(law: str | Law, points: Points) -> str | Law:
    """Returns the form `saturating` with its L0 given, where all runs have the same one on record."""
    form = get_law(law) if law in ("saturating", "saturating-overfit") else law
    if not isinstance(form, Saturating) or form.l0 is not None or "constant_loss" not in points.rows:
        return law
    known = points.rows["constant_loss"]
    alike = known.notna().all() and known.max() <= known.min() * (1.0 + 1e-9) and known.min() > 0
    return type(form)(float(known.iloc[0])) if alike else law


def optimum_law(family: Family, optimum: Optimum, spread: float | None, level: float) -> OptimumLaw:
    """Returns the law of compute of a family at the optimum of its law L(N, D), with its estimates."""
    fit, points = optimum.fit, optimum.points
    quantities: dict[str, Quantity] = {"E": "E", "gamma": compute_exponent}
    ends = intervals(fit, list(quantities.values()), level)
    params = {
        name: Estimate.of(fit.estimate(quantity), *own)
        for (name, quantity), own in zip(quantities.items(), ends, strict=True)
    }
    far = optimum.split(np.array([AHEAD * float(points.rows["train_flops"].max())]))
    return OptimumLaw(
        family=family, points=points, fit=fit, axis="train_flops", params=params,
        seed_spread=spread, ahead=Estimate.first(fit.predict(far, level)), level=level,
        optimum=optimum,
    )  # fmt: skip
