"""The best learning rate and batch at a scale, from runs that tried several at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from typing_extensions import Unpack

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.fit import Fit, FitOptions, fit_law
from scalelab.analysis.fitting.data import check_scales, read_axes
from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.inference.intervals import intervals
from scalelab.analysis.laws.step_law import SCALES, StepLaw
from scalelab.arrays import Array, Index
from scalelab.errors import FitError

WITHIN = 0.1
_LEAST_TRIED = 3
_AT_EDGE = 0.5


def fit_learning_rate(x: Any, loss: Any, *, within: float = WITHIN, **options: Unpack[FitOptions]) -> Fit:
    """Fits how the best learning rate, and the best batch, move with model size and data.

    The law is `step-law`: the loss of a well tuned run, times a penalty that is quadratic in the logarithms
    of learning rate and batch over their optima, which are power laws of scale (Li et al. 2025). Only runs
    near the best of their scale count, for further away the loss is no parabola. An axis of scale or a batch
    that has a single value is left out of the law.

    Args:
        x: Arrays by name or a DataFrame: `lr`, one or both of `n_params` and `n_examples`, and `batch_size`
            at will; n runs.
        loss: Their losses, shape (n,).
        within: How far above the best loss of its scale a run may lie to count, relatively.
        options: As for `scalelab.fit_law`; weights and groups are those of all n runs.

    Returns:
        The fit, which `optimal_settings` takes.

    Raises:
        FitError: Too few runs, rates or scales, or the best rates are the first or last of those tried.
    """
    columns = read_axes(("...",), x)
    unknown = [name for name in columns if name not in (*SCALES, "lr", "batch_size")]
    if unknown or "lr" not in columns:
        raise FitError(f"give lr, n_params, n_examples and batch_size at will; x has {', '.join(columns)}")
    check_scales(columns)
    y = np.asarray(loss, dtype=float).ravel()
    if y.size != columns["lr"].size or not (np.isfinite(y).all() and (y > 0).all()):
        raise FitError("the loss must be one positive, finite number per run; drop diverged runs")
    axes = tuple(
        name for name in (*SCALES, "lr", "batch_size") if name in columns and np.ptp(columns[name]) > 0
    )
    scales = [columns[name] for name in axes if name in SCALES]
    if not scales or "lr" not in axes:
        raise FitError(
            "all runs have one scale or one learning rate; vary lr at several n_params or n_examples"
        )
    _, cell = np.unique(np.stack(scales, axis=1), axis=0, return_inverse=True)
    cell = cell.ravel()
    best = np.full(cell.max() + 1, np.inf)
    np.minimum.at(best, cell, y)
    near = y <= (1.0 + within) * best[cell]
    for name in axes[len(scales) :]:
        _refuse_unbracketed(name, columns[name], y, cell, near, 1 + len(scales))
    if options.get("weights") is not None:
        options["weights"] = np.asarray(options["weights"]).ravel()[near]
    if options.get("groups") is not None:
        options["groups"] = np.asarray(options["groups"]).ravel()[near]
    fit: Fit = fit_law(StepLaw(axes), {name: columns[name][near] for name in axes}, y[near], **options)
    return fit


def _refuse_unbracketed(name: str, tried: Array, y: Array, cell: Index, near: Index, needed: int) -> None:
    """Raises where the runs do not say where a setting is best at enough scales."""
    rows = [np.flatnonzero(cell == one) for one in range(cell.max() + 1)]
    rows = [own for own in rows if np.unique(tried[own[near[own]]]).size >= _LEAST_TRIED]
    if len(rows) < needed:
        raise FitError(
            f"{len(rows)} scales have runs of {_LEAST_TRIED} values of {name} near their best loss, and "
            f"{needed} are needed; try more values around the best"
        )
    best = [(tried[own].min(), tried[own[np.argmin(y[own])]], tried[own].max()) for own in rows]
    at_edge = sum(value in (low, high) for low, value, high in best)
    if at_edge > _AT_EDGE * len(rows):
        raise FitError(
            f"at {at_edge} of {len(rows)} scales the best {name} is the smallest or largest that was tried, "
            "so that its optimum may lie beyond; try values on both sides of it"
        )


def optimal_settings(fit: Fit, at: Mapping[str, float], level: float = 0.9) -> dict[str, Estimate]:
    """Returns the best learning rate at a scale, and the best batch where the law has one.

    Args:
        fit: Of the law `step-law`.
        at: The scale: a number for each of the law's `n_params` and `n_examples`.
        level: Coverage of the intervals.

    Raises:
        FitError: The fit is of another law, or the scale is not positive or lacks an axis.
    """
    law = fit.law
    if not isinstance(law, StepLaw):
        raise FitError(f"law {law.name!r} has no learning rate; fit one with fit_learning_rate")
    scales = tuple(axis for axis in law.axes if axis in SCALES)
    check_scales(read_axes(scales, {name: [value] for name, value in at.items()}))
    wanted = {name: _optimum(law, name, at) for name in law.axes if name not in scales}
    ends = intervals(fit, list(wanted.values()), level)
    return {
        name: Estimate.of(*np.exp([fit.estimate(quantity), *own]))
        for (name, quantity), own in zip(wanted.items(), ends, strict=True)
    }


def _optimum(law: StepLaw, name: str, at: Mapping[str, float]) -> Callable[[Draws], Array]:
    """Returns the quantity: the logarithm of the best value of a setting at a scale."""
    factor, powers = law.optima[name]

    def quantity(draws: Draws) -> Array:
        params = draws.params
        moved = sum(params[power] * np.log(at[axis]) for axis, power in powers.items())
        return np.asarray(np.log(params[factor]) + moved)

    return quantity
