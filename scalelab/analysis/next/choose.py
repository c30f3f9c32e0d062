"""The runs that make an answer surer at the least cost.

One after the other, the candidate that lowers the error of the answer (`Design`) most for its cost is taken,
until the error is low enough, the budget is spent, or none of them lowers it. Gain is divided by the cost, or
by its power below one where a budget is there to be used: crumbs would use it up before the few runs that it
is enough for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scalelab.analysis.fitting.data import Table
from scalelab.analysis.next.design import Design
from scalelab.arrays import Array
from scalelab.errors import FitError

RATE = 0.7
"""The power of the cost that a gain is divided by, where a budget is to be used ..."""
TO_WIDTH = 1.0
"""... and where a width is to be reached for the least FLOPs."""
TOGETHER = 0.99
"""Axes whose logarithms correlate by more in all runs and candidates cannot be told apart."""

OPENING, VALUES = 2.5, 3
"""Runs for each parameter before runs are chosen by what they tell; values of each axis among them."""

_LEAST = 1e-6


class Pick(NamedTuple):
    """A run to make.

    Attributes:
        side: Of which design, by its place.
        candidate: Which candidate of it.
        own: The error of its design after it, as expected.
    """

    side: int
    candidate: int
    own: float


def picks(
    designs: Sequence[Design],
    costs: Sequence[Array],
    budget: float,
    *,
    free: Sequence[Array],
    most: int,
    enough: float = 0.0,
    rate: float = RATE,
) -> list[Pick]:
    """Chooses runs; the designs grow by them.

    Args:
        designs: One a family that the answer depends on; its error is the sum of theirs.
        costs: FLOPs of the candidates of each.
        budget: FLOPs that all may cost together.
        free: Which candidates may be taken, a flag each; each is taken once.
        most: How many runs to choose at most.
        enough: The error that is low enough.
        rate: The power of the cost that gains are divided by.
    """
    found: list[Pick] = []
    left, open_ = budget, [np.array(flags, dtype=bool) for flags in free]
    error = sum(design.error for design in designs)
    while len(found) < most and error > enough:
        best: tuple[float, int, int] | None = None
        for side, (design, cost, flags) in enumerate(zip(designs, costs, open_, strict=True)):
            there = np.flatnonzero(flags & (cost <= left * (1 + 1e-12)))
            if not there.size:
                continue
            gain = design.error - design.errors_with(there)
            score = gain / cost[there] ** rate
            at = int(np.argmax(score))
            if gain[at] > _LEAST * error and (best is None or score[at] > best[0]):
                best = float(score[at]), side, int(there[at])
        if best is None:
            break
        _, side, candidate = best
        designs[side].add(candidate)
        open_[side][candidate] = False
        left -= float(costs[side][candidate])
        found.append(Pick(side, candidate, designs[side].error))
        error = sum(design.error for design in designs)
    return found


def opening(design: Design, rows: Table, columns: tuple[Array, ...], costs: Array) -> list[int]:
    """Returns the candidates that open a study: the cheapest few, each axis at several values.

    Before a form can be told from its priors there have to be some runs, and cheap ones tell as much then.

    Args:
        design: What is believed.
        rows: The runs that are there.
        columns: The scales of the candidates, axis by axis.
        costs: Their FLOPs.
    """
    wanted = int(OPENING * design.belief.theta.size) - len(rows)
    if wanted <= 0 or not costs.size:
        return []
    # Before there are repeats there are other scales.
    there = np.concatenate([np.stack(rows.columns), np.stack(columns)], axis=1)
    _, first = np.unique(there, axis=1, return_index=True)
    other = np.sort(first[first >= len(rows)]) - len(rows)
    order = other[np.argsort(costs[other], kind="stable")]
    found: list[int] = order[:wanted].tolist()
    for own, column in zip(rows.columns, columns, strict=True):
        for candidate in order:
            values = set(own) | {column[one] for one in found}
            if len(values) >= VALUES:
                break
            if column[candidate] not in values:
                found.append(int(candidate))
    return found


def refuse_together(columns: dict[str, Array]) -> None:
    """Raises where two axes move together in all runs and candidates, so that no choice tells them apart.

    Args:
        columns: The scales of runs and candidates by axis, each of shape (points,).

    Raises:
        FitError: They do; the message names the remedy.
    """
    logs = {axis: np.log(column) for axis, column in columns.items()}
    for axis, column in logs.items():
        if np.ptp(column) <= 1e-9:
            raise FitError(
                f"all runs and candidates have the same {axis}, so that nothing can be learned along it; "
                "give the study more of its values, or ask along another axis"
            )
    names = list(logs)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if abs(float(np.corrcoef(logs[one], logs[other])[0, 1])) > TOGETHER:
                raise FitError(
                    f"{one} and {other} move together in all runs and candidates (as a fixed ratio makes "
                    "them), so that their effects cannot be told apart whatever is run (arXiv:2605.08541); "
                    "let the study vary one without the other"
                )
