"""How to split compute between parameters and examples: three approaches side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.families.fitted import curve_scales
from scalelab.analysis.fits.isoflops import budgets_of
from scalelab.analysis.runs.designs import Family, family_of
from scalelab.report.names import family_names, led, said_once, whose
from scalelab.report.numbers import interval, plain, short
from scalelab.report.outcomes import axis_label
from scalelab.report.parts import MAX_PANELS, Figure, Line, Panel, Series, Table, array
from scalelab.report.runs import Runs, runs_of
from scalelab.report.sections.topic import Topic, figure

_LINE = 40
_APPROACHES = ("envelope", "parabola", "parametric")


def optimum_table(
    optima: Sequence[FamilyOptimum | Refusal],
    name: Callable[[Family], str],
    *,
    sizes: Mapping[Family, Mapping[str, float]] | None = None,
    budget: float | None = None,
) -> Table:
    """Returns the three approaches to the compute-optimal size, a row each.

    Args:
        optima: What is known of each family.
        name: What a family is called.
        sizes: By family and approach, the size that it says at a budget.
        budget: That budget.
    """
    rows, notes = [], []
    for one in optima:
        if isinstance(one, Refusal):
            notes.append((name(family_of(one)), f"refused: {one.reason}"))
            continue
        for approach in one.found.approaches.values():
            low, high = approach.lower, approach.upper
            row = {
                "family": name(one.family),
                "approach": approach.approach,
                "a of N ∝ C^a": interval(Estimate.of(approach.exponent, low, high)),
                "b of D ∝ C^b": interval(approach.data_exponent),
                "optima": str(len(approach.flops)),
            }
            if budget is not None:
                size = (sizes or {}).get(one.family, {}).get(approach.approach)
                row[f"N at {short(budget, 'FLOP')}"] = short(size)
            rows.append(row)
        words = [f"{approach} refused: {why}" for approach, why in one.found.missing.items()]
        if budget is None:
            words += [f"warning: {line}" for line in one.warnings]
            words.append(f"C = {one.flops_per:.3g}·N·D, {one.points.selection}")
        notes += [(name(one.family), line) for line in words]
    title = "Compute-optimal size, three approaches" if rows else "Compute-optimal size"
    return Table.of(title, rows, numbers=slice(2, None), notes=said_once(notes), optional=("optima",))


def _missing(analysis: Analysis) -> str:
    return "" if analysis.optima else "it needs the joint axis, which was left out"


def _lines(analysis: Analysis) -> Iterator[str]:
    for one in analysis.optima:
        if isinstance(one, Refusal):
            continue
        name, best = next(reversed(one.found.approaches.items()))
        others = ", ".join(
            f"{other} {plain(found.exponent)}"
            for other, found in one.found.approaches.items()
            if other != name
        )
        runs = f"{whose(one.family, ' for ')}{led(' with ', one.family.optimizer)}"
        yield (
            f"Compute{runs} is best split as N ∝ "
            f"C^{interval(Estimate.of(best.exponent, best.lower, best.upper))} by the {name} approach"
            + (f" ({others})." if others else ".")
        )


def _tables(analysis: Analysis, _whole: bool) -> Iterator[Table]:
    yield optimum_table(analysis.optima, family_names(map(family_of, analysis.laws)))


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the loss against size for each budget, and the compute-optimal size, one panel per family."""
    name = family_names(map(family_of, analysis.optima))
    found = [one for one in analysis.optima if isinstance(one, FamilyOptimum)]
    own = [one for one in found if one.family.dataset == dataset][:MAX_PANELS]
    if own:
        label, loss = "Compute-optimal parameters N", axis_label("loss", analysis.on)
        panels = [
            Panel(name(one.family), "n_params", loss, tuple(_budgets(one, runs_of(analysis)))) for one in own
        ]
        # Of a grid whose runs each have a compute of their own there is nothing to compare at one.
        if panels := [panel for panel in panels if any(map(_has_sizes, panel.series))]:
            lined = any(series.line is not None for panel in panels for series in panel.series)
            words = "; lines: the law L(N, D) at that compute" if lined else ""
            yield figure("isoflops", suffix, panels, dataset=dataset, lines=words)
        panels = [Panel(name(one.family), "train_flops", label, tuple(_approaches(one))) for one in own]
        yield figure("optimum", suffix, panels, dataset=dataset)


def _budgets(one: FamilyOptimum, runs: Runs) -> Iterator[Series]:
    n, loss, known, examples = array(one.points.rows, "n_params", "loss", "train_flops", "n_examples").T
    flops = np.where(np.isfinite(known), known, one.flops_per * n * examples)
    labels = budgets_of(flops)
    for label in np.unique(labels):
        inside = labels == label
        budget = float(np.exp(np.mean(np.log(flops[inside]))))
        line = None
        if one.found.fit is not None and np.ptp(n[inside]) > 0:
            sizes = curve_scales(n[inside])
            at = {"n_params": sizes, "n_examples": budget / one.flops_per / sizes}
            values = np.column_stack([sizes, one.found.fit.predict(at)])
            line = Line(values, data_end=float(n[inside].max()))
        own = runs.of_rows(one.points.rows[inside])
        yield Series(points=np.column_stack([n, loss])[inside], line=line, level=budget, runs=own)


def _has_sizes(budget: Series) -> bool:
    """Whether runs of one compute differ in size."""
    return budget.points is not None and bool(np.ptp(budget.points[:, 0]) > 0)


def _approaches(one: FamilyOptimum) -> Iterator[Series]:
    ends = [found.flops for found in one.found.approaches.values()]
    scales = np.geomspace(min(map(np.min, ends)), max(map(np.max, ends)), _LINE)
    for name, found in one.found.approaches.items():
        yield Series(
            label=f"{name}: a = {plain(found.exponent)}",
            color=_APPROACHES.index(name),
            points=np.column_stack([found.flops, found.sizes]),
            line=Line(np.column_stack([scales, found.coefficient * scales**found.exponent])),
        )


TOPIC = Topic("allocation", "Compute-optimal size", _missing, _lines, _tables, _figures)
