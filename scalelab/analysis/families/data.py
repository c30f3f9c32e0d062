"""The data of a run to make: how many examples it wants, how often it repeats them, how many there are.

Runs of a dataset record how many training examples it has. Where the best split of a budget asks for more,
its law says which one is the best of those that there are; where no law does, more data are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.amounts import prefixed
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.fitted import SAME

if TYPE_CHECKING:
    import pandas as pd

FEW_PASSES, MANY_PASSES = 4.0, 16.0
"""Up to four passes repeated data are worth about as much as new ones, beyond sixteen next to nothing
(Muennighoff et al. 2023, section 5, for language)."""

_SAME_PASSES = 1.01


@dataclass(frozen=True)
class Supply:
    """The training examples of a dataset, as far as its runs record how many there are.

    Attributes:
        dataset: Its label.
        n_available: How many different ones; infinite where no run says it.
    """

    dataset: str
    n_available: float

    @classmethod
    def of(cls, designs: pd.DataFrame, dataset: str) -> Supply:
        """Returns those of the dataset of some designs; fewer than a run had are no number of examples."""
        own = designs[designs["dataset"] == dataset]
        if "n_available" not in own.columns:
            return cls(dataset, math.inf)
        most = float(own["n_available"].max())
        return cls(dataset, most if most >= own["n_examples"].max() else math.inf)

    def lacks(self, n_examples: float) -> bool:
        """Whether so many different examples are more than there are."""
        return n_examples > self.n_available * SAME

    @property
    def words(self) -> str:
        """How many there are, in words."""
        return f"{self.dataset} has {self.n_available:,.0f} training examples"

    def lack(self, n_examples: float) -> str:
        """Returns that so many are more than there are, and what to do about it."""
        return (
            f"{self.words}, and this asks for {prefixed(n_examples)} of them: find more data first, or ask "
            "for less"
        )

    def doubts(self, n_examples: float) -> tuple[str, ...]:
        """Returns a warning where so many different examples are more than there are."""
        return (self.lack(n_examples),) if self.lacks(n_examples) else ()


def wanted(unique: pd.Series, passes: pd.Series, n_seen: float) -> tuple[int | None, float]:
    """Returns how many different examples all of some runs had, and how many a run wants that sees so many.

    That is as many, or where all runs made the same number of passes over their data, what it sees in one.
    """
    if passes.max() <= 1.0 + 1e-9:
        return None, n_seen
    if passes.max() / passes.min() < _SAME_PASSES:
        return None, n_seen / float(passes.median())
    return int(unique.max()), float(unique.max())


def all_used(supply: Supply, n_examples: float, n_seen: Estimate) -> str:
    """Returns what to know of a split that takes all examples that there are, for lack of more.

    Args:
        supply: The examples.
        n_examples: Different examples that the split without that limit asks for.
        n_seen: Examples that it sees, with their interval.
    """
    ends = [prefixed(end * n_examples / n_seen.value) for end in n_seen[1:] if end is not None]
    between = f" [{', '.join(ends)}]" if len(ends) > 1 else ""
    return (
        f"{supply.words}, and the best split of this budget asks for {prefixed(n_examples)}{between} of "
        "them: all that there are are used, and the rest of the budget goes into parameters"
    )


def repeated(n_seen: float, n_examples: float, unique: int | None) -> list[str]:
    """Returns a warning where data would be repeated more often than they are worth."""
    passes = n_seen / n_examples
    if passes <= FEW_PASSES:
        return []
    worth = "next to nothing" if passes > MANY_PASSES else "less and less"
    data = "the data, as all these runs made" if unique is None else f"{n_examples:,.0f} distinct examples"
    return [
        f"that is {passes:.3g} passes over {data}; beyond {FEW_PASSES:.0f}, repeats were worth {worth} "
        "(Muennighoff et al. 2023)"
    ]
