"""A law of one family with its estimates, its points and what to distrust of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.intervals import intervals, widened
from scalelab.analysis.inference.prior import CENTER, WIDTH
from scalelab.analysis.inference.quantities import log_loss_at, loss_at
from scalelab.analysis.inference.spread import Parts, Spread, quantile, reach_of_law
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.selection import Points
from scalelab.law import MAX_EXPONENT

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.inference.average import AutoFit

AUTO = "auto"
DEFAULT_LAW: Final = "power-offset"
JOINT_LAW = "chinchilla"
CURVE_POINTS = 80
BAND_NODES = 6
AHEAD = 10.0
_EXACT = 1e-9
SAME = 1.0 + 1e-6
"""Scales no further apart than that are the same."""


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
        if isinstance(self.fit, Fit):
            return self.best.law.equation
        return f"mostly {self.best.law.equation}, exponents drawn to {CENTER:g} ± {WIDTH:g}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the law."""
        return self.points.axes

    @property
    def backtest(self) -> Backtest:
        """How well the law predicted the larger of these points from the smaller ones."""
        return self.fit.backtest

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What to distrust of the law and of its points, a sentence each."""
        return (*diagnose(self.best).warnings(), *self.points.doubts)

    def times_beyond(self, at: Mapping[str, float]) -> float:
        """Returns how many times a scale lies beyond the points, as backtests count it: all axes together."""
        rows = self.points.rows[list(self.axes)].prod(axis=1)
        return math.prod(at[axis] for axis in self.axes) / float(rows.max())

    def lopsided(self, at: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Returns the axes of several along which a scale lies further beyond the points than these span.

        Together the axes may lie within reach of a backtest where one alone does not: an optimum of much data
        for a small network.

        Returns:
            By axis, how many times the scale lies beyond the points, and how many times these span.
        """
        if len(self.axes) < 2:
            return {}
        columns = {axis: self.points.rows[axis].to_numpy(dtype=float) for axis in self.axes}
        both = {axis: (at[axis] / x.max(), x.max() / x.min()) for axis, x in columns.items()}
        return {axis: (times, span) for axis, (times, span) in both.items() if times > span * SAME}

    def reaches_too_far(self, at: Mapping[str, float]) -> tuple[str, ...]:
        """Returns sentences where a scale lies below the points, or further beyond them than was tested."""
        under = {axis: self.points.below(axis, at[axis]) for axis in self.axes}
        found = [
            f"the scale asked for lies {times:.3g} times below the smallest {axis} of the law's points"
            for axis, times in under.items()
            if times > SAME
        ]
        times = self.times_beyond(at)
        tested = max(self.backtest.reach, default=0.0)
        if times > max(tested, 1.0) * SAME:
            says = (
                f"the backtests reached {tested:.3g} times"
                if tested
                else "no backtest says how it does there"
            )
            found.append(f"the scale asked for lies {times:.3g} times beyond the law's points, and {says}")
        found += (
            f"the {axis} asked for lies {far:.3g} times beyond the law's points, which span {span:.3g} times"
            for axis, (far, span) in self.lopsided(at).items()
        )
        return tuple(found)


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
        "*family.shown", "axis", "law", "equation", "refusal", "selection=points.selection", "seed_spread",
        "points=points.rows", "decades=points.decades", "params", "exponents", "r2", "rms_log_error",
        "backtest", "loss_at_ten_times_the_scale=ahead", "interval_parts=ahead_parts",
        "warnings=doubts", "fit",
    )  # fmt: skip

    @cached_property
    @override
    def doubts(self) -> tuple[str, ...]:
        """What to distrust of the law, of its points and of the loss far ahead, a sentence each."""
        return (*super().doubts, *self.doubts_ahead)

    @property
    def doubts_ahead(self) -> tuple[str, ...]:
        """What to distrust of the loss far ahead, a sentence each."""
        return tuple(f"loss at {AHEAD:.0f}×: {words}" for words in self.reaches_too_far(self.far))

    @property
    def far(self) -> dict[str, float]:
        """The scale that `ahead` is at, by axis."""
        return {axis: AHEAD * float(column.max()) for axis, column in self.points.x.items()}

    @property
    def exponents(self) -> tuple[str, ...]:
        """Those of the parameters that are rates with scale."""
        return self.best.law.exponents

    @cached_property
    def log_errors(self) -> NDArray[np.float64]:
        """Log loss minus log prediction, shape (runs,); of a loss that may be negative, the loss itself."""
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
        return run_parts(self.fit, self.far, self.ahead, self.level)

    @property
    def irreducible(self) -> Estimate | None:
        """The loss that the law ends at however large the scale, where it has such a parameter."""
        return self.params.get(self.best.law.irreducible or "")

    def along(self, scales: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Returns what the fit is asked for scales of the one axis of the points."""
        return {self.points.axes[0]: scales}

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
        at_nodes = self.fit.predict(self.along(nodes), level=self.level)
        mean = self.fit.predict(self.along(scales))
        lower, upper = (
            mean * np.interp(np.log(scales), np.log(nodes), ends / at_nodes.mean)
            for ends in (at_nodes.lower, at_nodes.upper)
        )
        return pd.DataFrame({axis: scales, "mean": mean, "lower": lower, "upper": upper})


def determined(fit: Fit, name: str, estimate: Estimate) -> bool:
    """Whether a parameter may be called a finding: it has an interval with ends, none at a bound.

    Points that follow the law exactly have no scatter to make an interval of, and need none.

    Args:
        fit: The fit.
        name: The parameter, such as an exponent.
        estimate: It with its interval.
    """
    if name in fit.at_bounds:
        return False
    lower, upper = estimate.ends
    exact = float(np.sqrt(np.mean(fit.residuals**2))) < _EXACT
    return exact or bool(np.isfinite(lower) and upper < MAX_EXPONENT)


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


def estimates_of(
    points: Points, fit: Fit | AutoFit[Fit], level: float
) -> tuple[dict[str, Estimate], Estimate]:
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
