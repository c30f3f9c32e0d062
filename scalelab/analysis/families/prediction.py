"""The loss at a scale nobody has trained at, or the scale that reaches a loss, for every family of a store.

Each prediction says how far it lies beyond the runs, and how well the same law foretold the larger of them
from the smaller ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.laws import AUTO, DEFAULT_LAW, JOINT_LAW
from scalelab.analysis.fits.chain import chain
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.inference.quantities import scale_for_loss
from scalelab.analysis.laws import get_law
from scalelab.analysis.runs.designs import Family, families
from scalelab.analysis.runs.selection import AXES, GRID_AXES, Points, axis_points, grid_points
from scalelab.errors import FitError, InputError, suggest
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit

KNOWN = (*AXES, "epochs")
REPEATED_LAW = "data-constrained"
LINK: Final = "sigmoid"
_ALIASES = {"n_tokens": "n_examples"}
_MIN_LINK = 6
_LARGEST = 1e150
_AROUND = 10.0 ** np.array([-3.0, -1.5, -0.6, 0.0, 0.6, 1.5, 3.0, 6.0])
_FINER = 2000


@dataclass(frozen=True, eq=False, kw_only=True)
class Forecast:
    """The loss of one run of a family at a scale.

    Attributes:
        family: Whose.
        axes: The axes of the law.
        law: The law's name.
        at: The scale, by axis.
        loss: With its prediction interval: for one run, its noise included.
        beyond: By axis, how many times the largest scale of the points it is; below one, inside them.
        backtest: How well the law foretold the larger points from the smaller ones.
        equation: The law in symbols.
        points: What the law was fitted to.
        fit: The fit.
        metric: Name of the objective, where that is a bounded metric and not the loss.
        objective: The objective there, through the link from loss to metric; `None` where there is no link.
        no_objective: Why there is none, where a metric is the objective.
        link_beyond: Whether the loss is below all that the link was fitted to.
    """

    family: Family
    axes: tuple[str, ...]
    law: str
    at: dict[str, float]
    loss: Estimate
    beyond: dict[str, float]
    backtest: Backtest
    equation: str
    points: Points
    fit: Fit | AutoFit[Fit]
    metric: str | None
    objective: Estimate | None
    no_objective: str | None
    link_beyond: bool

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "*family", "axes", "law", "refusal", "at", "loss", "times_beyond=beyond", "backtest", "metric",
        "objective", "no_objective", "link_beyond", "equation", "selection=points.selection", "fit",
    )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """The scale at which a family's law reaches a loss.

    Attributes:
        family: Whose.
        axes: The axes of the law.
        law: The law's name.
        loss: The loss to reach.
        scale: The scale, infinite where the law never gets there. Its lower end is `None` where that is far
            below everything that was run, its upper end where laws that the runs do not contradict never get
            there.
        floor: What the law falls towards, where it has an irreducible loss.
        beyond: How many times the largest scale of the points it is; `None` without a scale.
        backtest: How well the law foretold the larger points from the smaller ones.
        equation: The law in symbols.
        points: What the law was fitted to.
        fit: The fit.
    """

    family: Family
    axes: tuple[str, ...]
    law: str
    loss: float
    scale: Estimate
    floor: float | None
    beyond: float | None
    backtest: Backtest
    equation: str
    points: Points
    fit: Fit

    refusal: ClassVar[None] = None
    json_fields: ClassVar = (
        "*family", "axes", "law", "refusal", "loss", "scale", "floor", "times_beyond=beyond",
        "backtest", "equation", "selection=points.selection", "fit",
    )  # fmt: skip


def forecast(
    designs: pd.DataFrame,
    at: Mapping[str, float],
    *,
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[Forecast | Refusal, ...]:
    """Predicts the loss of a run at a scale, for every family.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them.
        at: The scale: one of `AXES`, or `n_params` and `n_examples`, with or without `epochs`.
        law: A form, its name, or `auto`. By default `power-offset` along one axis, `chinchilla` on two
            and `data-constrained` with epochs.
        estimator: What is minimized, see `scalelab.analysis.fitting.estimators`.
        level: Coverage of the prediction intervals.
        seed: Seed of everything random.

    Returns:
        By family; refusals are among them.

    Raises:
        InputError: The scale, the law, the estimator or the level is wrong.
        FitError: The law does not exist.
    """
    check_level(level)
    Estimator.named(estimator)
    scale = read_scale(at)
    form = _form(law, tuple(scale))
    out: list[Forecast | Refusal] = []
    for family, rows in families(designs):
        names: dict[str, Any] = {"family": family, "axes": tuple(scale), "law": _name(form)}
        try:
            points = axis_points(rows, *scale) if len(scale) == 1 else grid_points(rows, tuple(scale))
            fit = _fit(form, points, estimator, seed)
            out.append(Forecast(**names, **_forecast(fit, points, rows, scale, level, seed)))
        except FitError as refusal:
            out.append(Refusal(names, str(refusal)))
    return tuple(out)


def reach(
    designs: pd.DataFrame,
    loss: float,
    *,
    axes: Sequence[str] = AXES,
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[Target | Refusal, ...]:
    """Returns the scale at which each family reaches a loss, along each axis by itself.

    Args:
        designs: Means over seeds.
        loss: The loss to reach.
        axes: Which of `AXES`.
        law: A form of one axis, or its name; `power-offset` by default.
        estimator: What is minimized.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Raises:
        InputError: The loss, an axis, the law, the estimator or the level is wrong.
        FitError: The law does not exist.
    """
    check_level(level)
    Estimator.named(estimator)
    if not (math.isfinite(loss) and 0 < loss < _LARGEST):
        raise InputError(f"the loss to reach must be a positive number, got {loss:g}")
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"unknown axis {axis!r}{suggest(axis, AXES)}; there are {', '.join(AXES)}")
    form = _form(law, (axes[0],))
    if form == AUTO:
        raise InputError("the scale that reaches a loss needs one form, such as power-offset; auto averages")
    out: list[Target | Refusal] = []
    for family, rows in families(designs):
        for axis in axes:
            names: dict[str, Any] = {"family": family, "axes": (axis,), "law": _name(form)}
            try:
                points = axis_points(rows, axis)
                out.append(
                    Target(**names, **_target(_fit(form, points, estimator, seed), points, loss, level))
                )
            except FitError as refusal:
                out.append(Refusal(names, str(refusal)))
    return tuple(out)


def read_scale(at: Mapping[str, float]) -> dict[str, float]:
    """Returns a scale with the axes in the order of a law's.

    Raises:
        InputError: An axis is unknown, no law has these axes together, or a value is not positive.
    """
    known = (*KNOWN, *_ALIASES)
    for axis, value in at.items():
        if axis not in known:
            raise InputError(f"unknown axis {axis!r}{suggest(axis, known)}; there are {', '.join(KNOWN)}")
        if not (math.isfinite(value) and 0 < value < _LARGEST):
            raise InputError(f"{axis} = {value:g}: a scale must be a positive number")
    given = {_ALIASES.get(axis, axis): float(value) for axis, value in at.items()}
    for axes in (*((axis,) for axis in AXES), GRID_AXES, (*GRID_AXES, "epochs")):
        if set(axes) == set(given) and len(given) == len(at):
            return {axis: given[axis] for axis in axes}
    raise InputError(
        f"no law has the axes {', '.join(at) or '(none)'}; give one of {', '.join(AXES)}, or n_params with "
        "n_examples, or those with epochs"
    )


def _form(law: str | Law | None, axes: tuple[str, ...]) -> str | Law:
    """Returns the form to fit along these axes.

    Raises:
        InputError: The form has other axes.
        FitError: There is no such form.
    """
    if law is None:
        return get_law({1: DEFAULT_LAW, 2: JOINT_LAW, 3: REPEATED_LAW}[len(axes)])
    if law == AUTO:
        return AUTO
    form = get_law(law)
    if form.link or not form.takes(axes):
        what = f"has the axes {', '.join(form.axes)}"
        if form.link:
            what = "is a link from loss to metric"
        elif form.takes(AXES[:1]):
            what = "has one axis"
        raise InputError(f"law {form.name!r} {what}, the scale has {', '.join(axes)}; choose another law")
    return form


def _name(form: str | Law) -> str:
    return form if isinstance(form, str) else form.name


def _fit(form: str | Law, points: Points, estimator: str, seed: int) -> Any:
    x = {name: points.rows[name].to_numpy(dtype=float) for name in points.axes}
    return fit_law(form, x, points.rows["loss"].to_numpy(dtype=float), estimator=estimator, seed=seed)


def _forecast(
    fit: Fit | AutoFit[Fit],
    points: Points,
    rows: pd.DataFrame,
    scale: dict[str, float],
    level: float,
    seed: int,
) -> dict[str, Any]:
    x = {axis: np.array([value]) for axis, value in scale.items()}
    predicted = fit.predict(x, level, noise=True)
    best = fit if isinstance(fit, Fit) else fit.best
    metric, objective, why = _objective(fit, rows, x, level, seed)
    return {
        "at": scale,
        "loss": Estimate.first(predicted),
        "beyond": {axis: value / float(points.rows[axis].max()) for axis, value in scale.items()},
        "backtest": fit.backtest,
        "equation": best.law.equation if fit is best else f"mostly {best.law.equation}",
        "points": points,
        "fit": fit,
        "metric": metric,
        "objective": objective,
        "no_objective": why,
        "link_beyond": objective is not None and float(predicted.mean[0]) < float(rows["loss"].min()),
    }


def _objective(
    fit: Fit | AutoFit[Fit], rows: pd.DataFrame, x: dict[str, Any], level: float, seed: int
) -> tuple[str | None, Estimate | None, str | None]:
    """Returns the objective's name, its prediction and why there is none, where it is a metric."""
    metrics = rows[["metric", "direction"]].drop_duplicates()
    if set(metrics["metric"]) == {"loss"}:
        return None, None, None
    if len(metrics) > 1:
        return ", ".join(sorted(metrics["metric"])), None, "the runs have several objectives"
    metric = str(metrics["metric"].iloc[0])
    known = rows.dropna(subset=["loss", "objective"])
    if known["objective"].abs().max() > 1.0:
        return (
            metric,
            None,
            f"{metric} is not bounded by one, and the link from loss to metric is for those that are",
        )
    if known["loss"].nunique() < _MIN_LINK:
        return metric, None, f"a link from loss to {metric} needs {_MIN_LINK} designs, got {len(known)}"
    try:
        link = fit_law(
            LINK,
            {"loss": known["loss"].to_numpy(dtype=float)},
            known["objective"].to_numpy(dtype=float),
            seed=seed,
        )
        return (
            metric,
            Estimate.first(chain(fit, link).predict(x, level, noise=True)),
            None,
        )
    except FitError as refusal:
        return metric, None, str(refusal)


def _target(fit: Fit, points: Points, loss: float, level: float) -> dict[str, Any]:
    (axis,) = points.axes
    largest = float(points.rows[axis].max())
    value = fit.estimate(scale_for_loss(fit, loss))
    known = np.isfinite(value) and 0 < value < _LARGEST
    ends = _ends(fit, axis, loss, value if known else largest, level)
    return {
        "loss": loss,
        "scale": Estimate(value if known else math.inf, *ends),
        "floor": fit.irreducible,
        "beyond": value / largest if known else None,
        "backtest": fit.backtest,
        "equation": fit.law.equation,
        "points": points,
        "fit": fit,
    }


def _ends(fit: Fit, axis: str, loss: float, center: float, level: float) -> tuple[float | None, float | None]:
    """Returns the smallest and largest scale at which the interval of the law holds a loss.

    That is the interval of the scale (Fieller's argument). Along the law itself the scale jumps to infinity
    where the irreducible loss passes the target; the loss at a scale does not.
    """
    nodes = center * _AROUND
    law = fit.predict({axis: nodes}, level)
    finer = np.geomspace(nodes[0], nodes[-1], _FINER)
    clean = np.log(fit.predict({axis: finer}))
    ends = []
    for bound in (law.lower, law.upper):
        at = clean + np.interp(np.log(finer), np.log(nodes), np.log(bound / law.mean))
        below = np.flatnonzero(at <= np.log(loss))
        inside = below.size and below[0] > 0
        ends.append(float(finer[below[0]]) if inside else None)
    return ends[0], ends[1]
