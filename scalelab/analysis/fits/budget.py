"""What to train with a budget, and what to expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.amounts import amount
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.intervals import intervals
from scalelab.analysis.inference.quantities import (
    FLOPS_PER,
    log_of,
    loss_at_budget,
    optimal_examples,
    optimal_params,
)
from scalelab.errors import FitError, InputError

if TYPE_CHECKING:
    import pandas as pd

_SPLIT = ("n_params", "n_examples", "examples_per_param")


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
        budgets: FLOPs, one or several; a text such as `"10T"` is a number, too.
        flops_per: FLOPs an example and parameter.
        max_examples: How many examples there are; beyond them the rest of the budget goes into size.
        level: Coverage of the intervals.

    Returns:
        One row per budget: `n_params`, `n_examples`, `examples_per_param`, `loss`, each with `_lower`
        and `_upper` (of the unlimited optimum: only the loss, where data are limiting),
        `limited_by_data`, and
        `gain_per_doubling`, by how much twice the budget lowers the loss: the price of the next
        improvement.

    Raises:
        InputError: a budget is not positive.
        FitError: The fit is of another law, or an average of several.
    """
    import pandas as pd

    if not isinstance(fit, Fit):
        raise FitError("an average of forms says nothing of a split; take one of them, such as fit.best")
    given = [budgets] if isinstance(budgets, str) or np.ndim(budgets) == 0 else budgets
    flops = np.array([amount(one, "budget") if isinstance(one, str) else float(one) for one in given])
    if not (flops > 0).all():
        raise InputError("budgets must be positive numbers of FLOPs")
    rows = {}
    for budget in flops.tolist():
        examples = fit.estimate(optimal_examples(budget, flops_per))
        if max_examples is not None and examples > max_examples:
            row = _limited(fit, budget / flops_per, float(max_examples), level)
            rows[budget] = {"limited_by_data": True, **row}
        else:
            rows[budget] = {"limited_by_data": False, **_optimal(fit, budget, flops_per, level)}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "flops"
    return frame


def _optimal(fit: Fit, flops: float, flops_per: float, level: float) -> dict[str, float]:
    """Returns the row of a budget that nothing else limits."""
    loss = loss_at_budget(flops, flops_per)
    best = optimal_params(flops, flops_per)
    logs, own = intervals(fit, [log_of(best), loss], level)
    split = split_of(flops / flops_per, fit.estimate(best), *logs)
    row: dict[str, float] = {}
    for name, (value, lower, upper) in zip(_SPLIT, split, strict=True):
        row |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
    later = fit.estimate(loss_at_budget(2.0 * flops, flops_per))
    return row | _losses(fit.estimate(loss), *own, later)


def split_of(product: float, size: float, lower: float, upper: float) -> list[tuple[float, float, float]]:
    """Returns N, D and D / N with the ends of their intervals: with N · D given, N decides the others.

    Args:
        product: N · D, what a budget pays for.
        size: N.
        lower: The lower end of log N.
        upper: The upper end.
    """
    whole = float(np.log(product))
    values = (size, product / size, product / size**2)
    ends = ((lower, upper), (whole - upper, whole - lower), (whole - 2 * upper, whole - 2 * lower))
    with np.errstate(over="ignore"):
        return [
            (value, float(np.exp(low)), float(np.exp(high)))
            for value, (low, high) in zip(values, ends, strict=True)
        ]


def _limited(fit: Fit, product: float, examples: float, level: float) -> dict[str, float]:
    """Returns the row of a budget for which there are too few examples."""
    size = product / examples
    mean, lower, upper = (
        float(end[0]) for end in fit.predict({"n_params": [size], "n_examples": [examples]}, level)
    )
    later = float(fit.predict({"n_params": [2 * size], "n_examples": [examples]})[0])
    row = {"n_params": size, "n_examples": examples, "examples_per_param": examples / size}
    return row | _losses(mean, lower, upper, later)


def _losses(loss: float, lower: float, upper: float, later: float) -> dict[str, float]:
    return {"loss": loss, "loss_lower": lower, "loss_upper": upper, "gain_per_doubling": loss - later}
