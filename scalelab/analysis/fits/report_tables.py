"""What a fit shows of itself: its table of parameters, and its curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.analysis.inference.intervals import intervals, stderr
from scalelab.arrays import Array
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scalelab.analysis.fits.fit import Fit

_POINTS = 60


def parameter_table(fit: Fit, level: float = 0.9, method: str = "auto") -> pd.DataFrame:
    """Returns a row a parameter.

    Columns: `estimate`, `stderr`, `lower` and `upper` of the interval, and `at_bound`,
    true where the estimate is the end of what the law allows, so that its interval says little.
    """
    import pandas as pd

    bounded = at_bounds(fit)
    rows = {}
    ends = intervals(fit, list(fit.params), level, method=method)
    for (name, value), (low, high) in zip(fit.params.items(), ends, strict=True):
        rows[name] = {
            "estimate": value,
            "stderr": stderr(fit, name, method),
            "lower": low,
            "upper": high,
            "at_bound": name in bounded,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def at_bounds(fit: Fit) -> tuple[str, ...]:
    """Returns the parameters whose internal value is an end of the law's box."""
    problem = fit.problem
    reach = 1e-9 * (1.0 + np.abs(fit.theta))
    held = (fit.theta <= problem.low + reach) | (fit.theta >= problem.high - reach)
    return tuple(name for name, flag in zip(fit.law.params, held, strict=True) if flag)


def curve(
    fit: Fit, *, axis: str | None = None, level: float | None = 0.9, decades_beyond: float = 1.0
) -> dict[str, Array]:
    """Returns the numbers of the figure: rows, law and interval against one axis.

    Args:
        fit: The fit.
        axis: Which axis; default the first. The others stay at the center of the rows.
        level: Coverage of the band; None for none.
        decades_beyond: How far beyond the largest row the law is drawn.

    Returns:
        `x`, `y` of the rows, and `grid`, `mean`, `lower`, `upper` of the law.

    Raises:
        FitError: There is no such axis.
    """
    axis = axis or fit.table.axes[0]
    if axis not in fit.table.axes:
        raise FitError(f"this fit has no axis {axis!r}: {', '.join(fit.table.axes)}")
    rows = fit.table.x
    column = rows[axis]
    if fit.law.log_axes:
        grid = np.geomspace(column.min(), column.max() * 10.0**decades_beyond, _POINTS)
        others = {name: np.full(_POINTS, np.exp(np.mean(np.log(values)))) for name, values in rows.items()}
    else:
        grid = np.linspace(column.min(), column.max(), _POINTS)
        others = {name: np.full(_POINTS, np.mean(values)) for name, values in rows.items()}
    x: Any = others | {axis: grid}
    out = {"x": column, "y": fit.table.y, "grid": grid, "mean": fit.predict(x)}
    if level is not None:
        prediction = fit.predict(x, level)
        out |= {"lower": prediction.lower, "upper": prediction.upper}
    return out


def draw(fit: Fit, ax: Axes | None = None, *, axis: str | None = None, level: float = 0.9) -> Axes:
    """Draws rows and law with its band against one axis, on new matplotlib axes if none are given."""
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6, 4), layout="constrained").add_subplot()
    axis = axis or fit.table.axes[0]
    numbers = curve(fit, axis=axis, level=level)
    ax.plot(numbers["x"], numbers["y"], ".", color="0.3", label="runs")
    ax.plot(numbers["grid"], numbers["mean"], color="C0", label=fit.law.name)
    band = f"{level:.0%} interval of the law"
    ax.fill_between(
        numbers["grid"], numbers["lower"], numbers["upper"], color="C0", alpha=0.2, lw=0, label=band
    )
    if fit.law.log_axes:
        ax.set_xscale("log")
        ax.set_yscale("log")
    ax.set(xlabel=axis, ylabel="loss" if fit.law.positive else "metric", title=fit.law.equation)
    ax.legend()
    return ax
