"""Fits a law to rows: `fit_law` and its frozen result, `Fit`.

Works on plain arrays and DataFrames; the store's tables reach it as such.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scalelab.analysis.fitting.data import Table, check_scales, read_axes, read_table
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.search import Starts, search
from scalelab.analysis.fitting.solver import Problem
from scalelab.analysis.laws import get_law
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import Frame, Law

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_FLAT = 1e-9


class Prediction(NamedTuple):
    """Predicted outcomes with an interval; arrays of shape (n,) in the units of the outcome."""

    mean: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Fit:
    """A law with its estimated parameters, and all that is needed to make them again. Never changes.

    Attributes:
        law: The law.
        params: Estimates by name, in the units of the data.
        objective: The summed, weighted penalty at the optimum.
        estimator: What was minimized.
        table: The rows, with their weights and groups.
        seed: Seed of everything random in this fit and, by default, in what is derived from it.
        starts: How many starting points there were and how many agree.
        theta: The internal parameters, shape (parameters,).
        frame: The change of units between the two.
        data_hash: SHA-256 of the rows.
    """

    law: Law
    params: dict[str, float]
    objective: float
    estimator: Estimator
    table: Table
    seed: int
    starts: Starts
    theta: Array = field(repr=False)
    frame: Frame = field(repr=False)
    data_hash: str = field(repr=False)

    @cached_property
    def problem(self) -> Problem:
        """The minimization that this fit solved, for whoever wants to solve variations of it."""
        return make_problem(self.law, self.table, self.frame, self.estimator)

    @property
    def residuals(self) -> Array:
        """Residuals in the space of the estimator (prediction minus outcome, or of logs), shape (n,)."""
        found: Array = self.problem.residuals(self.theta[None])[0][0]
        return found

    def inward(self, x: Any) -> tuple[Array, ...]:
        """Returns scales given as in `fit_law` in the internal coordinates of the law."""
        columns = read_axes(self.law.axes, x)
        if self.law.axes == ("...",) and set(columns) != set(self.table.axes):
            raise FitError(f"this fit has the axes {', '.join(self.table.axes)}; x has {', '.join(columns)}")
        if self.law.axes == ("...",):
            columns = {axis: columns[axis] for axis in self.table.axes}
        if self.law.log_axes:
            check_scales(columns)
        return self.frame.inward(list(columns.values()))

    def predict(
        self, x: Any, level: float | None = None, *, noise: bool = False, method: str = "auto"
    ) -> Any:
        """Predicts the outcome at given scales.

        Args:
            x: Scales, as in `fit_law`, n of them.
            level: Coverage of the interval, such as 0.9; default none.
            noise: Whether the interval is for a new run, with its noise, or for the law alone.
            method: How the interval is made, see `scalelab.analysis.inference.intervals.interval`.

        Returns:
            Without a level an array of shape (n,), with it a `Prediction`.

        Raises:
            FitError: The axes are not those of the fit, or a scale is not positive.
        """
        u = self.inward(x)
        mean = self.law.value_jac(self.theta[None], u)[0][0] * self.frame.y_scale
        if level is None:
            return mean
        from scalelab.analysis.inference.intervals import predict_interval

        lower, upper = predict_interval(self, u, level, noise=noise, method=method)
        return Prediction(mean, lower, upper)

    def covariance(self) -> Array:
        """Returns the covariance of the internal parameters, see `scalelab.analysis.inference.covariance`."""
        from scalelab.analysis.inference.covariance import covariance

        return covariance(self)

    def bootstrap(self, n: int = 1000, **options: Any) -> Any:
        """Refits to resampled rows; options and result: `scalelab.analysis.inference.bootstrap.bootstrap`."""
        from scalelab.analysis.inference.bootstrap import bootstrap

        return bootstrap(self, n, **options)

    def interval(self, quantity: Any, level: float = 0.9, **options: Any) -> tuple[float, float]:
        """Returns an interval of a quantity: `scalelab.analysis.inference.intervals.interval`."""
        from scalelab.analysis.inference.intervals import interval

        return interval(self, quantity, level, **options)

    def summary(self, level: float = 0.9) -> pd.DataFrame:
        """Returns a row a parameter: estimate, standard error, interval, whether it is at a bound."""
        from scalelab.analysis.fits.report_tables import parameter_table

        return parameter_table(self, level)

    def plot(self, ax: Axes | None = None, *, axis: str | None = None, level: float = 0.9) -> Axes:
        """Draws rows and law against one axis; see `scalelab.analysis.fits.report_tables.draw`."""
        from scalelab.analysis.fits.report_tables import draw

        return draw(self, ax, axis=axis, level=level)

    def provenance(self) -> dict[str, Any]:
        """Returns what makes this fit reproducible: law, estimator, data hash, weights, seed, starts."""
        weights = self.table.weights
        return {
            "law": self.law.name,
            "equation": self.law.equation,
            "paper": self.law.paper,
            "estimator": self.estimator.name,
            "delta": self.estimator.delta,
            "n_rows": len(self.table),
            "axes": list(self.table.axes),
            "data_hash": self.data_hash,
            "weights": "equal" if np.ptp(weights) == 0 else "given",
            "n_groups": None if self.table.groups is None else int(self.table.groups.max()) + 1,
            "seed": self.seed,
            "starts_considered": self.starts.considered,
            "starts_refined": self.starts.refined,
            "starts_agreeing": self.starts.agreeing,
            "rows_in_search": self.starts.rows,
        }

    def to_json(self) -> str:
        """Returns parameters, objective and provenance as JSON with sorted keys."""
        content = {"params": self.params, "objective": self.objective, "provenance": self.provenance()}
        return json.dumps(content, sort_keys=True, indent=1)


def make_problem(law: Law, table: Table, frame: Frame, estimator: Estimator) -> Problem:
    """Returns the minimization of fitting a law to a table."""
    u = frame.inward(table.columns)
    y = table.y / frame.y_scale
    low, high = law.bounds(u, y)
    return Problem(law, u, y, frame.y_scale, estimator, low, high)


def fit_law(
    law: str | Law,
    x: Any,
    y: Any,
    *,
    estimator: str = "log-huber",
    delta: float = 1e-3,
    weights: Any = None,
    groups: Any = None,
    seed: int = 0,
) -> Any:
    """Fits a scaling law.

    Args:
        law: Name of a form (`power`, `power-offset`, `m3`, `m4`, `bnsl`, `bnsl2`, `chinchilla`,
            `kaplan`, `data-constrained`, `loglog`, `sigmoid`), or `auto` to choose and average the
            one-axis forms by backtests.
        x: Arrays by axis name, n rows each (`n_params`, `n_examples`, `train_flops`, or any one
            axis); or a DataFrame of the axes, or for one axis an array.
        y: The loss, n rows; positive, the lower the better.
        estimator: What is minimized, one of `scalelab.analysis.fitting.estimators.ESTIMATORS`.
        delta: Width of the square part of Huber penalties, in units of the residual.
        weights: Weights of the rows, default one each.
        groups: Labels of rows that belong to one run, default none; they decide how rows are resampled.
        seed: Seed of everything random.

    Returns:
        The `Fit`; for `auto` an `AutoFit`, which predicts alike.

    Raises:
        FitError: The rows are malformed, or cannot support the law; the message says why and what to do.
    """
    options = {"estimator": estimator, "delta": delta, "weights": weights, "groups": groups, "seed": seed}
    if law == "auto":
        from scalelab.analysis.inference.average import fit_auto

        return fit_auto(x, y, **options)
    form = get_law(law)
    table = read_table(form, x, y, weights, groups)
    penalty = Estimator.named("log-mse" if form.axes == ("...",) else estimator, delta)
    return fit_table(form, table, penalty if form.positive else penalty.linear(), seed)


def fit_table(law: Law, table: Table, estimator: Estimator, seed: int = 0) -> Fit:
    """Fits a law to rows that were checked already; see `fit_law`."""
    law = law.specialize(table.axes)
    frame = law.frame(Frame.of(table.columns, table.y, log_axes=law.log_axes))
    problem = make_problem(law, table, frame, estimator)
    theta, objective, report = search(problem, table.weights, law.n_starts, seed)
    if not np.isfinite(objective):
        raise FitError(f"law {law.name!r} could not be evaluated near these rows; check their units")
    _refuse_flat(law, problem, theta)
    with np.errstate(over="ignore"):
        public = law.public(theta, frame)
    params = {name: float(value) for name, value in zip(law.params, public, strict=True)}
    huge = [name for name, value in params.items() if not np.isfinite(value)]
    if huge:
        raise FitError(
            f"law {law.name!r} fits, but its {', '.join(huge)} is beyond what a number can hold; "
            "the rows hardly determine it: choose a simpler law, or axes in larger units"
        )
    return Fit(law, params, objective, estimator, table, seed, report, theta, frame, table.digest())


def _refuse_flat(law: Law, problem: Problem, theta: Array) -> None:
    """Raises where the best the law can do is a constant: the outcome does not fall along the axes."""
    value = problem.law.value_jac(theta[None], problem.u)[0][0]
    if np.ptp(value) > _FLAT * np.abs(value).max():
        return
    trend = [np.corrcoef(column, problem.y)[0, 1] for column in problem.u]
    rising = max(trend) > 0.5
    hint = (
        "it rises with scale: if it is a bounded metric, fit its loss or 1 - metric, "
        "and chain the law 'sigmoid'"
        if rising
        else "its noise hides any trend: add scales further apart"
    )
    raise FitError(
        f"law {law.name!r} cannot describe this outcome, which does not fall along the axes; {hint}"
    )
