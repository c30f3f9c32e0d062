"""Scaling laws of a table of runs: the fit of every family, its backtest, and a refusal where there is none.

`scalelab.analysis.runs.selection` says which points a law is fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.estimate import Estimate, Refusal, attempt
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.intervals import intervals, widened
from scalelab.analysis.inference.quantities import log_loss_at, loss_at
from scalelab.analysis.inference.spread import Parts, Spread, quantile, reach_of_law
from scalelab.analysis.inference.trend import refuse_no_trend
from scalelab.analysis.laws import get_law
from scalelab.analysis.runs.axes import formed, own_axes
from scalelab.analysis.runs.designs import Family, axes_of, families, seed_spread
from scalelab.analysis.runs.selection import (
    AXES,
    GRID_AXES,
    JOINT,
    Points,
    axis_points,
    grid_points,
)
from scalelab.errors import FitError, InputError, suggest
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit

AUTO = "auto"
DEFAULT_LAW: Final = "power-offset"
JOINT_LAW = "chinchilla"
CURVE_POINTS = 80
BAND_NODES = 6
AHEAD = 10.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """A law of one family, fitted to points.

    Attributes:
        family: Whose law it is.
        points: What was fitted.
        fit: The fit itself.
    """

    family: Family
    points: Points
    fit: Fit | AutoFit[Fit]

    refusal: ClassVar[None] = None

    @property
    def best(self) -> Fit:
        """The fit; of several averaged laws, that of the heaviest."""
        return self.fit if isinstance(self.fit, Fit) else self.fit.best

    @property
    def law(self) -> str:
        """The law's name."""
        return self.best.law.name if self.fit is self.best else AUTO

    @property
    def equation(self) -> str:
        """The law in symbols."""
        return self.best.law.equation if self.fit is self.best else f"mostly {self.best.law.equation}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the law."""
        return self.points.axes

    @property
    def backtest(self) -> Backtest:
        """How well the law predicted the larger of these points from the smaller ones."""
        return self.fit.backtest


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLaw(Fitted):
    """A law with its estimates; intervals are of the level that the analysis asked for.

    Attributes:
        axis: One of `AXES`, another axis of the runs, or `JOINT` for a law of several axes at once.
        params: Parameters of `best`.
        seed_spread: Pooled standard deviation of the log loss over seeds, `None` without repeats.
        ahead: The loss at `AHEAD` times the largest scale of every axis.
        level: Coverage of the intervals.
    """

    axis: str
    params: dict[str, Estimate]
    seed_spread: float | None
    ahead: Estimate
    level: float

    json_fields: ClassVar = (
        "*family", "axis", "law", "equation", "refusal", "selection=points.selection", "seed_spread",
        "points=points.rows", "decades=points.decades", "params", "exponents", "r2", "rms_log_error",
        "backtest", "loss_at_ten_times_the_scale=ahead", "interval_parts=ahead_parts", "fit",
    )  # fmt: skip

    @property
    def exponents(self) -> tuple[str, ...]:
        """Those of the parameters that are rates with scale."""
        return self.best.law.exponents

    @cached_property
    def log_errors(self) -> NDArray[np.float64]:
        """Log loss minus log prediction, shape (points,); of a loss that may be negative, the loss itself."""
        predicted = self.fit.predict(self.points.x)
        if self.best.law.positive:
            return np.log(self.points.loss) - np.log(predicted)
        return self.points.loss - predicted

    @property
    def r2(self) -> float:
        """Coefficient of determination of the log loss; of a loss that may be negative, of the loss."""
        loss = np.log(self.points.loss) if self.best.law.positive else self.points.loss
        return float(1.0 - np.sum(self.log_errors**2) / np.sum((loss - loss.mean()) ** 2))

    @property
    def rms_log_error(self) -> float:
        """Root mean square of `log_errors`, about the relative error."""
        return float(np.sqrt(np.mean(self.log_errors**2)))

    @cached_property
    def ahead_parts(self) -> Parts:
        """What the interval of `ahead` is made of."""
        beyond = {axis: AHEAD * float(column.max()) for axis, column in self.points.x.items()}
        return run_parts(self.fit, beyond, self.ahead, self.level)

    @property
    def irreducible(self) -> Estimate | None:
        """The loss that the law ends at however large the scale, where it has such a parameter."""
        return self.params.get(self.best.law.irreducible or "")

    @cached_property
    def curve(self) -> pd.DataFrame | None:
        """For one axis: the axis, `mean`, `lower` and `upper` of the law on a fine grid.

        Computed when it is drawn: an interval is costly, so that it is made at a few scales; between
        them its ratio to the law is interpolated.
        """
        import pandas as pd

        if len(self.points.axes) != 1:
            return None
        (axis,) = self.points.axes
        scales = curve_scales(self.points.rows[axis].to_numpy(dtype=float))
        nodes = np.geomspace(scales[0], scales[-1], BAND_NODES)
        at_nodes = self.fit.predict({axis: nodes}, level=self.level)
        mean = self.fit.predict({axis: scales})
        lower, upper = (
            mean * np.interp(np.log(scales), np.log(nodes), ends / at_nodes.mean)
            for ends in (at_nodes.lower, at_nodes.upper)
        )
        return pd.DataFrame({axis: scales, "mean": mean, "lower": lower, "upper": upper})


def fit_families(
    designs: pd.DataFrame,
    *,
    law: str | Law | None = None,
    axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[FittedLaw | Refusal, ...]:
    """Fits the laws of every family of a table of designs.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them.
        law: A form, its name or a formula; a form of any one axis is fitted along each axis, one of several
            to their grid, and one that names its axis along that. By default `DEFAULT_LAW` along each axis
            and `JOINT_LAW` on the grid.
        axes: Which of `AXES`, `JOINT` and the other axes of the designs; by default those of the law, or
            `AXES` and `JOINT`.
        estimator: What is minimized, see `scalelab.analysis.fitting.estimators`.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Returns:
        By family, then axis; refusals are among them.

    Raises:
        FitError: The law or the estimator does not exist.
        InputError: An axis does not exist.
    """
    forms = _forms(law, axes, axes_of(designs))
    Estimator.named(estimator)
    return tuple(
        fit_family(family, rows, axis, form, estimator=estimator, level=level, seed=seed)
        for family, rows in families(designs)
        for axis, form in forms
    )


def _forms(
    law: str | Law | None, axes: Sequence[str] | None, there: Sequence[str]
) -> list[tuple[str, str | Law]]:
    """Pairs every axis that was asked for with the form to fit along it."""
    known = (*dict.fromkeys((*AXES, *there)), JOINT)
    for axis in axes or ():
        if axis not in known:
            raise InputError(f"unknown axis {axis!r}{suggest(axis, known)}; there are {', '.join(known)}")
    wanted = tuple(axes or (*AXES, JOINT))
    if law is None:
        return [(axis, JOINT_LAW if axis == JOINT else DEFAULT_LAW) for axis in wanted]
    if law == AUTO:
        return [(axis, law) for axis in wanted]
    form = formed(law, there)
    own = own_axes(form)
    if own:
        axis = own[0] if len(own) == 1 else JOINT
        if axes and axis not in axes:
            raise InputError(f"law {form.name!r} has the axes {', '.join(own)}; use --axis {axis}")
        return [(axis, form)]
    single = [axis for axis in wanted if axis != JOINT]
    if not single:
        raise InputError(f"law {form.name!r} has one axis; use --axis with one of {', '.join(AXES)}")
    return [(axis, form) for axis in single]


def fit_family(
    family: Family,
    designs: pd.DataFrame,
    axis: str,
    law: str | Law,
    *,
    estimator: str,
    level: float,
    seed: int,
) -> FittedLaw | Refusal:
    """Fits one law of one family; what its runs cannot support comes back as a refusal."""
    form = None if law == AUTO else get_law(law)
    grid = (own_axes(form) or GRID_AXES) if axis == JOINT else (axis,)
    subject = {
        "family": family,
        "axis": axis,
        "axes": grid,
        "law": form.name if form else AUTO,
        "equation": form.equation if form else "a mean of forms, weighted by how well they extrapolate",
    }

    def fitted() -> FittedLaw:
        known = designs.dropna(subset=["loss"])
        if known.empty:
            raise FitError("no finished run records its loss, and laws are fitted to the loss; map or add it")
        points = grid_points(known, grid) if axis == JOINT else axis_points(known, axis)
        check_trend(points, known)
        fit = fit_law(law, points.x, points.loss, estimator=estimator, seed=seed)
        params, ahead = _estimates(points, fit, level)
        return FittedLaw(
            family=family, points=points, fit=fit, axis=axis, params=params,
            seed_spread=seed_spread(known), ahead=ahead, level=level,
        )  # fmt: skip

    return attempt(subject, fitted)


def check_trend(points: Points, designs: pd.DataFrame) -> None:
    """Makes sure that the loss of some points of a family moves with their scales.

    Args:
        points: Some of the designs.
        designs: All of the family.

    Raises:
        FitError: The loss has no trend beyond its scatter.
    """
    everything = None
    # Compute is size and length at once, so that data alone stand beside it.
    axes = ("train_flops", "n_examples") if points.axes == ("train_flops",) else GRID_AXES
    if set(points.axes) < set(axes):
        rows = designs.dropna(subset=[*axes, "loss"])
        everything = {axis: rows[axis].to_numpy(dtype=float) for axis in axes}, rows["loss"].to_numpy()
    refuse_no_trend(points.x, points.loss, everything)


def runs_at(fit: Fit | AutoFit[Fit], scales: Sequence[Mapping[str, float]], level: float) -> list[Estimate]:
    """Returns the loss of one run at each scale with its prediction interval, its noise included."""
    x = {axis: np.array([scale[axis] for scale in scales]) for axis in fit.table.axes}
    return [Estimate.of(*ends) for ends in zip(*fit.predict(x, level, noise=True), strict=True)]


def run_at(fit: Fit | AutoFit[Fit], scale: Mapping[str, float], level: float) -> Estimate:
    """Returns the loss of one run at a scale with its prediction interval, its noise included."""
    return runs_at(fit, [scale], level)[0]


def run_parts(fit: Fit | AutoFit[Fit], scale: Mapping[str, float], loss: Estimate, level: float) -> Parts:
    """Returns what the interval that `run_at` gave at a scale is made of."""
    x = {axis: np.array([scale[axis]]) for axis in fit.table.axes}
    lower, upper = loss.ends
    best = fit if isinstance(fit, Fit) else fit.best
    half = 0.5 * (upper - lower)
    if best.law.positive:
        half = 0.5 * np.log(upper / lower) if lower > 0 and np.isfinite(upper) else np.inf
    if not isinstance(fit, Fit):
        return fit.spread(x).parts(half, level)
    nothing = np.zeros(1)
    return Spread(nothing, nothing, reach_of_law(fit, x)).parts(half, level)


def _estimates(points: Points, fit: Fit | AutoFit[Fit], level: float) -> tuple[dict[str, Estimate], Estimate]:
    """Returns the parameters and the loss far ahead."""
    beyond = {axis: np.array([AHEAD * column.max()]) for axis, column in points.x.items()}
    best = fit if isinstance(fit, Fit) else fit.best
    far = log_loss_at(best, beyond) if best.law.positive else loss_at(best, beyond)
    # One call for all, so that they share what is simulated.
    *ends, ahead = intervals(best, [*best.params, far], level)
    params = {
        name: Estimate.of(value, *own) for (name, value), own in zip(best.params.items(), ends, strict=True)
    }
    if isinstance(fit, Fit):
        value = fit.predict(beyond)
        center = np.log(value) if best.law.positive else value
        half = quantile(level) * reach_of_law(fit, beyond)
        lower, upper = widened(center, np.array([ahead[0]]), np.array([ahead[1]]), half)
        found = (center, lower, upper)
        return params, Estimate.first([np.exp(end) for end in found] if best.law.positive else found)
    return params, Estimate.first(fit.predict(beyond, level=level))


def curve_scales(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the scales that a law is drawn at: even in logs, a third of the span beyond the largest."""
    low, high = np.log(values.min()), np.log(values.max())
    return np.exp(np.linspace(low, high + (high - low) / 3, CURVE_POINTS))
