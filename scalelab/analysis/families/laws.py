"""Scaling laws of a table of runs: the fit of every family, its backtest, and a refusal where there is none.

`scalelab.analysis.runs.selection` says which points a law is fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from scalelab.analysis.cores import Progress, each
from scalelab.analysis.estimate import Refusal, attempt
from scalelab.analysis.families.compute import law_of, optimum_law
from scalelab.analysis.families.fitted import AUTO, DEFAULT_LAW, JOINT_LAW, FittedLaw, estimates_of
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.laws import get_law
from scalelab.analysis.runs.axes import formed, own_axes
from scalelab.analysis.runs.designs import Family, axes_of, families, seed_spread
from scalelab.analysis.runs.selection import (
    AXES,
    GRID_AXES,
    JOINT,
)
from scalelab.errors import FitError, InputError, suggest
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd


def fit_families(
    designs: pd.DataFrame,
    *,
    law: str | Law | None = None,
    axes: Sequence[str] | None = None,
    estimator: str = "log-huber",
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
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
        progress: Is told how many families are done.

    Returns:
        By family, then axis; refusals are among them.

    Raises:
        FitError: The law or the estimator does not exist.
        InputError: An axis does not exist.
    """
    forms = _forms(law, axes, axes_of(designs))
    Estimator.named(estimator)
    of_family = partial(_of_family, forms=forms, estimator=estimator, level=level, seed=seed)
    found = each(of_family, families(designs), "laws of families", progress)
    return tuple(law for laws in found for law in laws)


def _of_family(
    family_and_rows: tuple[Family, pd.DataFrame], *, forms: Sequence[tuple[str, str | Law]],
    estimator: str, level: float, seed: int,
) -> list[FittedLaw | Refusal]:  # fmt: skip
    """Returns the laws of one family along each axis."""
    family, rows = family_and_rows
    return [
        fit_family(family, rows, axis, form, estimator=estimator, level=level, seed=seed)
        for axis, form in forms
    ]


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
        points, fit, optimum = law_of(known, grid, law, estimator=estimator, seed=seed)
        spread = seed_spread(known)
        if optimum is not None:
            return optimum_law(family, optimum, spread, level)
        params, ahead = estimates_of(points, fit, level)
        return FittedLaw(
            family=family, points=points, fit=fit, axis=axis, params=params,
            seed_spread=spread, ahead=ahead, level=level,
        )  # fmt: skip

    return attempt(subject, fitted)
