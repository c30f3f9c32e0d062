"""Three ways to say how long a network takes, from what its forward pass asks of a machine.

- **roofline**: latency is a sum of what arithmetic, memory traffic and starting operations take, each with a
  price that is not negative (after Williams, Waterman & Patterson 2009, "Roofline", CACM 52(4), as a sum
  instead of a maximum, which is what a network of many layers bound by one or the other comes to).
- **log-linear**: a power of each quantity, by least squares on logarithms.
- **trees**: the roofline times what boosted trees make of its relative error.

All minimize relative errors, so that small networks count as much as large ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


NEEDED = ("forward_flops", "grouped_flops", "activation_bytes", "n_params", "n_ops", "n_layers")
"""Columns that say what a network asks of a machine, of one example."""

WEIGHT_BYTES = 4
_TREES = {
    "max_iter": 60,
    "learning_rate": 0.08,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 5,
    "l2_regularization": 1.0,
}


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model of latency.

    Attributes:
        name: `roofline`, `log-linear` or `trees`.
        predict: Rows with the columns `NEEDED` and a batch size to seconds, shape (rows,).
        coefficients: What each quantity costs (roofline: seconds a unit) or its power (log-linear).
        intervals: 95% intervals of the powers by standard errors that allow for unequal variances (HC3).
    """

    name: str
    predict: Callable[[pd.DataFrame, int], Array]
    coefficients: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def _demand(rows: pd.DataFrame, batch_size: int) -> dict[str, Array]:
    """Returns what a call of a batch asks for, by its unit."""
    column = {name: rows[name].to_numpy(dtype=float) for name in NEEDED}
    return {
        "call": np.ones(len(rows)),
        "operation": column["n_ops"],
        "layer": column["n_layers"],
        "dense FLOP": batch_size * (column["forward_flops"] - column["grouped_flops"]),
        "grouped FLOP": batch_size * column["grouped_flops"],
        "activation byte": batch_size * column["activation_bytes"],
        "weight byte": WEIGHT_BYTES * column["n_params"],
    }


def roofline(rows: pd.DataFrame, seconds: Array, batch_size: int) -> Fitted:
    """Fits prices that are not negative by least squares of relative errors (Lawson & Hanson's NNLS).

    Args:
        rows: With the columns `NEEDED`.
        seconds: Latencies, shape (rows,).
        batch_size: Examples per call.
    """
    from scipy.optimize import nnls

    demand = _demand(rows, batch_size)
    matrix = np.column_stack(list(demand.values()))
    scale = np.where(matrix.max(axis=0) > 0, matrix.max(axis=0), 1.0)
    prices = nnls(matrix / scale / seconds[:, None], np.ones(len(rows)))[0] / scale

    def predict(new: pd.DataFrame, size: int) -> Array:
        return np.column_stack(list(_demand(new, size).values())) @ prices

    return Fitted("roofline", predict, dict(zip(demand, map(float, prices), strict=True)))


def log_linear(rows: pd.DataFrame, seconds: Array, batch_size: int) -> Fitted:
    """Fits a power of each quantity by ordinary least squares; arguments as for `roofline`."""
    import statsmodels.api as sm

    def design(new: pd.DataFrame, size: int) -> tuple[list[str], Array]:
        demand = _demand(new, size)
        whole = {
            name: np.log(values)
            for name, values in demand.items()
            if name not in ("call", "grouped FLOP", "dense FLOP")
        }
        flops = demand["dense FLOP"] + demand["grouped FLOP"]
        whole = {"FLOP": np.log(flops), **whole, "grouped share": demand["grouped FLOP"] / flops}
        return ["constant", *whole], np.column_stack([np.ones(len(new)), *whole.values()])

    names, matrix = design(rows, batch_size)
    with warnings.catch_warnings():
        # In one family quantities may follow from each other: the least-squares answer of least norm will do.
        warnings.simplefilter("ignore")
        fit = sm.OLS(np.log(seconds), matrix).fit(cov_type="HC3")
        ends = fit.conf_int(0.05)

    def predict(new: pd.DataFrame, size: int) -> Array:
        return np.asarray(np.exp(design(new, size)[1] @ fit.params))

    return Fitted(
        "log-linear",
        predict,
        dict(zip(names, map(float, fit.params), strict=True)),
        {name: (float(lower), float(upper)) for name, (lower, upper) in zip(names, ends, strict=True)},
    )


def trees(rows: pd.DataFrame, seconds: Array, batch_size: int) -> Fitted:
    """Fits boosted trees to the logarithm of what the roofline is off by; arguments as for `roofline`."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    from scalelab.analysis.trees.learners import threads_for

    base = roofline(rows, seconds, batch_size)

    def features(new: pd.DataFrame, size: int) -> Array:
        demand = _demand(new, size)
        flops = demand["dense FLOP"] + demand["grouped FLOP"]
        return np.column_stack(
            [
                np.log(flops),
                np.log(flops / demand["activation byte"]),
                np.log(flops / demand["layer"]),
                np.log(demand["activation byte"] / demand["operation"]),
                demand["grouped FLOP"] / flops,
                np.log(demand["weight byte"]),
                np.log(demand["operation"]),
            ]
        )

    def expected(new: pd.DataFrame, size: int) -> Array:
        return np.maximum(base.predict(new, size), 1e-9)

    model = HistGradientBoostingRegressor(random_state=0, early_stopping=False, **_TREES)
    with threads_for(len(rows)):
        model.fit(features(rows, batch_size), np.log(seconds / expected(rows, batch_size)))

    def predict(new: pd.DataFrame, size: int) -> Array:
        with threads_for(len(new)):
            off: Array = model.predict(features(new, size))
        return expected(new, size) * np.exp(off)

    return Fitted("trees", predict)


MODELS: dict[str, Callable[[pd.DataFrame, Array, int], Fitted]] = {
    "roofline": roofline,
    "log-linear": log_linear,
    "trees": trees,
}
"""From the simplest to the most flexible."""
