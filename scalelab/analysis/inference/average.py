"""Chooses and averages laws by how well they extrapolated.

The rule, the same for all data:

1. Candidates are the forms that have an end: for one axis `power-offset`, `m3`, `m4` and `bnsl`; for
   `n_params` and `n_examples` `chinchilla`, `shared-exponent`, `outer-exponent`, `saturating`, `kaplan`,
   `kaplan-offset` and `interaction`; with `epochs` `data-constrained` and `seen-and-unique`. The plain power
   law is the special case E = 0 of three of them, and would count twice. Those that the rows cannot support
   are left out, with the reason.
2. A form that visibly does not fit is dropped: its residual variance is above the smallest (F test, p < .1).
   Only where the best form has at least 10 degrees of freedom; fewer do not know.
3. `bnsl2`, which can follow anything, replaces them all only where it explains more than its parameters are
   worth (extra-sum-of-squares F test, p < 1e-6), with at least 15 degrees of freedom, and extrapolated
   better than the form of the smallest variance. It is fitted only where neighboring residuals of that form
   are so alike that it could.
4. Each is backtested by scale from four common origins (50, 60, 70 and 80% of the rows). An origin from which
   a form could not be fitted is not an easy one: it counts as the worst of the others there.
5. Predictions are averaged as logarithms with weights proportional to one over the backtests' root mean
   square error. That lies between equal weights, hard to beat where errors are measured at few origins
   (Stock & Watson 2004; Timmermann 2006, "forecast combination puzzle"), and one over its square (Bates &
   Granger 1969), right if they were known. Where no form could be backtested, weights are Akaike's.
6. The laws that predict, here and in the backtests, have their exponents drawn to the usual ones, by as
   much as the noise of the best form makes room for, see `scalelab.analysis.inference.prior`.

Intervals are made without refits, see `scalelab.analysis.inference.spread`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import numpy as np
from scipy import special

from scalelab.analysis.fitting.data import Table, read_axes, read_table, refuse_misaligned
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.backtest import Backtest, averaged, backtest, scale_of
from scalelab.analysis.inference.bootstrap import refuse_one_group
from scalelab.analysis.inference.intervals import Prediction, run_reach
from scalelab.analysis.inference.noise import with_noise
from scalelab.analysis.inference.prior import CENTER, WIDTH, shrunk
from scalelab.analysis.inference.simulator import simulator
from scalelab.analysis.inference.spread import DOF, Spread, quantile, spread_of_average
from scalelab.analysis.laws import LAWS
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.jsonable import jsonable
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

_LEAST_ERROR = 1e-12
_MISFIT, _FREEDOM = 0.1, 10
_FLEXIBLE, _GAIN, _FLEXIBLE_FREEDOM = "bnsl2", 1e-6, 15

P = TypeVar("P", bound=Point)


@dataclass(frozen=True, eq=False)
class AutoFit(Generic[P]):
    """Laws averaged by how well they extrapolated. Never changes.

    Attributes:
        fits: The fit of each law that the rows support, by name.
        backtests: The backtest of each.
        weights: The weight of each; they sum to one.
        weighted_by: `backtest` or, where there was none, `aicc`.
        refused: Why a candidate was left out, by name.
        shrunk: The same fits with exponents drawn to the usual ones, which predict, by name.
        scores: The error of the backtests that the weights come from, by name; empty without any.
        dropped: The fits that were left out because they do not fit; they still disagree.
    """

    fits: dict[str, P]
    backtests: dict[str, Backtest]
    weights: dict[str, float]
    weighted_by: str
    refused: dict[str, str]
    shrunk: dict[str, P]
    scores: dict[str, float]
    dropped: tuple[P, ...]

    json_fields: ClassVar = (
        "weights", "weighted_by", "backtest_rmse=scores", "refused", "prior", "predicting", "fits",
    )  # fmt: skip

    @property
    def best(self) -> P:
        """The fit of the largest weight."""
        return self.fits[max(self.weights, key=lambda name: self.weights[name])]

    @property
    def prior(self) -> dict[str, float]:
        """The mean and standard deviation that exponents are drawn to."""
        return {"exponent": CENTER, "deviation": WIDTH}

    @property
    def predicting(self) -> dict[str, dict[str, float]]:
        """The parameters that predict, by law: those of `fits`, exponents drawn to the usual ones."""
        return {name: fit.params for name, fit in self.shrunk.items()}

    @property
    def table(self) -> Table:
        """The rows."""
        return self.best.table

    @property
    def backtest_error(self) -> float:
        """Root mean square error of the average, over the origins, to be shown beside every extrapolation."""
        return self.backtest.rmse

    @property
    def backtest(self) -> Backtest:
        """The backtest of the average: its laws' predictions from each origin, by their weights."""
        reach: dict[float, float] = {}
        for test in self.backtests.values():
            for origin, far in zip(test.origins, test.reach, strict=True):
                reach[origin] = max(far, reach.get(origin, far))
        origins = tuple(sorted(reach))
        errors = averaged(self.backtests, self.weights)
        own = self.backtests[self.best.law.name]
        return replace(
            own, law="auto", origins=origins, reach=tuple(reach[at] for at in origins), errors=errors
        )

    @overload
    def predict(self, x: Any, level: None = None, *, noise: bool = False) -> Array: ...
    @overload
    def predict(self, x: Any, level: float, *, noise: bool = False) -> Prediction: ...
    def predict(self, x: Any, level: float | None = None, *, noise: bool = False) -> Array | Prediction:
        """Predicts the loss at given scales.

        Args:
            x: Scales, as in `fit_law`.
            level: Coverage of the interval; default none. It is made of what `spread` returns.
            noise: Whether the interval is for a new run, with its noise, or for the law alone.

        Returns:
            Without a level an array of shape (n,), with it a `Prediction`.
        """
        mean: Array = np.exp(
            sum(self.weights[name] * np.log(fit.value(x)) for name, fit in self.shrunk.items())
        )
        if level is None:
            return mean
        refuse_one_group(self.best)
        half = quantile(level) * self.spread(x).total
        if noise:
            half = np.hypot(half, run_reach(self.best, x, level))
        return Prediction(mean, mean * np.exp(-half), mean * np.exp(half))

    def spread(self, x: Any) -> Spread:
        """Returns what the interval is made of: `scalelab.analysis.inference.spread`."""
        return spread_of_average(self.shrunk, self.weights, self.dropped, x)

    def sample(self, x: Any, n: int, *, noise: bool = False) -> Array:
        """Returns predictions that are spread as the interval says, shape (n, scales).

        Errors at several scales are those of one law, and so move together.
        """
        refuse_one_group(self.best)
        rng = np.random.default_rng(self.best.seed)
        values = self.predict(x) * np.exp(rng.standard_t(DOF, (n, 1)) * self.spread(x).total)
        return with_noise(self.best, values) if noise else values

    def summary(self) -> pd.DataFrame:
        """A row per law, heaviest first: weight, the backtest's error and reach, AICc, parameters."""
        import pandas as pd

        table = pd.DataFrame({"weight": self.weights})
        tests, fits = self.backtests.values(), self.fits.values()
        table["backtest_rmse"] = [self.scores.get(name, float("inf")) for name in self.fits]
        table["backtest_reach"] = [max(test.reach, default=float("nan")) for test in tests]
        table["aicc"] = [aicc(fit) for fit in fits]
        table["objective"] = [fit.objective for fit in fits]
        table["params"] = [
            ", ".join(f"{key}={value:.4g}" for key, value in fit.params.items()) for fit in fits
        ]
        return table.sort_values("weight", ascending=False, kind="stable")

    def to_json(self) -> str:
        """Returns weights, backtests and the fits as JSON with sorted keys."""
        return json.dumps(jsonable(self), sort_keys=True, indent=1)


def candidates(axes: tuple[str, ...]) -> tuple[Law, ...]:
    """Returns the laws that `auto` considers for these axes.

    Raises:
        FitError: No form takes these axes.
    """
    found = tuple(law for law in LAWS.values() if law.in_auto and law.takes(axes))
    if not found:
        raise FitError(
            f"no law takes the axes {', '.join(axes)}; give one axis, or n_params and n_examples, "
            "with or without epochs"
        )
    return found


def fit_auto(
    kind: type[P], x: Any, y: Any, penalty: Estimator, weights: Any, groups: Any, errors: Any, seed: int
) -> AutoFit[P]:
    """Fits, backtests and averages the candidate laws.

    Args:
        kind: What each fit is.
        x: Axes, as in `fit_law`; so are the following.
        y: Outcomes.
        penalty: What is minimized.
        weights: Weights of the rows.
        groups: Labels of rows that belong together.
        errors: Standard errors of the outcomes.
        seed: Seed of everything random.

    Raises:
        FitError: The rows are malformed, or support none of the candidates.
    """
    refuse_misaligned(x, y=y, weights=weights, groups=groups, errors=errors)
    columns = read_axes(("...",), x)
    fits: dict[str, P] = {}
    refused: dict[str, str] = {}

    def add(law: Law) -> None:
        try:
            table = read_table(law, columns, y, weights, groups, errors)
            fits[law.name] = kind.of(law, table, penalty, seed)
        except FitError as error:
            refused[law.name] = str(error)

    for law in candidates(tuple(columns)):
        add(law)
    if not fits:
        raise FitError(f"no law fits these rows; {next(iter(refused.values()))}")
    best = min(fits.values(), key=_variance)
    if _may_need_breaks(best):
        add(LAWS[_FLEXIBLE])
    flexible = fits.pop(_FLEXIBLE, None)
    noise = float(np.sqrt(_variance(best)))
    tests = {name: backtest(fit, prior=noise) for name, fit in fits.items()}
    misfits = _misfits(fits, best)
    if flexible is not None:
        own = backtest(flexible)
        if _gains(flexible, best) < _GAIN and own.rmse < tests[best.law.name].rmse:
            misfits = dict.fromkeys(fits, "it does not fit, and the form with two breaks does")
            fits[_FLEXIBLE], tests[_FLEXIBLE] = flexible, own
        else:
            refused[_FLEXIBLE] = "it does not explain enough more than simpler forms"
    shares, by, scores = combine({name: fit for name, fit in fits.items() if name not in misfits}, tests)
    refused |= misfits | {
        name: tests[name].describe() for name in fits if name not in shares and name not in misfits
    }
    return AutoFit(
        {name: fits[name] for name in shares},
        {name: tests[name] for name in shares},
        shares, by, refused,
        {name: shrunk(fits[name], noise) for name in shares},
        scores,
        tuple(fit for name, fit in fits.items() if name not in shares),
    )  # fmt: skip


def _variance(fit: Point) -> float:
    """Returns the variance of the residuals, with all degrees of freedom and robust."""
    return float(np.mean(simulator(fit).noise ** 2))


def _misfits(fits: Mapping[str, Point], best: Point) -> dict[str, str]:
    """Returns which laws visibly fit worse than the best one, with the reason."""
    n, lowest = len(best.table), max(_variance(best), 1e-300)
    if n - best.theta.size < _FREEDOM:
        return {}
    found = {}
    for name, fit in fits.items():
        ratio = _variance(fit) / lowest
        p = float(special.fdtrc(n - fit.theta.size, n - best.theta.size, ratio))
        if p < _MISFIT and fit is not best:
            found[name] = (
                f"it does not fit: {ratio:.3g} times the residual variance of {best.law.name} (p = {p:.2g})"
            )
    return found


def _may_need_breaks(best: Point) -> bool:
    """Returns whether neighboring residuals are so alike that the law of two breaks could gain enough.

    The noise that no smooth curve follows is taken from the differences of neighbors (von Neumann 1941).
    """
    freedom = len(best.table) - len(LAWS[_FLEXIBLE].params)
    if len(best.table.axes) > 1 or freedom < _FLEXIBLE_FREEDOM:
        return False
    noise = simulator(best).noise[np.argsort(scale_of(best.table), kind="stable")]
    apart = max(float(np.mean(np.diff(noise) ** 2)) / 2, 1e-300)
    more = freedom / (len(best.table) - best.theta.size)
    return _gain(_variance(best) / more / apart, best.theta.size, freedom) < _GAIN


def _gains(flexible: Point, best: Point) -> float:
    """Returns the p-value of the extra sum of squares that the flexible law explains."""
    freedom = len(best.table) - flexible.theta.size
    more = freedom / (len(best.table) - best.theta.size)
    return _gain(_variance(best) / more / max(_variance(flexible), 1e-300), best.theta.size, freedom)


def _gain(ratio: float, size: int, freedom: int) -> float:
    """Returns the p-value of a ratio of sums of squares, of a law of this size over the flexible one's."""
    extra = len(LAWS[_FLEXIBLE].params) - size
    return float(special.fdtrc(extra, freedom, max((ratio - 1.0) * freedom / extra, 0.0)))


def combine(
    fits: Mapping[str, Point], tests: Mapping[str, Backtest]
) -> tuple[dict[str, float], str, dict[str, float]]:
    """Returns the weights of the laws, what they are by, and the errors behind them; see the rule above.

    Args:
        fits: The laws to average.
        tests: The backtests of all candidates.
    """
    errors = {name: dict(zip(test.origins, test.errors, strict=True)) for name, test in tests.items()}
    worst: dict[float, float] = {}
    for own in errors.values():
        for origin, error in own.items():
            worst[origin] = max(error, worst.get(origin, 0.0))
    scores = {
        name: float(np.sqrt(np.mean([errors[name].get(origin, most) ** 2 for origin, most in worst.items()])))
        for name in fits
        if errors[name]
    }
    if scores:
        raw = {name: 1.0 / max(error, _LEAST_ERROR) for name, error in scores.items()}
    else:
        raw = _akaike(fits)
    total = sum(raw.values())
    shares = {name: value / total for name, value in raw.items()}
    return shares, "backtest" if scores else "aicc", scores


def _akaike(fits: Mapping[str, Point]) -> dict[str, float]:
    """Returns weights by AICc; where the rows are too few for it, the laws of fewest parameters by fit."""
    values = {name: score for name, fit in fits.items() if np.isfinite(score := aicc(fit))}
    if not values:
        fewest = min(fit.theta.size for fit in fits.values())
        values = {
            name: len(fit.table) * float(np.log(max(_variance(fit), 1e-300)))
            for name, fit in fits.items()
            if fit.theta.size == fewest
        }
    lowest = min(values.values())
    return {name: float(np.exp(-0.5 * (value - lowest))) for name, value in values.items()}


def aicc(fit: Point) -> float:
    """Returns the corrected Akaike criterion under Gaussian noise of the residuals (Hurvich & Tsai 1989).

    Infinite where there are too few rows for the correction. Comparable between laws on the same rows with
    the same space of residuals.
    """
    n, k = len(fit.table), fit.theta.size + 1
    if n <= k + 1:
        return float("inf")
    variance = max(float(np.average(fit.residuals**2, weights=fit.table.weights)), 1e-300)
    return n * float(np.log(variance)) + 2.0 * k * n / (n - k - 1)
