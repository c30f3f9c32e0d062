"""What the interval of a prediction is made of: noise, disagreement of the forms, and reach.

No refit is needed. The error of a log prediction of `auto` is taken as Student's t with five degrees of
freedom times s, where s² is the sum of the squares of

- noise: `NOISE` · σ · q · r. σ is the robust root mean square of the residuals, enlarged for the parameters;
  q, Student's quantile over the normal one (87.5%), at most 1.9, says how little few rows know;
  r = √((1 + ρ) / (1 - ρ)) enlarges it where residuals of neighbors in scale are alike (ρ is their lag-one
  autocorrelation), because then the forms miss something;
- disagreement: `DISAGREEMENT` · δ · q. δ is the standard deviation of the log predictions of all forms that
  were fitted, those dropped among them;
- reach: `REACH` · r · f · q. f is the fall of the log loss, by the law, from the largest scale of the rows to
  the one that is asked for: a loss that hardly falls any more cannot be far off. Of several axes it is the
  larger of two falls: along the diagonal from the largest product, and from the nearest scale within the
  largest of each axis, for one axis may lie far beyond all rows where the product does not.

For a single law noise is what its own interval says (`scalelab.analysis.inference.intervals`), added in
quadrature to a reach of f · √((`BACKTEST` · m)² + `REACH`² · (r² - 1)): m² is what the squared misses of its
backtest exceed those that noise explains by, over the squared falls that were to be predicted. A law that is
true misses no more than noise does, its neighboring residuals are not alike, and it keeps its interval.

The constants are the likeliest (`python benchmarks/calibrate.py`), enlarged by a tenth, so that the weakest
cells of `python benchmarks/coverage.py --averaged` hold 80%; docs/laws.md has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from scalelab.analysis.fitting.data import read_axes
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.backtest import Backtest, backtest, dropped, fall, scale_of
from scalelab.analysis.inference.bootstrap import check_level
from scalelab.analysis.inference.simulator import simulator
from scalelab.arrays import Array

NOISE, DISAGREEMENT, REACH, BACKTEST = 0.66, 0.385, 0.187, 0.5
DOF = 5
"""Degrees of freedom of Student's t that a standardized error is taken to follow."""

_HIGHEST = 0.8
_FEW, _FEWEST = 0.875, 1.9


class Parts(NamedTuple):
    """What an interval is made of: shares of its squared width, which sum to one."""

    noise: float
    disagreement: float
    reach: float


class Spread(NamedTuple):
    """Standard deviations of a log prediction by where they come from, each of shape (n,)."""

    noise: Array
    disagreement: Array
    reach: Array

    @property
    def total(self) -> Array:
        """All of them together."""
        return np.sqrt(self.noise**2 + self.disagreement**2 + self.reach**2)

    def parts(self, half: float, level: float) -> Parts:
        """Returns what an interval at the first scale is made of.

        Args:
            half: Half its width, of the log loss; what is neither disagreement nor reach is noise.
            level: Its level.
        """
        own = [float(part[0]) ** 2 for part in (self.disagreement, self.reach)]
        # Of runs that lie on a law exactly all are next to nothing.
        whole = max((half / quantile(level)) ** 2, sum(own), 1e-300)
        disagreement, reach = (one / whole for one in own)
        return Parts(max(1.0 - disagreement - reach, 0.0), disagreement, reach)


def quantile(level: float) -> float:
    """Returns how many standard deviations an interval of this level reaches to either side.

    Raises:
        InputError: The level does not lie between 0 and 1.
    """
    check_level(level)
    return float(special.stdtrit(DOF, 0.5 + level / 2))


def spread_of_average(
    fits: Mapping[str, Point], weights: Mapping[str, float], others: Sequence[Point], x: Any
) -> Spread:
    """Returns the spread of an average of laws.

    Args:
        fits: The laws that are averaged.
        weights: The weight of each.
        others: Laws that were fitted and dropped; they disagree too.
        x: Scales, as in `fit_law`, n of them.
    """
    own = [(weights[name], fit) for name, fit in fits.items()]
    noises = [simulator(fit).noise for _, fit in own]
    table = own[0][1].table
    # Rows of weight k are means of k runs, and the law is that much surer.
    sigma = np.sqrt(
        sum(w * np.mean(noise**2) for (w, _), noise in zip(own, noises, strict=True)) / np.mean(table.weights)
    )
    runs = len(table) if table.groups is None else int(table.groups.max()) + 1
    freedom = max(runs - sum(w * fit.theta.size for w, fit in own), 1.0)
    alike = np.sqrt(_enlarged(sum(w * _alike(fit) for w, fit in own)))
    few = min(special.stdtrit(freedom, _FEW) / special.ndtri(_FEW), _FEWEST)
    logs = [np.log(np.maximum(fit.value(x), 1e-300)) for fit in (*fits.values(), *others)]
    falls = sum(w * _fall_beyond(fit, x) for w, fit in own)
    return Spread(
        np.full(logs[0].shape, NOISE * sigma * few * alike),
        DISAGREEMENT * few * np.std(logs, axis=0),
        REACH * few * alike * falls,
    )


def reach_of_law(fit: Point, x: Any) -> Array:
    """Returns the standard deviation of a law's prediction that its own backtest adds, shape (n,).

    In the space of the backtest's misses: of the log loss, or of the metric itself.
    """
    missed = (BACKTEST * kept_backtest(fit).excess) ** 2 + REACH**2 * (_enlarged(_alike(fit)) - 1.0)
    reach: Array = np.sqrt(missed) * _fall_beyond(fit, x)
    return reach


def _fall_beyond(fit: Point, x: Any) -> Array:
    """Returns by how much the law changes from the largest scales of the rows to others, shape (n,)."""
    table = fit.table
    asked = read_axes(table.axes, x)
    within = {
        name: np.minimum(asked[name], column.max())
        for name, column in zip(table.axes, table.columns, strict=True)
    }
    diagonal = fall(fit, tuple(asked.values()), float(scale_of(table).max()))
    return np.maximum(np.abs(diagonal), np.abs(dropped(fit, within, asked)))


def kept_backtest(fit: Point) -> Backtest:
    """Returns the backtest of a fit, made once."""
    return fit.keep("backtest", lambda: backtest(fit))


def _alike(fit: Point) -> float:
    """Returns the lag-one autocorrelation of residuals in the order of scale, from 0 to 0.8."""
    noise = simulator(fit).noise[np.argsort(scale_of(fit.table), kind="stable")]
    whole = float(noise @ noise)
    return min(max(float(noise[1:] @ noise[:-1]) / whole, 0.0), _HIGHEST) if whole > 0 else 0.0


def _enlarged(alike: float) -> float:
    """Returns how many times larger the variance of a mean is where neighbors are so correlated."""
    return (1.0 + alike) / (1.0 - alike)
