"""What each of a row of budgets buys: the answers of `advise`, from laws that are fitted once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scalelab.analysis.families.advice import Advice
from scalelab.analysis.families.ahead import Ahead, compute_of
from scalelab.analysis.families.fitted import AHEAD

if TYPE_CHECKING:
    import pandas as pd

_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), (1, 1.5, 2, 3, 5, 7))
_ENOUGH = 10
_BELOW = 1e3
_SAME = 1.02


def bought(found: Ahead, designs: pd.DataFrame) -> tuple[Advice, ...]:
    """Returns what round budgets buy, rising, and last the largest budget that has an answer.

    They begin at the smallest training compute of a design, or at a thousandth of the largest where that is
    more.

    Args:
        found: What the runs on a dataset say.
        designs: Their designs, and those on other datasets.
    """
    if found.advisor is None or found.most is None:
        return ()
    own = designs[designs["dataset"] == found.dataset]
    low = max(float(compute_of(own).min()), found.budget / AHEAD / _BELOW)
    budgets = round_budgets(low, found.limit / _SAME) if low < found.limit else ()
    made = map(found.advisor.answer, budgets)
    return (*(one for one in made if isinstance(one, Advice)), found.most)


def round_budgets(low: float, high: float) -> tuple[float, ...]:
    """Returns round budgets from one to another: ten or somewhat more, as far as they go.

    They are 1 times a power of ten, or 1 and 3, 1, 2 and 5, 1, 2, 3 and 5, at the finest 1, 1.5, 2, 3, 5 and
    7 times one.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: tuple[float, ...] = ()
    for steps in _STEPS:
        # Read from text, so that each is the number that a person types.
        numbers = (float(f"{step:g}e{decade}") for decade in decades for step in steps)
        found = tuple(budget for budget in numbers if low <= budget <= high)
        if len(found) >= _ENOUGH:
            break
    return found
