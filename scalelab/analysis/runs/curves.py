"""Whole learning curves as rows of a law: what the schedule did to them stands on axes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Unpack

from scalelab.analysis.fits.fit import Fit, FitOptions, fit_law
from scalelab.arrays import Array
from scalelab.errors import FitError, InputError
from scalelab.records import TrainingOptions
from scalelab.schedules import lr_factor

if TYPE_CHECKING:
    import pandas as pd

DECAY = 0.999
_SCHEDULE = ("schedule", "warmup", "cooldown", "final_lr")
_SAME = ("dataset", "architecture", "optimizer", "n_params", "n_examples", "batch_size")
_LEAST_FACTOR = 1e-6
_LEAST_RUNS = 5


def annealing_axes(rates: Any, *, decay: float = DECAY) -> tuple[Array, Array]:
    """Returns the two axes of the law `annealing` after each step of a schedule.

    With rates r and m_i = decay * m_(i-1) + (r_(i-1) - r_i), S1 is the sum of r and S2 that of m (Tissue et
    al. 2024, section 3). The rates of a warm-up, those before they first fall, count as the rate that it
    leads to, as in the authors' code: warming up is no negative decay.

    Args:
        rates: The learning rate of every step, shape (n,); not those of validations alone.
        decay: How much of a step's decay still acts a step later; the authors take 0.999, and find 0.99 to
            0.9995 to do about as well.

    Returns:
        S1 and S2, each of shape (n,).

    Raises:
        InputError: A rate is negative or not finite, the first peak is zero, or `decay` not in [0, 1).
    """
    from scipy.signal import lfilter

    found = np.array(rates, dtype=float).ravel()
    if not found.size or not np.isfinite(found).all() or (found < 0).any():
        raise InputError("learning rates must be numbers from zero, one for each step")
    if not 0 <= decay < 1:
        raise InputError(f"decay must lie in [0, 1), such as {DECAY}, got {decay}")
    falls = np.flatnonzero(np.diff(found) < 0)
    peak = int(np.argmax(found[: falls[0] + 1] if falls.size else found))
    if not found[peak] > 0:
        raise InputError("all learning rates before the first decay are zero")
    found[:peak] = found[peak]
    falling = np.concatenate([[0.0], -np.diff(found)])
    return np.cumsum(found), np.cumsum(lfilter([1.0], [1.0, -decay], falling))


def curve_axes(runs: pd.DataFrame, curves: pd.DataFrame, *, decay: float = DECAY) -> pd.DataFrame:
    """Returns the points of learning curves with the axes of the law `annealing`.

    The rates between validations follow from each run's training options; the peak rate from the rates that
    its points recorded.

    Args:
        runs: One row per trial, as the store's `runs`, with the training options of its schedule.
        curves: One row per validation, as `Store.curves`: `trial_id`, `step`, `lr`, `loss`.
        decay: See `annealing_axes`.

    Returns:
        The points of these runs whose loss is finite, with the columns `S1` and `S2`; of each run those that
        were measured on as many examples as most of its points.

    Raises:
        InputError: A table lacks a column, or a run does not say its schedule.
    """
    import pandas as pd

    options = [f"training_{name}" for name in _SCHEDULE]
    for what, table, needed in (
        ("runs", runs, ("trial_id", "n_steps", *options)),
        ("curves", curves, ("trial_id", "step", "lr", "loss")),
    ):
        missing = [name for name in needed if name not in table.columns]
        if missing:
            raise InputError(
                f"the table of {what} lacks the columns {', '.join(missing)}; make S1 and S2 from the "
                "learning rates of every step with annealing_axes, and fit the law 'annealing' to them"
            )
    parts = []
    known = curves[np.isfinite(curves["loss"].astype(float))]
    for run in runs[["trial_id", "n_steps", *options]].itertuples(index=False, name=None):
        points = _alike(known[known["trial_id"] == run[0]])
        if any(pd.isna(value) for value in run):
            raise InputError(f"run {run[0]} does not say its schedule; leave it out")
        if len(points):
            values = dict(zip(_SCHEDULE, run[2:], strict=True))
            parts.append(_with_axes(points, int(run[1]), TrainingOptions(**values), decay))
    if not parts:
        raise FitError("none of these runs has a learning curve; choose runs that scalelab trained")
    return pd.concat(parts, ignore_index=True)


def fit_curves(
    runs: pd.DataFrame, curves: pd.DataFrame, *, decay: float = DECAY, **options: Unpack[FitOptions]
) -> Fit:
    """Fits the law `annealing` to the whole learning curves of one network on one set of data.

    Points of a run are not independent, so that intervals resample whole runs.

    Args:
        runs: Runs that differ in their learning rate, schedule, length or seed only, five at least.
        curves: Their points, see `curve_axes`.
        decay: See `annealing_axes`.
        options: As for `scalelab.fit_law`, but for groups, which are the runs.

    Returns:
        The fit, along the axes `S1` and `S2`.

    Raises:
        InputError: See `curve_axes`.
        FitError: The runs are of several networks or sets of data, fewer than five, or their points cannot
            support the law, as where no rate decays.
    """
    for name in _SAME:
        if name in runs.columns and runs[name].nunique() > 1:
            raise FitError(
                f"the runs differ in {name}, which moves the whole curve; choose those of one {name}"
            )
    points = curve_axes(runs, curves, decay=decay)
    n_runs = points["trial_id"].nunique()
    if n_runs < _LEAST_RUNS:
        raise FitError(
            f"an interval needs the curves of {_LEAST_RUNS} runs at least, got {n_runs}; add seeds, rates or "
            "schedules, or fit 'annealing' to the points of one curve with fit_law, as if each were a run"
        )
    x = {name: points[name].to_numpy() for name in ("S1", "S2")}
    options["groups"] = points["trial_id"].to_numpy()
    fit: Fit = fit_law("annealing", x, points["loss"], **options)
    return fit


def _alike(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the points of a run that were measured on as many examples as most of them.

    A curve is validated on a part of the split, its best and its last point on the whole: what lies between
    the two losses is not of the training.
    """
    if "n_validated" not in points.columns or not points["n_validated"].notna().any():
        return points
    usual = points["n_validated"].mode().max()
    alike: pd.DataFrame = points[points["n_validated"].isna() | (points["n_validated"] == usual)]
    return alike


def _with_axes(points: pd.DataFrame, n_steps: int, training: TrainingOptions, decay: float) -> pd.DataFrame:
    """Returns the points of one run with its axes."""
    factors = np.array([lr_factor(step, n_steps, training) for step in range(1, n_steps + 1)])
    at = points["step"].to_numpy(dtype=int) - 1
    usable = factors[at] > _LEAST_FACTOR
    peak = float(np.median(points["lr"].to_numpy(dtype=float)[usable] / factors[at][usable]))
    forward, annealed = annealing_axes(peak * factors, decay=decay)
    return points.assign(S1=forward[at], S2=annealed[at])
