"""Fits a law to rows: `fit_law` and its frozen result, `Fit`.

Works on plain arrays and DataFrames; the store's tables reach it as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np
from typing_extensions import Unpack

from scalelab.analysis.fitting.data import read_table
from scalelab.analysis.fitting.draws import Quantity
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.average import AutoFit, fit_auto
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.bootstrap import Bootstrap, bootstrap
from scalelab.analysis.inference.covariance import covariance
from scalelab.analysis.inference.intervals import (
    Prediction,
    intervals,
    predict_interval,
    spread_of_law,
    stderr,
)
from scalelab.analysis.inference.spread import Spread, kept_backtest
from scalelab.analysis.laws import LAWS, LawName, get_law
from scalelab.arrays import Array, Index
from scalelab.errors import FitError, ScalelabError
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_POINTS = 60


class Fit(Point):
    """A law with its estimated parameters, and what they say. Never changes.

    What it is made of stands in `Point`: `law`, `params`, `objective`, `estimator`, `table`, `seed` and more.
    """

    @overload
    def predict(self, x: Any, level: None = None, *, noise: bool = False, method: str = "auto") -> Array: ...
    @overload
    def predict(self, x: Any, level: float, *, noise: bool = False, method: str = "auto") -> Prediction: ...
    def predict(
        self, x: Any, level: float | None = None, *, noise: bool = False, method: str = "auto"
    ) -> Array | Prediction:
        """Predicts the outcome at given scales.

        Args:
            x: Scales, as in `fit_law`, n of them.
            level: Coverage of the interval, such as 0.9; default none.
            noise: Whether the interval is for a new run, with its noise, or for the law alone.
            method: How the interval is made, see `scalelab.analysis.inference.intervals`.

        Returns:
            Without a level an array of shape (n,), with it a `Prediction`.

        Raises:
            FitError: The axes are not those of the fit, or a scale is not positive.
        """
        if level is None:
            return self.value(x)
        return predict_interval(self, x, level, noise=noise, method=method)

    def spread(self, x: Any) -> Spread:
        """Returns what the interval at these scales is made of: `scalelab.analysis.inference.spread`."""
        return spread_of_law(self, x)

    def covariance(self) -> Array:
        """Returns the covariance of the internal parameters, see `scalelab.analysis.inference.covariance`."""
        return covariance(self).copy()

    @property
    def backtest(self) -> Backtest:
        """How well the law predicted the larger of its rows from the smaller ones."""
        return kept_backtest(self)

    def bootstrap(
        self, n: int = 1000, *, kind: str | None = None, seed: int | None = None, rows: Index | None = None
    ) -> Bootstrap:
        """Refits to resampled rows: `scalelab.analysis.inference.bootstrap.bootstrap`."""
        return bootstrap(self, n, kind=kind, seed=seed, rows=rows)

    def interval(
        self, quantity: Quantity, level: float = 0.9, *, method: str = "auto", seed: int | None = None
    ) -> tuple[float, float]:
        """Returns an interval of a quantity: `scalelab.analysis.inference.intervals.intervals`."""
        return intervals(self, [quantity], level, method=method, seed=seed)[0]

    def summary(self, level: float = 0.9, method: str = "auto") -> pd.DataFrame:
        """Returns one row per parameter.

        Columns: `estimate`, `stderr`, `lower` and `upper` of the interval, and `at_bound`,
        true where the estimate is the end of what the law allows, so that its interval says little.
        """
        import pandas as pd

        names = list(self.params)
        table = pd.DataFrame({"estimate": self.params})
        table["stderr"] = [stderr(self, name, method) for name in names]
        table[["lower", "upper"]] = intervals(self, names, level, method=method)
        return table.assign(at_bound=[name in self.at_bounds for name in names])

    def curve(
        self, *, axis: str | None = None, level: float = 0.9, decades_beyond: float = 1.0
    ) -> dict[str, Array]:
        """Returns the numbers of the figure: rows, law and interval against one axis.

        Args:
            axis: Which axis; default the first. The others stay at the center of the rows.
            level: Coverage of the band.
            decades_beyond: How far beyond the largest row the law is drawn.

        Returns:
            `x`, `y` of the rows, and `grid`, `mean`, `lower`, `upper` of the law.

        Raises:
            FitError: There is no such axis.
        """
        axis = axis or self.table.axes[0]
        if axis not in self.table.axes:
            raise FitError(f"this fit has no axis {axis!r}: {', '.join(self.table.axes)}")
        rows, column = self.table.x, self.table.x[axis]
        if self.law.log_axes:
            grid = np.geomspace(column.min(), column.max() * 10.0**decades_beyond, _POINTS)
            x = {name: np.full(_POINTS, np.exp(np.mean(np.log(own)))) for name, own in rows.items()}
        else:
            grid = np.linspace(column.min(), column.max(), _POINTS)
            x = {name: np.full(_POINTS, np.mean(own)) for name, own in rows.items()}
        found = self.predict(x | {axis: grid}, level)
        return {"x": column, "y": self.table.y, "grid": grid, **found._asdict()}

    def plot(self, ax: Axes | None = None, *, axis: str | None = None, level: float = 0.9) -> Axes:
        """Draws rows and law with its band against one axis, on new matplotlib axes if none are given."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(6, 4), layout="constrained").add_subplot()
        axis = axis or self.table.axes[0]
        numbers = self.curve(axis=axis, level=level)
        grid, lower, upper = (numbers[name] for name in ("grid", "lower", "upper"))
        ax.plot(numbers["x"], numbers["y"], ".", color="0.3", label="runs")
        ax.plot(grid, numbers["mean"], color="C0", label=self.law.name)
        band = f"{level:.0%} interval of the law"
        ax.fill_between(grid, lower, upper, color="C0", alpha=0.2, lw=0, label=band)
        if self.law.log_axes:
            ax.set_xscale("log")
            ax.set_yscale("log" if self.law.positive else "linear")
        ax.set(xlabel=axis, ylabel="loss" if self.law.positive else "metric", title=self.law.equation)
        ax.legend()
        return ax


class FitOptions(TypedDict, total=False):
    """The options of `fit_law`, where they are."""

    estimator: str
    delta: float
    weights: Any
    groups: Any
    errors: Any
    seed: int


@overload
def fit_law(law: Literal["auto"], x: Any, y: Any, **options: Unpack[FitOptions]) -> AutoFit[Fit]: ...
@overload
def fit_law(law: LawName | Law, x: Any, y: Any, **options: Unpack[FitOptions]) -> Fit: ...
@overload
def fit_law(law: str | Law, x: Any, y: Any, **options: Unpack[FitOptions]) -> Fit | AutoFit[Fit]: ...
def fit_law(
    law: str | Law,
    x: Any,
    y: Any,
    *,
    estimator: str = "log-huber",
    delta: float = 1e-3,
    weights: Any = None,
    groups: Any = None,
    errors: Any = None,
    seed: int = 0,
) -> Fit | AutoFit[Fit]:
    """Fits a scaling law.

    Args:
        law: Name of a form (`power`, `power-offset`, `m3`, `m4`, `bnsl`, `bnsl2`, `chinchilla`,
            `shared-exponent`, `outer-exponent`, `saturating`, `saturating-overfit`, `kaplan`,
            `kaplan-offset`, `interaction`, `data-constrained`, `seen-and-unique`, `loglog`, `sigmoid`,
            `loss-to-loss`, `annealing`, `step-law`) or a law itself; a formula over axes of any names, such
            as `"E + A*n_params^-alpha*experts^-beta"`, whose other names are its parameters; or `auto` to
            choose and average forms by backtests.
        x: Arrays by axis name, n rows each (`n_params`, `n_examples`, `train_flops`, or any one
            axis); or a DataFrame of the axes, or for one axis an array. Rows are matched by their place:
            columns of pandas must have one index. Rows with a masked value (`numpy.ma`) are left out.
        y: The loss, n rows; positive, the lower the better. A formula that can be negative takes any.
        estimator: What is minimized, one of `scalelab.analysis.fitting.estimators.ESTIMATORS`.
        delta: Width of the square part of Huber penalties, in units of the residual.
        weights: Weights of the rows, default one each.
        groups: Labels of rows that belong to one run, default none; they decide how rows are resampled. One
            group alone gives a fit, but no interval.
        errors: Standard errors that the outcomes bring with them, such as those of minima between the
            values of a sweep; relative ones, but of losses that may be negative. The noise of intervals is
            theirs at least, however well the rows lie on the law. Default none.
        seed: Seed of everything random.

    Returns:
        The `Fit`; for `auto` an `AutoFit`, which predicts alike.

    Raises:
        FitError: The rows are malformed, or cannot support the law; the message says why and what to do.
    """
    if law == "auto":
        return fit_auto(Fit, x, y, Estimator.named(estimator, delta), weights, groups, errors, seed)
    form = get_law(law)
    table = read_table(form, x, y, weights, groups, errors)
    try:
        form = form.suited(table.axes, table.y)
        return Fit.of(form, table, Estimator.suited(form, estimator, delta), seed)
    except Exception as error:
        if form.name in LAWS or isinstance(error, ScalelabError):
            raise
        raise FitError(f"law {form.name!r} of a plugin fails: {type(error).__name__}: {error}") from error
