"""Residuals of laws against scale, and whether a law misses more than the noise between seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.families.fitted import FittedLaw
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.runs.designs import Family
from scalelab.arrays import Array
from scalelab.report.names import grouped, law_symbol
from scalelab.report.numbers import percent, plain
from scalelab.report.parts import MAX_PANELS, Figure, Panel, Series, Table
from scalelab.report.runs import Runs, runs_of
from scalelab.report.sections.topic import figure


def misfit_table(laws: Sequence[FittedLaw], name: Callable[[Family], str]) -> Table:
    """Returns what each law leaves over: its residuals, the noise of seeds, and the lack of fit."""
    rows = (_row(law, name) for law in laws)
    note = (
        "lack of fit: variance of the residuals over that of repeats, near 1 where only noise is missed; "
        "p of signs: how often chance has as few changes of sign"
    )
    return Table.of("What the laws leave over", rows, numbers=slice(2, None), notes=[note], folded=True)


def _row(law: FittedLaw, name: Callable[[Family], str]) -> dict[str, str]:
    found = diagnose(law.best)
    errors = law.log_errors
    relative = law.best.law.positive
    return {
        "family": name(law.family),
        "law": law_symbol(law),
        "residual RMS": (percent if relative else plain)(law.rms_log_error),
        "largest": (percent if relative else plain)(float(np.max(np.abs(errors)))),
        "seeds differ by": percent(law.seed_spread),
        "lack of fit": plain(found.lack_of_fit, 2) or "no repeats",
        "p of signs": plain(found.runs_p, 2),
    }


def residual_figure(
    analysis: Analysis,
    laws: Sequence[FittedLaw],
    labels: Callable[[FittedLaw], tuple[str, int]],
    dataset: str,
    suffix: str,
) -> Iterator[Figure]:
    """Yields the residuals of the laws of one axis each, a panel an axis."""
    runs = runs_of(analysis)
    # A law of compute that is L(N, D) at its optimum has the residuals of that law.
    single = [law for law in laws if len(law.points.axes) == 1 and law.best.table.axes == law.points.axes]
    panels = [
        Panel(
            law_symbol(own[0]), axis, _label(own),
            tuple(_series(law, *labels(law), runs) for law in own), log_y=False, reference=0.0,
        )
        for axis, own in list(grouped(single, lambda law: law.axis).items())[:MAX_PANELS]
    ]  # fmt: skip
    if panels:
        yield figure("residuals", suffix, panels, dataset=dataset)


def _label(laws: Sequence[FittedLaw]) -> str:
    return "Residual of the log loss" if all(law.best.law.positive for law in laws) else "Residual"


def _series(law: FittedLaw, label: str, color: int, runs: Runs) -> Series:
    x, loss = law.points.means
    predicted = law.fit.predict(x)
    spread = law.points.rows["loss_std"].to_numpy(dtype=float)
    relative = law.best.law.positive
    errors: Array = np.log(loss / predicted) if relative else loss - predicted
    points = np.column_stack([x[law.points.axes[0]], errors, spread / loss if relative else spread])
    return Series(label=label, color=color, points=points, family=label, runs=runs.of_rows(law.points.rows))
