"""Chooses and averages laws by how well they extrapolated.

The rule, the same for all data:

1. Candidates are the forms that have an end: for one axis `power-offset`, `m3`, `m4` and `bnsl`;
   for `n_params` and `n_examples` `chinchilla` and `kaplan`; with `epochs` `data-constrained`.
   The plain power law is the special case E = 0 of three of them, and would count twice.
2. Each is backtested by scale from four origins (50, 60, 70 and 80% of the rows) and fitted to all rows.
3. Predictions are averaged as logarithms with weights proportional to one over the backtest's root mean
   square error. That lies between equal weights, hard to beat where errors are measured at few origins
   (Stock & Watson 2004; Timmermann 2006, "forecast combination puzzle"), and one over its square (Bates &
   Granger 1969), right if they were known.
4. Forms that the rows cannot support are left out, with the reason. Where no form could be backtested,
   weights are Akaike's, from AICc.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import numpy as np

from scalelab.analysis.fitting.data import Table, read_axes, read_table, refuse_misaligned
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.backtest import Backtest, backtest
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.inference.intervals import Prediction, refits
from scalelab.analysis.inference.noise import sampled
from scalelab.analysis.laws import LAWS
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.jsonable import jsonable
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

_REFITS = 400
_LEAST_ERROR = 1e-12

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
    """

    fits: dict[str, P]
    backtests: dict[str, Backtest]
    weights: dict[str, float]
    weighted_by: str
    refused: dict[str, str]

    json_fields: ClassVar = ("weights", "weighted_by", "backtest_rmse", "refused", "fits")

    @property
    def backtest_rmse(self) -> dict[str, float]:
        """The error of each law that could be backtested, by name."""
        return {name: test.rmse for name, test in self.backtests.items() if test.errors}

    @property
    def best(self) -> P:
        """The fit of the largest weight."""
        return self.fits[max(self.weights, key=lambda name: self.weights[name])]

    @property
    def table(self) -> Table:
        """The rows."""
        return self.best.table

    @property
    def backtest_error(self) -> float:
        """Weighted mean of the backtests' errors of the log loss, to be shown beside every extrapolation."""
        return float(sum(weight * self.backtests[name].rmse for name, weight in self.weights.items()))

    @property
    def backtest(self) -> Backtest:
        """The backtest of the heaviest law, with `backtest_error` for its errors."""
        own = self.backtests[self.best.law.name]
        errors = (self.backtest_error,) if np.isfinite(self.backtest_error) else ()
        return replace(own, law="auto", errors=errors)

    @overload
    def predict(self, x: Any, level: None = None, *, noise: bool = False) -> Array: ...
    @overload
    def predict(self, x: Any, level: float, *, noise: bool = False) -> Prediction: ...
    def predict(self, x: Any, level: float | None = None, *, noise: bool = False) -> Array | Prediction:
        """Predicts the loss at given scales.

        Args:
            x: Scales, as in `fit_law`.
            level: Coverage of the interval; default none. It holds that share of the refits of all laws,
                each law with its weight, and so contains how much the laws disagree.
            noise: Whether the interval is for a new run, with its noise, or for the laws alone.

        Returns:
            Without a level an array of shape (n,), with it a `Prediction`.
        """
        mean: Array = np.exp(
            sum(self.weights[name] * np.log(fit.value(x)) for name, fit in self.fits.items())
        )
        if level is None:
            return mean
        shares = tails(level)
        pool, mass = self._pool(x, noise=noise)
        lower, upper = (_quantile(pool, mass, share) for share in shares)
        return Prediction(mean, np.minimum(lower, mean), np.maximum(upper, mean))

    def sample(self, x: Any, n: int, *, noise: bool = False) -> Array:
        """Returns predictions of refits, of each law as often as its weight says, shape (n, scales)."""
        pool, mass = self._pool(x, noise=noise)
        rows = np.random.default_rng(self.best.seed).choice(len(pool), n, p=mass)
        return np.asarray(pool[rows])

    def _pool(self, x: Any, *, noise: bool) -> tuple[Array, Array]:
        """Returns predictions of refits of all laws, shape (refits, scales), and the weight of each."""
        values, weights = [], []
        for name, fit in self.fits.items():
            kind = "clusters" if fit.table.groups is not None else "residuals"
            at = sampled(fit, refits(fit, kind, n=_REFITS).draws, x, of_runs=noise)
            values.append(at)
            weights.append(np.full(len(at), self.weights[name] / len(at)))
        return np.concatenate(values), np.concatenate(weights)

    def summary(self) -> pd.DataFrame:
        """A row per law, heaviest first: weight, the backtest's error and reach, AICc, parameters."""
        import pandas as pd

        table = pd.DataFrame({"weight": self.weights})
        tests, fits = self.backtests.values(), self.fits.values()
        table["backtest_rmse"] = [test.rmse for test in tests]
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
    kind: type[P], x: Any, y: Any, penalty: Estimator, weights: Any, groups: Any, seed: int
) -> AutoFit[P]:
    """Fits, backtests and averages the candidate laws.

    Args:
        kind: What each fit is.
        x: Axes, as in `fit_law`; so are the following.
        y: Outcomes.
        penalty: What is minimized.
        weights: Weights of the rows.
        groups: Labels of rows that belong together.
        seed: Seed of everything random.

    Raises:
        FitError: The rows are malformed, or support none of the candidates.
    """
    refuse_misaligned(x, y=y, weights=weights, groups=groups)
    columns = read_axes(("...",), x)
    fits: dict[str, P] = {}
    tests: dict[str, Backtest] = {}
    refused: dict[str, str] = {}
    for law in candidates(tuple(columns)):
        name = law.name
        try:
            table = read_table(law, columns, y, weights, groups)
            fits[name] = kind.of(law, table, penalty, seed)
        except FitError as error:
            refused[name] = str(error)
            continue
        tests[name] = backtest(fits[name])
    if not fits:
        raise FitError(f"no law fits these rows; {next(iter(refused.values()))}")
    shares, by = combine(fits, tests)
    for name in [name for name in fits if name not in shares]:
        refused[name] = tests[name].describe()
        del fits[name], tests[name]
    return AutoFit(fits, tests, shares, by, refused)


def combine(fits: Mapping[str, Point], tests: dict[str, Backtest]) -> tuple[dict[str, float], str]:
    """Returns the weights of the laws, and what they are by; see the rule above."""
    errors = {name: test.rmse for name, test in tests.items() if np.isfinite(test.rmse)}
    scores = {name: score for name, fit in fits.items() if np.isfinite(score := aicc(fit))}
    if errors:
        raw = {name: 1.0 / max(error, _LEAST_ERROR) for name, error in errors.items()}
    elif scores:
        lowest = min(scores.values())
        raw = {name: float(np.exp(-0.5 * (score - lowest))) for name, score in scores.items()}
    else:
        raw = {min(fits, key=lambda name: len(fits[name].law.params)): 1.0}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}, "backtest" if errors else "aicc"


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


def _quantile(values: Array, mass: Array, share: float) -> Array:
    """Returns the weighted quantile of each column of `values`, shape (columns,)."""
    order = np.argsort(values, axis=0)
    total = np.cumsum(mass[order], axis=0)
    index = np.minimum((total < share).sum(axis=0), len(values) - 1)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, 0), index[None], 0)[0])
