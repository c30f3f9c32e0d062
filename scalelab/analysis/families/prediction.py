"""The loss at a scale that was never trained, or the scale that reaches a loss, for every family of a store.

Each prediction says how far it lies beyond the runs, and how well the same law predicted the larger of them
from the smaller ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal, attempt
from scalelab.analysis.families.budget_law import BudgetLaw
from scalelab.analysis.families.compute import law_of
from scalelab.analysis.families.data import Supply
from scalelab.analysis.families.fitted import AUTO, DEFAULT_LAW, JOINT_LAW, SAME, Fitted, run_parts, runs_at
from scalelab.analysis.families.scales import LARGEST, LEAST, POSITIVE, read_scale, read_scales
from scalelab.analysis.fits.chain import chain
from scalelab.analysis.fits.fit import Fit, fit_law
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.inference.intervals import Prediction, intervals
from scalelab.analysis.inference.quantities import flops_for_loss, scale_for_loss
from scalelab.analysis.inference.spread import Parts
from scalelab.analysis.laws import get_law
from scalelab.analysis.laws.sigmoid import SigmoidLink
from scalelab.analysis.runs.axes import formed, own_axes
from scalelab.analysis.runs.designs import Family, axes_of, families
from scalelab.analysis.runs.selection import AXES, Points
from scalelab.arrays import Array
from scalelab.errors import FitError, InputError, suggest
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit

REPEATED_LAW = "data-constrained"
_MIN_LINK = 6
_AROUND = 10.0 ** np.array([-3.0, -1.5, -0.6, 0.0, 0.6, 1.5, 3.0, 6.0])
_FINER = 2000


@dataclass(frozen=True, eq=False, kw_only=True)
class Forecast(Fitted):
    """The loss of one run of a family at a scale.

    Attributes:
        at: The scale, by axis.
        loss: With its prediction interval: for one run, its noise included.
        parts: What that interval is made of.
        metric: Name of the objective, where that is a bounded metric and not the loss.
        objective: The objective there, through the link from loss to metric; `None` where there is no link.
        no_objective: Why there is none, where a metric is the objective.
        link_beyond: Whether the loss is below all that the link was fitted to.
        unknown: What the runs leave open on which a loss beyond them rests; empty where they do not.
        supply: How many training examples the dataset has.
    """

    at: dict[str, float]
    loss: Estimate
    parts: Parts
    metric: str | None
    objective: Estimate | None
    no_objective: str | None
    link_beyond: bool
    unknown: str
    supply: Supply

    json_fields: ClassVar = (
        "*family.shown", "axes", "law", "refusal", "at", "loss", "interval_parts=parts",
        "times_beyond=beyond", "times_below=below", "backtest", "metric", "objective", "no_objective",
        "link_beyond", "equation",
        "selection=points.selection", "warnings", "fit",
    )  # fmt: skip

    @property
    def beyond(self) -> dict[str, float]:
        """By axis, how many times the largest scale of the points it is; below one, inside them."""
        return {axis: self.points.beyond(axis, value) for axis, value in self.at.items()}

    @property
    def below(self) -> dict[str, float]:
        """By axis, how many times below the smallest scale of the points it is; below one, inside them."""
        return {axis: self.points.below(axis, value) for axis, value in self.at.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to distrust, a sentence each."""
        lacks = self.supply.doubts(self.at.get("n_examples", 0.0))
        return (*lacks, *_rests_on(self.unknown, self.beyond), *self.reaches_too_far(self.at), *self.doubts)


@dataclass(frozen=True, eq=False, kw_only=True)
class Target(Fitted):
    """The scale at which a family's law reaches a loss.

    Attributes:
        loss: The loss to reach.
        scale: The scale, infinite where the law never gets there. Its lower end is `None` where that is
            below everything that was run, its upper end where laws that the runs do not contradict never get
            there.
        floor: What the law falls toward, with its interval, where it has an irreducible loss.
        unknown: What the runs leave open on which a scale beyond them rests; empty where they do not.
        supply: How many training examples the dataset has.
    """

    loss: float
    scale: Estimate
    floor: Estimate | None
    unknown: str
    supply: Supply

    json_fields: ClassVar = (
        "*family.shown", "axes", "law", "refusal", "loss", "scale", "floor", "times_beyond=beyond",
        "backtest", "equation", "selection=points.selection", "warnings", "fit",
    )  # fmt: skip

    @property
    def beyond(self) -> float | None:
        """How many times the largest scale of the points it is; `None` without a scale."""
        value = self.scale.value
        return self.points.beyond(self.axes[0], value) if math.isfinite(value) else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to distrust, a sentence each."""
        value = self.scale.value
        far = self.reaches_too_far({self.axes[0]: value}) if math.isfinite(value) else ()
        beyond = {self.axes[0]: math.inf if self.beyond is None else self.beyond}
        lacks = self.supply.doubts(value) if self.axes == ("n_examples",) and math.isfinite(value) else ()
        return (*lacks, *_rests_on(self.unknown, beyond), *far, *self.doubts)


def _rests_on(unknown: str, beyond: Mapping[str, float]) -> tuple[str, ...]:
    """Returns a warning where an answer beyond the runs rests on what they do not determine."""
    if not unknown or max(beyond.values()) <= SAME:
        return ()
    return (f"{unknown}, on which an answer beyond them rests; for such a budget scalelab advise has none",)


def _unknown(points: Points, fit: Fit | AutoFit[Fit], level: float) -> str:
    """Returns what the runs leave open; nothing of an average of forms, whose priors close it."""
    if not isinstance(fit, Fit):
        return ""
    law = BudgetLaw(points, fit, level)
    return law.unknown if law.open else ""


def forecast(
    designs: pd.DataFrame,
    at: Mapping[str, float] | Sequence[Mapping[str, float]],
    *,
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[Forecast | Refusal, ...]:
    """Predicts the loss of a run at a scale, or at several, for every family.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them.
        at: The scale, by axis of the law, or several of the same axes. Without a law any one axis of the
            designs, or `n_params` and `n_examples`, with or without `epochs`.
        law: A form, its name, a formula, or `auto`. By default `power-offset` along one axis, `chinchilla`
            on two and `data-constrained` with epochs.
        estimator: What is minimized, see `scalelab.analysis.fitting.estimators`.
        level: Coverage of the prediction intervals.
        seed: Seed of everything random.

    Returns:
        By family, then scale; refusals, one a family, are among them.

    Raises:
        InputError: The scale, the law, the estimator or the level is wrong.
        FitError: The law does not exist.
    """
    check_level(level)
    Estimator.named(estimator)
    there = axes_of(designs)
    known = None if law is None or law == AUTO else formed(law, there)
    own = own_axes(known)
    scales = [read_scale(at, there, own)] if isinstance(at, Mapping) else read_scales(at, there, own)
    if len({tuple(scale) for scale in scales}) != 1:
        raise InputError("give at least one scale, and the same axes for each of several")
    form = _form(AUTO if law == AUTO else known, tuple(scales[0]))
    asked = {"axes": tuple(scales[0]), "law": _name(form)}
    found: list[Forecast | Refusal] = []
    for family, rows in families(designs):
        subject = {"family": family, **asked}
        supply = Supply.of(designs, family.dataset)
        answer = attempt(subject, _forecasts, family, rows, supply, form, scales, estimator, level, seed)
        found += [answer] if isinstance(answer, Refusal) else answer
    return tuple(found)


def reach(
    designs: pd.DataFrame,
    loss: float,
    *,
    axes: Sequence[str] | None = None,
    law: str | Law | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
) -> tuple[Target | Refusal, ...]:
    """Returns the scale at which each family reaches a loss, along each axis separately.

    Args:
        designs: Means over seeds.
        loss: The loss to reach.
        axes: Axes of the designs; by default that of the law, or `AXES`.
        law: A form of one axis, its name or a formula; `power-offset` by default.
        estimator: What is minimized.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Raises:
        InputError: The loss, an axis, the law, the estimator or the level is wrong.
        FitError: The law does not exist.
    """
    check_level(level)
    Estimator.named(estimator)
    if not LEAST < loss < LARGEST:
        raise InputError(f"the loss to reach {POSITIVE}, got {loss:g}")
    there = axes_of(designs)
    for axis in axes or ():
        if axis not in there:
            raise InputError(f"unknown axis {axis!r}{suggest(axis, there)}; there are {', '.join(there)}")
    known = None if law is None or law == AUTO else formed(law, there)
    own = own_axes(known)
    axes = axes or (own if len(own) == 1 else AXES)
    form = _form(AUTO if law == AUTO else known, (axes[0],))
    if form == AUTO:
        raise InputError("the scale that reaches a loss needs one form, such as power-offset; auto averages")
    options = (loss, estimator, level, seed)
    return tuple(
        attempt(
            {"family": family, "axes": (axis,), "law": _name(form)},
            _target,
            family,
            rows,
            Supply.of(designs, family.dataset),
            form,
            axis,
            *options,
        )
        for family, rows in families(designs)
        for axis in axes
    )


def _form(law: str | Law | None, axes: tuple[str, ...]) -> str | Law:
    """Returns the form to fit along these axes.

    Raises:
        InputError: The form has other axes.
        FitError: There is no such form.
    """
    if law is None:
        return {1: DEFAULT_LAW, 2: JOINT_LAW, 3: REPEATED_LAW}[len(axes)]
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


def _forecasts(
    family: Family, rows: pd.DataFrame, supply: Supply, form: str | Law,
    scales: Sequence[dict[str, float]], estimator: str, level: float, seed: int,
) -> list[Forecast]:  # fmt: skip
    points, fit, optimum = law_of(rows, tuple(scales[0]), form, estimator=estimator, seed=seed)
    own = scales if optimum is None else [optimum.at(scale) for scale in scales]
    losses = runs_at(fit, own, level)
    metric, objectives, why = _objectives(fit, rows, own, level, seed)
    lowest, unknown = float(rows["loss"].min()), _unknown(points, fit, level)
    return [
        Forecast(
            family=family, points=points, fit=fit, at=scale, loss=loss,
            parts=run_parts(fit, inward, loss, level), metric=metric, objective=objective,
            no_objective=why, link_beyond=objective is not None and loss.value < lowest, unknown=unknown,
            supply=supply,
        )
        for scale, inward, loss, objective in zip(scales, own, losses, objectives, strict=True)
    ]  # fmt: skip


def _objectives(
    fit: Fit | AutoFit[Fit], rows: pd.DataFrame, scales: Sequence[dict[str, float]], level: float, seed: int
) -> tuple[str | None, list[Estimate] | list[None], str | None]:
    """Returns the objective's name, its predictions and why there are none, where it is a metric."""
    none = [None] * len(scales)
    metrics = rows[["metric", "direction"]].drop_duplicates()
    if set(metrics["metric"]) == {"loss"}:
        return None, none, None
    if len(metrics) > 1:
        return ", ".join(sorted(metrics["metric"])), none, "the runs have several objectives"
    metric = str(metrics["metric"].iloc[0])
    known = rows.dropna(subset=["loss", "objective"])
    if known["objective"].abs().max() > 1.0:
        why = f"{metric} is not bounded by one, and the link from loss to metric is for those that are"
        return metric, none, why
    if known["loss"].nunique() < _MIN_LINK:
        return metric, none, f"a link from loss to {metric} needs {_MIN_LINK} designs, got {len(known)}"
    losses, objectives = (known[name].to_numpy(dtype=float) for name in ("loss", "objective"))
    try:
        best = 1.0 if set(metrics["direction"]) == {"maximize"} else 0.0
        link = fit_law(SigmoidLink(high=best), {"loss": losses}, objectives, seed=seed)
        x = {axis: np.array([scale[axis] for scale in scales]) for axis in scales[0]}
        found = zip(*chain(fit, link).predict(x, level, noise=True), strict=True)
        return metric, [Estimate.of(*ends) for ends in found], None
    except FitError as refusal:
        return metric, none, str(refusal)


def _target(
    family: Family, rows: pd.DataFrame, supply: Supply, form: str | Law, axis: str, loss: float,
    estimator: str, level: float, seed: int,
) -> Target:  # fmt: skip
    points, fit, optimum = law_of(rows, (axis,), form, estimator=estimator, seed=seed)
    assert isinstance(fit, Fit)  # one form
    quantity = scale_for_loss(fit, loss) if optimum is None else flops_for_loss(loss, optimum.flops_per)
    value = fit.estimate(quantity)
    known = np.isfinite(value) and 0 < value < LARGEST

    def predict(scales: Array, level: float | None) -> Prediction:
        x = {axis: scales} if optimum is None else optimum.split(scales)
        return fit.predict(x, level) if level else Prediction(*3 * [fit.predict(x)])

    low, high = _ends(predict, loss, value if known else float(points.rows[axis].max()), level)
    if low is not None and low < points.rows[axis].min():
        low = None
    # The ends lie on a grid, which may be coarser than the interval.
    scale = Estimate(value, low and min(low, value), high and max(high, value)) if known else None
    return Target(
        family=family, points=points, fit=fit, loss=loss, scale=scale or Estimate(math.inf, low, high),
        floor=_floor(fit, level), unknown=_unknown(points, fit, level), supply=supply,
    )  # fmt: skip


def _floor(fit: Fit, level: float) -> Estimate | None:
    """Returns the irreducible loss of a law with its interval, where it has one."""
    name = fit.law.irreducible
    if not name:
        return None
    (ends,) = intervals(fit, [name], level)
    return Estimate.of(fit.params[name], *ends)


def _ends(
    predict: Callable[[Array, float | None], Prediction], loss: float, center: float, level: float
) -> tuple[float | None, float | None]:
    """Returns the smallest and largest scale at which the interval of the law holds a loss.

    That is the interval of the scale (Fieller's argument). Along the law itself the scale jumps to infinity
    where the irreducible loss passes the target; the loss at a scale does not.
    """
    nodes = center * _AROUND
    law = predict(nodes, level)
    finer = np.geomspace(nodes[0], nodes[-1], _FINER)
    clean = np.log(predict(finer, None).mean)
    ends = []
    for bound in (law.lower, law.upper):
        at = clean + np.interp(np.log(finer), np.log(nodes), np.log(np.clip(bound / law.mean, 1e-300, 1e300)))
        below = np.flatnonzero(at <= np.log(loss))
        inside = below.size and below[0] > 0
        ends.append(float(finer[below[0]]) if inside else None)
    return ends[0], ends[1]
