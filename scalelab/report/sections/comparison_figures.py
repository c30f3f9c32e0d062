"""The numbers of the figures about families side by side and about spending compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.families.laws import curve_scales
from scalelab.analysis.families.pairs import Group
from scalelab.analysis.fits.compute_optimal import budgets_of
from scalelab.arrays import Array
from scalelab.report.figures import MAX_PANELS, Band, Panel, PanelFigure, Series
from scalelab.report.names import family_names, family_of
from scalelab.report.numbers import percent, plain

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis

_LINE = 40
_APPROACHES = ("envelope", "parabola", "parametric")


def comparison_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields how many times the scale one family is worth to another, along the scale, a panel a group."""
    found = [group for group in analysis.comparisons if isinstance(group, Group)]
    groups = [group for group in found if group.dataset == dataset]
    for axis in dict.fromkeys(group.axis for group in groups):
        own = [group for group in groups if group.axis == axis]
        panels = tuple(
            Panel(group.held, axis, "Worth, times the other's scale", tuple(_worth(group)))
            for group in own[:MAX_PANELS]
        )
        caption = (
            "How many times the scale the second named needs for the loss that the first one has there, with "
            f"{percent(analysis.level)} bands over refits; above one, the first named is better."
        )
        name = f"multipliers{suffix}" + ("" if axis == own[0].axis == groups[0].axis else f"-{axis}")
        yield PanelFigure(name, f"Families compared on {dataset}", caption, panels, "multipliers")


def _worth(group: Group) -> Iterator[Series]:
    for index, pair in enumerate(group.pairs):
        columns = [np.where(np.isfinite(column), column, np.nan) for column in pair.curve.T]
        empty = np.empty(0)
        yield Series(f"{pair.second} / {pair.first}", index, empty, empty, band=Band(*columns))


def optimum_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields the loss against size for each budget, and the compute-optimal size, a panel a family."""
    name = family_names(family_of(one) for one in analysis.optima)
    found = [one for one in analysis.optima if isinstance(one, FamilyOptimum)]
    own = [one for one in found if one.family.dataset == dataset]
    own = own[:MAX_PANELS]
    if not own:
        return
    yield PanelFigure(
        f"isoflops{suffix}",
        f"Loss at equal compute on {dataset}",
        "Points: runs of about the same compute, colored by it; lines: the law L(N, D) at that compute.",
        tuple(Panel(name(one.family), "n_params", "Validation loss", tuple(_budgets(one))) for one in own),
        "isoflops",
        "Training compute C (FLOP)",
    )
    yield PanelFigure(
        f"optimum{suffix}",
        f"Compute-optimal size on {dataset}",
        "Points: the size that each approach finds best for a compute; lines: N ∝ C^a through them.",
        tuple(
            Panel(name(one.family), "train_flops", "Compute-optimal parameters N", tuple(_optima(one)))
            for one in own
        ),
        "optima",
    )


def _budgets(one: FamilyOptimum) -> Iterator[Series]:
    rows = one.points.rows
    n, loss = (rows[column].to_numpy(dtype=float) for column in ("n_params", "loss"))
    known = rows["train_flops"].to_numpy(dtype=float)
    flops = np.where(np.isfinite(known), known, one.flops_per * n * rows["n_examples"].to_numpy(dtype=float))
    labels = budgets_of(flops)
    for label in np.unique(labels):
        inside = labels == label
        budget = float(np.exp(np.mean(np.log(flops[inside]))))
        band = None
        if one.found.fit is not None and inside.sum() > 1:
            sizes = curve_scales(n[inside])
            seen = budget / one.flops_per / sizes
            clean: Array = one.found.fit.predict({"n_params": sizes, "n_examples": seen})
            band = Band(sizes, clean, clean, clean)
        last = float(n[inside].max())
        yield Series("", 0, n[inside], loss[inside], band=band, extrapolated_from=last, level=budget)


def _optima(one: FamilyOptimum) -> Iterator[Series]:
    ends = [found.flops for found in one.found.approaches.values()]
    scales = np.geomspace(min(map(np.min, ends)), max(map(np.max, ends)), _LINE)
    for name, found in one.found.approaches.items():
        line = found.coefficient * scales**found.exponent
        label = f"{name}: a = {plain(found.exponent)}"
        color = _APPROACHES.index(name)
        yield Series(label, color, found.flops, found.sizes, band=Band(scales, line, line, line))
