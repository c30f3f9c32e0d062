"""Scaling laws of a table of runs: which points a law is about, the fit, and a refusal where there is none.

Which runs a law describes is decided the textbook way (Kaplan et al. 2020, section 3; Hoffmann et al. 2022,
section 3), after averaging over seeds:

- L(N) at the largest data size, at each model size its best setting;
- L(D) at the largest model, at each data size its best setting;
- L(C) on the compute-efficient frontier: the designs that no other beats in both training FLOPs and loss;
- L(N, D) on the grid of model and data sizes, in each cell its best setting.

The largest level of the held axis is used that has enough sizes of the other one, and every result says which
that was. The loss of a run is that of its best validation, after its whole training schedule: points along
one learning curve are not runs of a shorter training, whose learning rate would have decayed earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.estimators import Estimator
from scalelab.analysis.fit import Fit, fit_law
from scalelab.analysis.frontier import pareto_mask
from scalelab.analysis.laws import get_law
from scalelab.analysis.points import Family, families, seed_spread
from scalelab.errors import FitError, InputError, suggest

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.auto import AutoFit

AXES = ("n_params", "n_examples", "train_flops")
JOINT = "joint"
AUTO = "auto"
DEFAULT_LAW = "power-offset"
JOINT_LAW = "chinchilla"
GRID_AXES = ("n_params", "n_examples")
MIN_SCALES = 4
MIN_GRID = 3
CURVE_POINTS = 80
BAND_NODES = 6
AHEAD = 10.0

SYMBOLS = {"n_params": "N", "n_examples": "D", "train_flops": "C", "epochs": "epochs"}
_NOUNS = {
    "n_params": "model size",
    "n_examples": "data size",
    "train_flops": "compute budget",
    "epochs": "length",
}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; the bounds are ``None`` where no interval could be made."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Points:
    """What a law is fitted to.

    Attributes:
        axes: The columns that are its axes.
        rows: One row a point: the axes, ``loss`` (mean over seeds), ``loss_std``, ``n_runs``.
        selection: How the points were chosen, in words.
        where: The same in a few words, such as ``"at D = 40,000"``.
    """

    axes: tuple[str, ...]
    rows: pd.DataFrame
    selection: str
    where: str

    @property
    def decades(self) -> dict[str, float]:
        """How many powers of ten each axis spans."""
        return {axis: float(np.log10(self.rows[axis].max() / self.rows[axis].min())) for axis in self.axes}


@dataclass(frozen=True, eq=False, kw_only=True)
class LawResult:
    """One law of one family: a `FittedLaw` or a `RefusedLaw`.

    Attributes:
        family: Whose law it is.
        axis: One of `AXES`, or `JOINT` for a law of several axes at once.
        law: The law's name.
        equation: The law in symbols.
    """

    family: Family
    axis: str
    law: str
    equation: str


@dataclass(frozen=True, eq=False, kw_only=True)
class RefusedLaw(LawResult):
    """A law that the family's runs cannot support.

    Attributes:
        refusal: Why, and what to do about it.
    """

    refusal: str


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLaw(LawResult):
    """A law with its estimates; intervals are of the level that the analysis asked for.

    Attributes:
        points: What was fitted.
        fit: The fit itself.
        best: The same; of several averaged laws, the fit of the heaviest.
        params: Parameters of ``best``.
        exponents: Those of the parameters that are rates with scale.
        r2: Coefficient of determination of the log loss.
        rms_log_error: Root mean square of log loss minus log prediction, about the relative error.
        seed_spread: Pooled standard deviation of the log loss over seeds, ``None`` without repeats.
        curve: For one axis: the axis, ``mean``, ``low`` and ``high`` of the law on a fine grid.
        ahead: The loss at `AHEAD` times the largest scale of every axis.
    """

    points: Points
    fit: Fit | AutoFit
    best: Fit
    params: dict[str, Estimate]
    exponents: tuple[str, ...]
    r2: float
    rms_log_error: float
    seed_spread: float | None
    curve: pd.DataFrame | None
    ahead: Estimate


def fit_families(
    designs: pd.DataFrame,
    *,
    law: str | None = None,
    axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[LawResult, ...]:
    """Fits the laws of every family of a table of designs.

    Args:
        designs: Means over seeds, as `scalelab.analysis.points.designs` makes them.
        law: A form's name; a form of one axis is fitted along each axis, one of several to their grid. By
            default `DEFAULT_LAW` along each axis and `JOINT_LAW` on the grid.
        axes: Which of `AXES` and `JOINT`; all by default.
        estimator: What is minimised, see `scalelab.analysis.estimators`.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Returns:
        By family, then axis; refusals are among them.

    Raises:
        FitError: The law or the estimator does not exist.
        InputError: An axis does not exist.
    """
    forms = _forms(law, axes)
    Estimator.named(estimator)
    return tuple(
        fit_family(family, rows, axis, form, estimator=estimator, level=level, seed=seed)
        for family, rows in families(designs)
        for axis, form in forms
    )


def _forms(law: str | None, axes: Sequence[str] | None) -> list[tuple[str, str]]:
    """Pairs every axis that was asked for with the form to fit along it."""
    known = (*AXES, JOINT)
    for axis in axes or ():
        if axis not in known:
            raise InputError(f"unknown axis {axis!r}{suggest(axis, known)}; there are {', '.join(known)}")
    wanted = tuple(axes or known)
    if law is None:
        return [(axis, JOINT_LAW if axis == JOINT else DEFAULT_LAW) for axis in wanted]
    if law == AUTO:
        return [(axis, law) for axis in wanted]
    if get_law(law).axes not in (("x",), ("...",)):
        if axes and JOINT not in axes:
            raise InputError(f"law {law!r} has the axes {', '.join(get_law(law).axes)}; use --axis {JOINT}")
        return [(JOINT, law)]
    forms = [(axis, law) for axis in wanted if axis != JOINT]
    if not forms:
        raise InputError(f"law {law!r} has one axis; use --axis with one of {', '.join(AXES)}")
    return forms


def fit_family(
    family: Family, designs: pd.DataFrame, axis: str, law: str, *, estimator: str, level: float, seed: int
) -> LawResult:
    """Fits one law of one family; what its runs cannot support comes back as a refusal."""
    form = None if law == AUTO else get_law(law)
    names: dict[str, Any] = {
        "family": family,
        "axis": axis,
        "law": law,
        "equation": form.equation if form else "a mean of forms, weighted by how well they extrapolate",
    }
    try:
        if axis == JOINT:
            points = grid_points(designs, form.axes if form else GRID_AXES)
        else:
            points = axis_points(designs, axis)
        x = {name: points.rows[name].to_numpy(dtype=float) for name in points.axes}
        y = points.rows["loss"].to_numpy(dtype=float)
        fit = fit_law(law, x, y, estimator=estimator, seed=seed)
        return FittedLaw(**names, **_numbers(points, fit, level), seed_spread=seed_spread(designs))
    except FitError as refusal:
        return RefusedLaw(**names, refusal=str(refusal))


def axis_points(designs: pd.DataFrame, axis: str) -> Points:
    """Chooses the points of a law of one axis, as the module says.

    Args:
        designs: The designs of one family.
        axis: One of `AXES`.

    Raises:
        FitError: The axis has fewer than `MIN_SCALES` scales.
    """
    if axis == "train_flops":
        return _frontier_points(designs)
    other = "n_examples" if axis == "n_params" else "n_params"
    known = designs[designs[axis].notna()]
    if known.empty:
        raise FitError(f"no finished run says its {axis}")
    held, rows = None, known
    if known[other].notna().any():
        levels = known.groupby(other)[axis].nunique().sort_index(ascending=False)
        enough = levels[levels >= MIN_SCALES]
        held = float(enough.index[0] if len(enough) else levels.index[0])
        rows = known[known[other] == held]
    best = _best_of_each(rows, (axis,))
    where = "" if held is None else f"at {SYMBOLS[other]} = {held:,.0f}"
    if len(best) < MIN_SCALES:
        raise FitError(
            f"a law in {SYMBOLS[axis]} needs {MIN_SCALES} {_NOUNS[axis]}s, "
            f"got {len(best)} {where or 'in all'}; add some to the study"
        )
    largest = (
        "the largest" if held == known[other].max() else f"the largest with {MIN_SCALES} {_NOUNS[axis]}s"
    )
    chosen = f"{len(best)} {_NOUNS[axis]}s" + (f" {where} ({largest})" if where else "")
    return Points((axis,), best, chosen + _settings_words(rows, best), where)


def _frontier_points(designs: pd.DataFrame) -> Points:
    known = designs[designs["train_flops"].notna()]
    if known.empty:
        raise FitError("no finished run says its train_flops")
    front = known[pareto_mask(known["train_flops"], known["loss"])]
    best = _best_of_each(front, ("train_flops",))
    if len(best) < MIN_SCALES:
        raise FitError(
            f"a law in C needs {MIN_SCALES} points on the compute-efficient frontier, "
            f"{len(best)} of {len(known)} designs are on it; add runs of other sizes and lengths"
        )
    chosen = f"the {len(best)} of {len(known)} designs on the compute-efficient frontier"
    return Points(("train_flops",), best, chosen, "on the frontier")


def grid_points(designs: pd.DataFrame, axes: tuple[str, ...]) -> Points:
    """Chooses the points of a law of several axes: the best setting of each cell of their grid.

    Args:
        designs: The designs of one family.
        axes: The law's axes.

    Raises:
        FitError: An axis is unknown here, or has fewer than `MIN_GRID` scales.
    """
    for name in axes:
        if name not in designs.columns or designs[name].isna().all():
            raise FitError(f"no finished run says its {name}")
    rows = designs.dropna(subset=list(axes))
    best = _best_of_each(rows, axes)
    few = {name: best[name].nunique() for name in axes if best[name].nunique() < MIN_GRID}
    if few:
        counts = " and ".join(
            f"{n} {_NOUNS.get(name, name)}{'s' if n > 1 else ''}" for name, n in few.items()
        )
        raise FitError(
            f"a law in {' and '.join(SYMBOLS.get(a, a) for a in axes)} needs {MIN_GRID} of each, got {counts}"
        )
    return Points(axes, best, f"{len(best)} cells of the grid" + _settings_words(rows, best), "on the grid")


def _best_of_each(rows: pd.DataFrame, axes: tuple[str, ...]) -> pd.DataFrame:
    """Keeps the design of the lowest mean loss at every distinct scale, in the order of the scales."""
    best = rows.sort_values("loss", kind="stable").drop_duplicates(list(axes))
    return best.sort_values(list(axes))[[*axes, "loss", "loss_std", "n_runs"]].reset_index(drop=True)


def _settings_words(rows: pd.DataFrame, best: pd.DataFrame) -> str:
    return "" if len(rows) == len(best) else f", each the best of its settings ({len(rows)} in all)"


def _numbers(points: Points, fit: Fit | AutoFit, level: float) -> dict[str, Any]:
    x = {name: points.rows[name].to_numpy(dtype=float) for name in points.axes}
    log_loss = np.log(points.rows["loss"].to_numpy(dtype=float))
    errors = log_loss - np.log(fit.predict(x))
    curve, ahead = _curve(fit, points, level) if len(x) == 1 else (None, _ahead(fit, x, level))
    best = fit if isinstance(fit, Fit) else fit.best
    return {
        "points": points,
        "fit": fit,
        "best": best,
        "params": {name: _estimate(best, name, level) for name in best.params},
        "exponents": tuple(best.law.exponents),
        "r2": float(1.0 - np.sum(errors**2) / np.sum((log_loss - log_loss.mean()) ** 2)),
        "rms_log_error": float(np.sqrt(np.mean(errors**2))),
        "curve": curve,
        "ahead": ahead,
    }


def _estimate(fit: Fit, name: str, level: float) -> Estimate:
    low, high = fit.interval(name, level)
    return Estimate(fit.params[name], _bound(low), _bound(high))


def _bound(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ahead(fit: Fit | AutoFit, x: dict[str, NDArray[np.float64]], level: float) -> Estimate:
    predicted = fit.predict(
        {name: np.array([AHEAD * column.max()]) for name, column in x.items()}, level=level
    )
    return Estimate(float(predicted.mean[0]), _bound(predicted.lower[0]), _bound(predicted.upper[0]))


def _curve(fit: Fit | AutoFit, points: Points, level: float) -> tuple[pd.DataFrame, Estimate]:
    """Returns the law on a fine grid, and the loss far ahead.

    An interval is costly, so that it is made at a few scales; between them its ratio to the law is
    interpolated.
    """
    import pandas as pd

    (axis,) = points.axes
    scales = curve_scales(points.rows[axis].to_numpy(dtype=float))
    nodes = np.append(np.geomspace(scales[0], scales[-1], BAND_NODES), AHEAD * points.rows[axis].max())
    at_nodes = fit.predict({axis: nodes}, level=level)
    mean = fit.predict({axis: scales})
    order = np.argsort(nodes)
    low, high = (
        mean * np.interp(np.log(scales), np.log(nodes[order]), (ends / at_nodes.mean)[order])
        for ends in (at_nodes.lower, at_nodes.upper)
    )
    ahead = Estimate(float(at_nodes.mean[-1]), _bound(at_nodes.lower[-1]), _bound(at_nodes.upper[-1]))
    return pd.DataFrame({axis: scales, "mean": mean, "low": low, "high": high}), ahead


def curve_scales(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the scales that a law is drawn at: even in logs, a third of the span beyond the largest."""
    low, high = np.log(values.min()), np.log(values.max())
    return np.exp(np.linspace(low, high + (high - low) / 3, CURVE_POINTS))
