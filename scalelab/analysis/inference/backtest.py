"""Backtests by scale: fit the small runs, predict the large ones, and compare with what they did.

Random folds would test interpolation; a scaling law is asked to extrapolate. Origins roll along the axis
instead: everything up to an origin is fitted, everything beyond it predicted, and the error is that of the
log loss (of the metric itself for laws of a metric).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scalelab.analysis.fitting.data import Table, read_table
from scalelab.analysis.fitting.point import Point
from scalelab.arrays import Array, Index
from scalelab.errors import FitError

ORIGINS = (0.5, 0.6, 0.7, 0.8)
"""Shares of the rows, ordered by scale, that are fitted."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """How well a law extrapolated from each origin.

    Attributes:
        law: Name of the law.
        origins: The largest scale that was fitted, one an origin.
        reach: The largest scale that was predicted over it, one an origin.
        errors: Root mean square error of the log loss beyond each origin.
        refused: Origins at which the rows could not support the law, with the reason.
        relative: Whether errors are those of the log loss; if not, of a metric, or of a loss of any sign.
    """

    law: str
    origins: tuple[float, ...]
    reach: tuple[float, ...]
    errors: tuple[float, ...]
    refused: tuple[str, ...]
    relative: bool = True

    json_fields: ClassVar = ("rms_log_error=rmse", "origins", "reach", "errors", "refused")

    @property
    def rmse(self) -> float:
        """Root of the mean over origins of the squared error; infinite if no origin supported the law."""
        return float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else float("inf")

    def describe(self) -> str:
        """Returns the backtest as a sentence."""
        if not self.errors:
            return f"{self.law}: no backtest, {self.refused[0] if self.refused else 'too few rows'}"
        error = f"{np.expm1(self.rmse):.1%}" if self.relative else f"{self.rmse:.3g}"
        reach = max(self.reach)
        return f"{self.law}: off by {error} at up to {reach:.1f} times the scale it was fitted to"


def backtest(fit: Point, *, axis: str | None = None, origins: tuple[float, ...] = ORIGINS) -> Backtest:
    """Backtests the law of a fit on its rows, by scale.

    Args:
        fit: The fit, of all rows.
        axis: Along which axis origins roll; default the only one, or the product of all.
        origins: Shares of the rows that are fitted.

    Raises:
        FitError: There is no such axis.
    """
    table = fit.table
    scale = scale_of(table, axis)
    found: list[tuple[float, float, float]] = []
    refused = []
    for known, beyond in splits(scale, origins):
        part = table.rows(known)
        try:
            part = read_table(fit.law, part.x, part.y, part.weights, part.groups)
            smaller = Point.of(fit.law, part, fit.estimator, fit.seed)
            error = error_beyond(smaller, table.rows(beyond))
        except FitError as refusal:
            refused.append(str(refusal))
            continue
        last = float(scale[known].max())
        found.append((last, float(scale[beyond].max()) / last, error))
    origin, reach, errors = zip(*found, strict=True) if found else ((), (), ())
    return Backtest(fit.law.name, origin, reach, errors, tuple(refused), fit.law.positive)


def error_beyond(fit: Point, table: Table) -> float:
    """Returns the weighted root mean square error of the log loss (of the metric) on other rows.

    Raises:
        FitError: The law predicts a loss of zero or less, whose logarithm has no error.
    """
    predicted = fit.value(table.x)
    if fit.law.positive and not (predicted > 0).all():
        raise FitError(f"law {fit.law.name!r} falls to zero or below beyond the rows that it was fitted to")
    error = np.log(predicted / table.y) if fit.law.positive else predicted - table.y
    return float(np.sqrt(np.average(error**2, weights=table.weights)))


def scale_of(table: Table, axis: str | None = None) -> Array:
    """Returns what orders rows by scale, shape (n,): one axis, or the product of all.

    Raises:
        FitError: There is no such axis.
    """
    if axis is not None:
        if axis not in table.axes:
            raise FitError(f"there is no axis {axis!r} to backtest along: {', '.join(table.axes)}")
        return table.x[axis]
    return np.exp(sum(np.log(np.abs(column) + 1e-300) for column in table.columns))


def splits(scale: Array, origins: tuple[float, ...] = ORIGINS) -> list[tuple[Index, Index]]:
    """Returns masks of the rows up to and beyond each origin; repeats of one scale stay together."""
    ordered = np.sort(scale)
    places = [max(int(np.ceil(share * scale.size)) - 1, 0) for share in origins]
    ends = dict.fromkeys(float(ordered[place]) for place in places)
    return [(scale <= last, scale > last) for last in ends if last < ordered[-1]]
