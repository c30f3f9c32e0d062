"""A prediction made ready to be registered: which runs answer it, and what plainer rules say of it.

All that a verdict will need is written down before the run exists: the settings that the law's points share,
and the baselines, fitted to the means of the very points that the law was fitted to:

- last value: the loss of the largest point. Its residuals are the steps from each point to the next larger.
- log-log line: the logarithm of the loss as a straight line in the logarithms of the axes.
- least squares: the law's own form, fitted by plain least squares of the loss.

Their intervals are Student's, of their own residuals; those of the last two count their parameters, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from scalelab.analysis.families.compute import Optimum, costs_of
from scalelab.analysis.families.fitted import SAME
from scalelab.analysis.families.prediction import Forecast
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.runs.columns import hashable, option_columns
from scalelab.analysis.runs.frontier import pareto_mask
from scalelab.analysis.runs.selection import GRID_AXES, Points
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.predictions import (
    LAST,
    LAW,
    LINE,
    NAMES,
    SQUARES,
    Guess,
    RegisteredPrediction,
    Settings,
    Source,
)
from scalelab.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit

Scale = Mapping[str, float]
SIZES = (*GRID_AXES, "epochs")
"""Scales that a setting fixes; FLOPs follow from them."""
_STEP = 0.01
_NEAR_OPTIMUM, _NEAR_FRONTIER = 1.25, 2.0
"""How many times its usual size a network may have or lack that spends a budget as the law's points do."""


def prepared(
    forecast: Forecast,
    done: pd.DataFrame,
    *,
    estimator: str,
    level: float,
    seed: int,
    filters: Mapping[str, Any],
) -> RegisteredPrediction:
    """Returns a forecast as a prediction to be registered.

    Args:
        forecast: The forecast.
        done: The finished runs that it was made from.
        estimator: What was minimized.
        level: Coverage of its interval.
        seed: Of everything random.
        filters: Which runs were asked for, and which of their losses, as `scalelab.Filters`.

    Raises:
        FitError: Its interval has no end, or it is of a scale below all points.
    """
    behind = done[done["trial_id"].isin(forecast.points.rows["first_run"])]
    given = {name: value for name, value in filters.items() if value is not None}
    on, charge = given.pop("on", "validation"), given.pop("charge", "last")
    baselines, refused = _baselines(forecast, level, seed)
    return RegisteredPrediction(
        **forecast.family._asdict(),
        at=forecast.at,
        settings=_settings(behind, forecast),
        level=level,
        law=_of_law(forecast, level),
        baselines=baselines,
        refused=refused,
        warnings=forecast.warnings,
        source=Source(
            law=forecast.law,
            equation=forecast.equation,
            estimator=estimator,
            seed=seed,
            on=on,
            charge=charge,
            filters=given,
            studies=tuple(sorted(set(behind["study"].dropna()))),
            n_points=len(forecast.points.rows),
            selection=forecast.points.selection,
            data_hash=forecast.fit.table.digest(),
        ),
        scalelab_version=__version__,
    )


def _of_law(forecast: Forecast, level: float) -> Guess:
    """Returns what the law says.

    Raises:
        FitError: No run could contradict it, or it is of a scale below all points.
    """
    loss = forecast.loss
    if loss.lower is None or loss.upper is None:
        raise FitError(
            f"the runs do not bound the loss there at {level:.0%}, so that no run could contradict it; add "
            "runs, or choose a law with fewer parameters"
        )
    for axis, times in forecast.below.items():
        if times > SAME:
            raise FitError(
                f"{axis} = {forecast.at[axis]:g} lies below all points of the law, the least of which is "
                f"{forecast.at[axis] * times:g}; register a prediction within the runs or beyond them"
            )
    inward = _inward(forecast)
    slopes = _slopes(lambda scale: _value(forecast.fit, inward(scale)), forecast.at)
    return Guess(rule=LAW, value=loss.value, lower=loss.lower, upper=loss.upper, slopes=slopes)


def _settings(behind: pd.DataFrame, forecast: Forecast) -> Settings:
    """Returns what the first runs of a law's points share, and in which options and sizes they differ."""
    same: dict[str, str | float | bool | None] = {}
    free = {f"optimizer_{option}" for option in behind.get("swept", behind["study"][:0]).dropna()}
    columns = [*NAMES, *option_columns(behind), *(name for name in SIZES if name not in forecast.at)]
    for name in columns:
        values = hashable(behind[name]) if name in behind.columns else behind["study"][:0]
        known = values.dropna()
        if name in free or known.empty:
            continue
        if len(known) == len(values) and known.nunique() == 1:
            value = known.iloc[0]
            same[name] = value.item() if isinstance(value, np.generic) else value
        else:
            free.add(name)
    return Settings(same=same, free=tuple(sorted(free)), n_params=_networks(forecast))


def _networks(forecast: Forecast) -> tuple[float, float] | None:
    """Returns the sizes of network that spend a budget as the law's points do, the least and the largest."""
    if tuple(forecast.at) != ("train_flops",):
        return None
    optimum = _optimum(forecast)
    if optimum is not None:
        center, near = optimum.at(forecast.at)["n_params"], _NEAR_OPTIMUM
    else:
        sizes = forecast.points.rows[["train_flops", "n_params"]].dropna().to_numpy(dtype=float)
        if len(sizes) < 2 or np.ptp(sizes[:, 0]) == 0:
            return None
        budgets, networks = np.log(sizes).T
        line = np.polyfit(budgets, networks, 1)
        center = float(np.exp(np.polyval(line, np.log(forecast.at["train_flops"]))))
        near = _NEAR_FRONTIER
    return center / near, center * near


def _optimum(forecast: Forecast) -> Optimum | None:
    """Returns the optimum of L(N, D) that a forecast along compute is of; `None` of any other forecast."""
    fit, points = forecast.fit, forecast.points
    if not isinstance(fit, Fit) or fit.table.axes == points.axes:
        return None
    grid = Points(GRID_AXES, points.rows, points.selection, points.where)
    return Optimum(grid, fit, costs_of(grid).per, points)


def _inward(forecast: Forecast) -> Callable[[Scale], Scale]:
    """Returns what takes a scale to the axes of the law that a forecast rests on."""
    optimum = _optimum(forecast)
    return (lambda scale: scale) if optimum is None else optimum.at


def _value(fit: Fit | AutoFit[Fit], scale: Scale) -> float:
    return float(fit.predict({axis: np.array([scale[axis]]) for axis in fit.table.axes})[0])


def _slopes(value_at: Callable[[Scale], float], at: Scale) -> dict[str, float]:
    """Returns the derivatives of a loss by the logarithm of each scale."""

    def there(axis: str, log: float) -> float:
        return value_at({**at, axis: at[axis] * float(np.exp(log))})

    return {axis: (there(axis, _STEP) - there(axis, -_STEP)) / (2 * _STEP) for axis in at}


def _baselines(forecast: Forecast, level: float, seed: int) -> tuple[tuple[Guess, ...], dict[str, str]]:
    """Returns what the baselines say, and why those that say nothing do not."""
    rows = forecast.points.rows
    if tuple(forecast.at) == ("train_flops",):
        rows = rows[pareto_mask(rows["train_flops"], rows["loss"])]
    columns = rows[list(forecast.at)].to_numpy(dtype=float)
    order = np.argsort(columns.prod(axis=1), kind="stable")
    x, y = np.log(columns[order]), rows["loss"].to_numpy(dtype=float)[order]
    made: dict[str, Callable[[], Guess]] = {
        LAST: lambda: _last_value(y, forecast.at, level),
        LINE: lambda: _line(x, y, forecast.at, level),
        SQUARES: lambda: _least_squares(forecast, level, seed),
    }
    found, refused = [], {}
    for rule, make in made.items():
        try:
            found.append(make())
        except FitError as error:
            refused[rule] = str(error)
    return tuple(found), refused


def _half(squares: float, freedom: int, level: float) -> float:
    """Returns half of Student's interval, given the sum of squared residuals."""
    if freedom < 1:
        raise FitError("too few points for an interval of its residuals")
    return float(special.stdtrit(freedom, 0.5 + level / 2) * np.sqrt(squares / freedom))


def _last_value(y: Array, at: Scale, level: float) -> Guess:
    positive = bool((y > 0).all())
    score: Callable[[Any], Any] = np.log if positive else np.asarray
    outcome: Callable[[Any], Any] = np.exp if positive else float
    steps = np.diff(score(y))
    half = _half(float(steps @ steps), len(steps) - 1, level)
    last = float(score(y[-1]))
    ends = [float(outcome(last + sign * half)) for sign in (-1, 1)]
    return Guess(rule=LAST, value=float(y[-1]), lower=ends[0], upper=ends[1], slopes=dict.fromkeys(at, 0.0))


def _line(x: Array, y: Array, at: Scale, level: float) -> Guess:
    if not (y > 0).all():
        raise FitError("some losses are not positive, and have no logarithm")
    design = np.column_stack([np.ones(len(y)), x])
    line, _, found, _ = np.linalg.lstsq(design, np.log(y), rcond=None)
    rank = int(found)
    if rank < design.shape[1]:
        raise FitError("the points do not determine a line")
    there = np.array([1.0, *np.log(list(at.values()))])
    off = np.log(y) - design @ line
    leverage = float(there @ np.linalg.inv(design.T @ design) @ there)
    half = _half(float(off @ off), len(y) - rank, level) * np.sqrt(1.0 + leverage)
    center = float(there @ line)
    value, lower, upper = (float(np.exp(center + sign * half)) for sign in (0, -1, 1))
    slopes = {axis: value * float(slope) for axis, slope in zip(at, line[1:], strict=True)}
    return Guess(rule=LINE, value=value, lower=lower, upper=upper, slopes=slopes)


def _least_squares(forecast: Forecast, level: float, seed: int) -> Guess:
    axes = forecast.fit.table.axes
    rows = forecast.points.rows
    x = {axis: rows[axis].to_numpy(dtype=float) for axis in axes}
    fit = fit_law(forecast.best.law, x, rows["loss"].to_numpy(dtype=float), estimator="mse", seed=seed)
    assert isinstance(fit, Fit)  # one form
    inward = _inward(forecast)
    there = {axis: np.array([inward(forecast.at)[axis]]) for axis in axes}
    said = [float(end[0]) for end in fit.predict(there, level, noise=True, method="covariance")]
    if not np.isfinite(said).all():
        raise FitError("its residuals do not bound the loss there")
    slopes = _slopes(lambda scale: _value(fit, inward(scale)), forecast.at)
    return Guess(rule=SQUARES, value=said[0], lower=said[1], upper=said[2], slopes=slopes)
