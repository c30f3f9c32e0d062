"""The answer in sentences: what a reader should take away if they read nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.families.laws import FittedLaw
from scalelab.analysis.families.pairs import Group
from scalelab.analysis.runs.frontier import Front
from scalelab.analysis.runs.selection import JOINT, SYMBOLS
from scalelab.analysis.trees import ALL
from scalelab.report.numbers import AXIS_WORDS, interval, plain, short
from scalelab.report.sections.design import design_lines, signed

_NAMED_CHOICES = 4
_NAMED_PAIRS = 6


def headlines(analysis: Analysis) -> list[str]:
    """Returns a sentence a law, front and tree model, most important first; powers are written `N^-0.3`."""
    return [
        *_law_lines(analysis),
        *_comparison_lines(analysis),
        *_optimum_lines(analysis),
        *_front_lines(analysis),
        *_tree_lines(analysis),
    ]


def _law_lines(analysis: Analysis) -> list[str]:
    def task(law: FittedLaw) -> tuple[str, str, str]:
        return law.axis, law.family.dataset, law.family.architecture

    order = {axis: i for i, axis in enumerate((*AXIS_WORDS, JOINT))}
    laws = sorted(
        (law for law in analysis.fitted if law.axis != JOINT), key=lambda law: (order[law.axis], task(law))
    )
    lines = []
    for (axis, dataset, architecture), group in groupby(laws, key=task):
        of_optimizers = list(group)
        if any(len(law.exponents) != 1 for law in of_optimizers):
            continue
        chosen = {law.points.where for law in of_optimizers}
        where = f" ({chosen.pop()})" if len(chosen) == 1 else ""
        powers = "; ".join(_power(axis, law) for law in of_optimizers)
        lines.append(
            f"With {AXIS_WORDS[axis]}{where}, the loss of {architecture} on {dataset} falls as {powers}."
        )
    return lines


def _power(axis: str, law: FittedLaw) -> str:
    exponent = law.params[law.exponents[0]]
    floor = law.irreducible
    towards = f" towards {interval(floor)}" if floor else ""
    doubt = ", weakly determined" if weakly_determined(exponent) else ""
    bounds = " (no interval)" if exponent.lower is None else " " + interval(exponent).partition(" ")[2]
    return f"{SYMBOLS[axis]}^-{plain(exponent.value)}{bounds}{towards} with {law.family.optimizer}{doubt}"


def weakly_determined(estimate: Estimate) -> bool:
    """Whether there is an interval, and it is wider than the estimate itself."""
    if estimate.lower is None or estimate.upper is None:
        return False
    return estimate.upper - estimate.lower > abs(estimate.value)


def _comparison_lines(analysis: Analysis) -> Iterable[str]:
    pairs = [
        (group, pair) for group in analysis.comparisons if isinstance(group, Group) for pair in group.pairs
    ]
    for group, pair in pairs[:_NAMED_PAIRS]:
        yield f"On {group.dataset}, {group.held}: {pair.sentence}"
    if len(pairs) > _NAMED_PAIRS:
        yield f"{len(pairs) - _NAMED_PAIRS} more pairs of families are in the tables."


def _optimum_lines(analysis: Analysis) -> Iterable[str]:
    for one in analysis.optima:
        if not isinstance(one, FamilyOptimum):
            continue
        name, best = next(reversed(one.found.approaches.items()))
        others = ", ".join(
            f"{other} {plain(found.exponent)}"
            for other, found in one.found.approaches.items()
            if other != name
        )
        dataset, architecture, optimizer = one.family
        yield (
            f"Compute for {architecture} with {optimizer} on {dataset} is best split as N ∝ "
            f"C^{interval(Estimate.of(best.exponent, best.lower, best.upper))} by the {name} approach"
            + (f" ({others})." if others else ".")
        )


def _front_lines(analysis: Analysis) -> Iterable[str]:
    def task(front: Front) -> tuple[str, str]:
        return front.dataset, front.metric

    fronts = [front for front in analysis.fronts if front.cost == "forward_flops"]
    for (dataset, metric), group in groupby(sorted(fronts, key=task), key=task):
        of_optimizers = list(group)
        sign = 1 if of_optimizers[0].direction == "maximize" else -1
        best = max(of_optimizers, key=lambda front: sign * front.points["objective"].iloc[-1])
        top = best.points.iloc[-1]
        size = short(float(top["n_params"]))
        of_size = f" of {size} parameters" if size else ""
        cost = short(float(top["forward_flops"]), "FLOP")
        yield (
            f"The best {metric} on {dataset} is {plain(float(top['objective']))}: "
            f"{top['architecture']}{of_size}, {best.optimizer}, {cost} a forward pass."
        )


def _tree_lines(analysis: Analysis) -> Iterable[str]:
    if analysis.design is not None:
        yield from design_lines(analysis.design)
        return
    for tree in analysis.forests:
        if tree.scope != ALL:
            continue
        share = interval(tree.score("r2"), 2)
        ranking = tree.ranking()
        matters = ranking[ranking["matters"]]
        if matters.empty:
            yield f"No choice of the design predicts {tree.metric} on {tree.dataset} (R² {share})."
            continue
        choices = ", ".join(signed(row) for row in matters.head(_NAMED_CHOICES).to_dict("records"))
        yield (
            f"The design predicts {tree.metric} on {tree.dataset} with R² {share} on held-out designs; "
            f"what matters most: {choices}."
        )
