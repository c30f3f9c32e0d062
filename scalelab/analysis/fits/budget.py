"""What to train with a budget, and what to expect of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.analysis.fitting.draws import Draws, Quantity
from scalelab.analysis.inference.quantities import (
    FLOPS_PER,
    examples_per_param,
    loss_at_budget,
    optimal_examples,
    optimal_params,
)
from scalelab.arrays import Array
from scalelab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.fits.fit import Fit


def budget_table(
    fit: Fit,
    budgets: Any,
    *,
    flops_per: float = FLOPS_PER,
    max_examples: float | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Returns what to train at each budget, and what to expect.

    Args:
        fit: Of a law that says how to split a budget, such as `chinchilla`.
        budgets: FLOPs, one or several.
        flops_per: FLOPs an example and parameter.
        max_examples: How many examples there are; beyond them the rest of the budget goes into size.
        level: Coverage of the intervals.

    Returns:
        A row a budget: `n_params`, `n_examples`, `examples_per_param`, `loss`, each with `_lower`
        and `_upper` (of the unlimited optimum: only the loss, where data are limiting),
        `limited_by_data`, and
        `gain_per_doubling`, by how much twice the budget lowers the loss: the price of the next
        improvement.

    Raises:
        InputError: a budget is not positive.
        FitError: The fit is of another law.
    """
    import pandas as pd

    if not (np.asarray(budgets, dtype=float) > 0).all():
        raise InputError("budgets must be positive numbers of FLOPs")
    rows = {}
    for flops in np.atleast_1d(np.asarray(budgets, dtype=float)):
        n = fit.estimate(optimal_params(float(flops), flops_per))
        d = fit.estimate(optimal_examples(float(flops), flops_per))
        limited = max_examples is not None and d > max_examples
        row: dict[str, Any] = {"limited_by_data": limited}
        if limited and max_examples is not None:
            d = float(max_examples)
            n = float(flops) / flops_per / d
            point = {"n_params": [n], "n_examples": [d]}
            low, high = (float(end[0]) for end in fit.predict(point, level)[1:])
            twice = {"n_params": [2 * n], "n_examples": [d]}
            loss, later = float(fit.predict(point)[0]), float(fit.predict(twice)[0])
            row |= {"n_params": n, "n_examples": d, "examples_per_param": d / n}
        else:
            for name, quantity in (
                ("n_params", optimal_params(float(flops), flops_per)),
                ("n_examples", optimal_examples(float(flops), flops_per)),
                ("examples_per_param", examples_per_param(float(flops), flops_per)),
            ):
                ends = fit.interval(_log_of(quantity), level)
                row |= {
                    name: fit.estimate(quantity),
                    f"{name}_lower": np.exp(ends[0]),
                    f"{name}_upper": np.exp(ends[1]),
                }
            loss = fit.estimate(loss_at_budget(float(flops), flops_per))
            low, high = fit.interval(loss_at_budget(float(flops), flops_per), level)
            later = fit.estimate(loss_at_budget(2.0 * float(flops), flops_per))
        rows[float(flops)] = row | {
            "loss": loss,
            "loss_lower": low,
            "loss_upper": high,
            "gain_per_doubling": loss - later,
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "flops"
    return frame


def _log_of(quantity: Callable[[Draws], Array]) -> Quantity:
    return lambda draws: np.log(quantity(draws))
