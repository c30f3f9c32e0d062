"""Scaling laws of the loss: sentences, the table of laws, their parameters, and the law beside its points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.fitted import AHEAD, AUTO, FittedLaw, curve_scales, determined
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.runs.designs import family_of, split
from scalelab.analysis.runs.selection import AXES, JOINT, symbol
from scalelab.report.names import family_names, known, law_symbol, led, said_once, whose
from scalelab.report.numbers import (
    AXIS_LABELS,
    AXIS_WORDS,
    Shown,
    formatted,
    greek,
    interval,
    percent,
    plain,
    short,
)
from scalelab.report.outcomes import WORDS, axis_label, meaning
from scalelab.report.parts import MAX_PANELS, Figure, Line, Panel, Series, Table, array
from scalelab.report.runs import FAMILY, Run, Runs, runs_of
from scalelab.report.sections.residuals import misfit_table, residual_figure
from scalelab.report.sections.topic import Topic, figure

_UNDETERMINED = "undetermined"
_OF_ONE_FORM = (
    "auto: exponents and E are those of the form named, fitted alone; the loss ahead is the average of all "
    "forms with weak priors, and may lie below that E"
)
_FURTHER = (
    f"loss at {AHEAD:.0f}×: of the law, the mean of runs, at that many times the largest of its own points, "
    "which may lie below the largest run; a single run scatters about it, so that the interval of one, which "
    "Answer and scalelab predict have, is wider"
)
_BACKTEST = (
    "backtest: RMS log error of the same law where it predicted the held-out larger points from the smaller "
    "ones"
)


def backtest_cell(backtest: Backtest) -> str:
    """Returns a backtest's error, in percent of a loss that is positive, or that there is none."""
    if not backtest.errors:
        return "none"
    return percent(backtest.rmse) if backtest.relative else plain(backtest.rmse)


def no_backtest(backtest: Backtest) -> str:
    """Returns why there is no backtest; an empty string where there is one."""
    if backtest.errors:
        return ""
    reason = f" ({backtest.refused[0].partition(';')[0]})" if backtest.refused else ""
    return f"too few points to hold out the larger ones{reason}"


def said(law: str, equation: str) -> str:
    """Returns a law's name and its equation; a formula is both."""
    return equation if law in equation else f"{law}, {equation}"


def _missing(analysis: Analysis) -> str:
    return "" if analysis.laws else "no law was requested"


def _lines(analysis: Analysis) -> Iterator[str]:
    # Exponents along one axis are the answer; only where there are none do whole laws stand for it.
    found = list(_falls(analysis)) or list(map(_followed, analysis.fitted))
    if found:
        yield from (f"{words[0].upper()}{words[1:]}." for words in meaning(analysis.on, analysis.charge))
    yield from found


def _followed(law: FittedLaw) -> str:
    along = " and ".join(AXIS_WORDS.get(axis, axis) for axis in law.points.axes)
    how = f"{law.equation}, {_error(law)} off ({law.points.selection})"
    optimizer = led(" with ", law.family.optimizer)
    return f"With {along}, the loss{whose(law.family)}{optimizer} follows {how}."


def _error(law: FittedLaw) -> str:
    return percent(law.rms_log_error) if law.best.law.positive else plain(law.rms_log_error)


def _falls(analysis: Analysis) -> Iterator[str]:
    def task(law: FittedLaw) -> tuple[str, str, str]:
        return law.axis, law.family.dataset, law.family.architecture

    order = _axes(analysis.fitted)
    laws = sorted(
        (law for law in analysis.fitted if law.axis != JOINT),
        key=lambda law: (order.index(law.axis), task(law)),
    )
    for (axis, _, _), group in groupby(laws, key=task):
        of_optimizers = list(group)
        # Exponents of an average are those of its heaviest form, which may be another one in each family.
        if any(len(law.exponents) != 1 or law.law == AUTO for law in of_optimizers):
            continue
        unknown = [law for law in of_optimizers if not known_exponent(law, law.exponents[0])]
        of_optimizers = [law for law in of_optimizers if law not in unknown]
        what = AXIS_WORDS.get(axis, axis)
        if unknown:
            optimizers = " and ".join(filter(known, (law.family.optimizer for law in unknown)))
            of = whose(unknown[0].family)
            yield f"With {what}, the runs{of}{led(' with ', optimizers)} determine no exponent."
        if not of_optimizers:
            continue
        chosen = {law.points.where for law in of_optimizers}
        where = f" ({place})" if len(chosen) == 1 and (place := chosen.pop()) else ""
        powers = "; ".join(_power(axis, law) for law in of_optimizers)
        yield f"With {what}{where}, the loss{whose(of_optimizers[0].family)} falls as {powers}."


def _axes(laws: Iterable[FittedLaw]) -> list[str]:
    """Returns the axes of laws of one axis, the usual ones first."""
    there = dict.fromkeys(law.axis for law in laws if law.axis != JOINT)
    return [*(axis for axis in AXES if axis in there), *(axis for axis in there if axis not in AXES)]


def _power(axis: str, law: FittedLaw) -> str:
    exponent = law.params[law.exponents[0]]
    floor = law.irreducible
    # A floor at its bound is nothing that the runs say.
    stopped = law.best.law.irreducible in law.best.at_bounds
    towards = f" toward {interval(floor)}" if floor and not stopped else ""
    doubt = ", weakly determined" if weakly_determined(exponent) else ""
    bounds = interval(exponent).partition(" ")[2] or "(the points have no scatter)"
    optimizer = led(" with ", law.family.optimizer)
    return f"{symbol(axis)}^-{plain(exponent.value)} {bounds}{towards}{optimizer}{doubt}"


def known_exponent(law: FittedLaw, name: str) -> bool:
    """Whether the runs determine an exponent of a law."""
    return determined(law.best, name, law.params[name])


def weakly_determined(estimate: Estimate) -> bool:
    """Whether there is an interval, and it is wider than the estimate itself or has no end."""
    lower, upper = estimate.ends
    there = estimate.lower is not None or estimate.upper is not None
    return there and upper - lower > abs(estimate.value)


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    name = family_names(map(family_of, analysis.laws))
    level = percent(analysis.level)
    rows = [row for law in analysis.fitted for row in _rows(law, name(law.family), level)]
    forms = [
        (law.family, f"{law_symbol(law)}: {said(law.law, law.equation)}, {law.points.selection}")
        for law in analysis.fitted
    ]
    forms += [(family_of(law), f"{law_symbol(law)} refused: {law.reason}") for law in analysis.refused]
    notes = said_once((name(family), words) for family, words in forms)
    untested = [(law_symbol(law), no_backtest(law.backtest)) for law in analysis.fitted]
    notes += [_OF_ONE_FORM] if any(law.law == AUTO for law in analysis.fitted) else []
    notes += [_FURTHER] if any(map(_known_ahead, analysis.fitted)) else []
    notes += [_BACKTEST] if rows else []
    notes += [f"no backtest: {words}" for words in said_once(one for one in untested if one[1])]
    optional = ("R²", "decades", "points")
    yield Table.of(
        f"Scaling laws of the {WORDS[analysis.on]}loss",
        rows,
        numbers=slice(5, 10),
        notes=notes,
        optional=optional,
    )
    doubts = [
        (f"{law_symbol(law)} {name(law.family)}", words) for law in analysis.fitted for words in _doubts(law)
    ]
    if doubts:
        yield Table("What to distrust in these laws", notes=tuple(said_once(doubts)))
    if whole and rows:
        yield misfit_table(analysis.fitted, name)
        parameters = (
            {"family": name(law.family), "law": law.equation, "parameter": parameter, **_six_digits(one)}
            for law in analysis.fitted
            for parameter, one in law.params.items()
        )
        yield Table.of("All parameters of all laws", parameters, numbers=slice(3, None), folded=True)


def _six_digits(one: Estimate) -> dict[str, str]:
    values = zip(("estimate", "lower", "upper"), one, strict=True)
    return {head: "" if value is None else formatted(value, ".6g") for head, value in values}


def _known_ahead(law: FittedLaw) -> bool:
    """Whether the runs determine the exponents that the loss far ahead rests on."""
    return law.law == AUTO or all(known_exponent(law, name) for name in law.exponents)


def _ahead(law: FittedLaw) -> str:
    """Returns the loss far ahead, which only a law whose exponents the runs determine has."""
    if not _known_ahead(law):
        return _UNDETERMINED
    axes = " and ".join(symbol(axis) for axis in law.points.axes)
    scales = " and ".join(
        short(scale, "FLOP" if axis.endswith("_flops") else "") for axis, scale in law.far.items()
    )
    return Shown.of(f"{interval(law.ahead)} at {scales}, {AHEAD:.0f}× {axes}", law.ahead.value)


def _doubts(law: FittedLaw) -> Iterator[str]:
    """Yields what to distrust in a law; of the loss far ahead only where that is said."""
    unsaid = () if _known_ahead(law) else law.doubts_ahead
    yield from (words for words in law.doubts if words not in unsaid)


def _rows(law: FittedLaw, name: str, level: str) -> Iterator[dict[str, str]]:
    """Yields a law's row, and one more for each further exponent."""
    first, *others = [f"{greek(one)} {interval(law.params[one])}" for one in law.exponents] or [""]
    row = {
        "family": name,
        "law": law_symbol(law),
        f"exponent [{level}]": first,
        "irreducible E": interval(law.irreducible) if law.irreducible else "",
        f"loss at {AHEAD:.0f}×": _ahead(law),
        "backtest": backtest_cell(law.backtest),
        "points": str(len(law.points.rows)),
        "decades": " × ".join(f"{span:.1f}" for span in law.points.decades.values()),
        "log RMS": _error(law),
        "R²": formatted(law.r2, ".3f"),
    }
    yield row
    for exponent in others:
        yield dict.fromkeys(row, "") | {f"exponent [{level}]": exponent}


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the loss against every axis that has a law, a panel each, and against the grid of sizes."""
    name = family_names(map(family_of, analysis.laws))
    own = [law for law in analysis.fitted if law.family.dataset == dataset]
    label = axis_label("loss", analysis.on)
    labels = sorted({name(family_of(law)) for law in analysis.laws})
    panels = []
    for axis in _axes(own)[:MAX_PANELS]:
        laws = [law for law in own if law.axis == axis]
        series = tuple(
            _law_series(law, name(law.family), labels.index(name(law.family)), analysis) for law in laws
        )
        places = {law.points.where for law in laws}
        title = law_symbol(laws[0]) + (f" {places.pop()}" if len(places) == 1 else "")
        log_y = all(law.best.law.positive for law in laws)
        panels.append(Panel(title.strip(), axis, label, series, log_y=log_y))
    if panels:
        yield figure("laws", suffix, panels, dataset=dataset, level=percent(analysis.level))
    yield from residual_figure(
        analysis,
        [law for axis in _axes(own) for law in own if law.axis == axis],
        lambda law: (name(law.family), labels.index(name(law.family))),
        dataset,
        suffix,
    )
    joint = [law for law in own if law.axis == JOINT and len(law.points.axes) == 2][:MAX_PANELS]
    if joint:
        panels = [
            Panel(
                name(law.family), law.points.axes[0], label, tuple(_grid_series(law, runs_of(analysis))),
                log_y=law.best.law.positive,
            )
            for law in joint
        ]  # fmt: skip
        first, second = joint[0].points.axes
        yield figure(
            "grid", suffix, panels, dataset=dataset, law=said(joint[0].law, joint[0].equation),
            first=AXIS_WORDS.get(first, first), second=AXIS_WORDS.get(second, second),
            level=AXIS_LABELS.get(second, second),
        )  # fmt: skip


def _law_series(law: FittedLaw, label: str, color: int, analysis: Analysis) -> Series:
    (axis,) = law.points.axes
    rows, curve = law.points.rows, law.curve
    assert curve is not None
    exponents = ", ".join(
        f"{greek(name)} = {plain(law.params[name].value, 2)}"
        if known_exponent(law, name)
        else f"{greek(name)} undetermined"
        for name in law.exponents
    )
    return Series(
        label=f"{label}: {exponents}" if exponents else label,
        color=color,
        points=array(rows, axis, "loss", "loss_std"),
        line=Line(array(curve, axis, "mean", "lower", "upper"), data_end=float(rows[axis].max())),
        family=label,
        runs=runs_of(analysis).of_rows(rows),
        **(_others(law, analysis) if axis == "train_flops" else {}),
    )


def _others(law: FittedLaw, analysis: Analysis) -> dict[str, Any]:
    """Returns training FLOPs and loss of the family's runs, and which these are."""
    table = runs_of(analysis).table
    own = table[(table[FAMILY] == list(law.family)).all(axis=1)].dropna(subset=["train_flops"])
    return {"others": array(own, "train_flops", "loss"), "other_runs": tuple(map(Run, own["key"]))}


def _grid_series(law: FittedLaw, runs: Runs) -> Iterator[Series]:
    rows = law.points.rows
    first, second = law.points.axes
    scales = curve_scales(rows[first].to_numpy(dtype=float))
    for (level,), cells in split(rows, [second]):
        at = {first: scales, second: np.full(scales.size, float(level))}
        values = np.column_stack([scales, law.fit.predict(at)])
        yield Series(
            label=f"{level:,.0f}" if level == round(level) else f"{level:.3g}",
            points=array(cells, first, "loss", "loss_std"),
            line=Line(values, data_end=float(rows[first].max())),
            level=float(level),
            runs=runs.of_rows(cells),
        )


TOPIC = Topic("laws", "Scaling laws of the loss", _missing, _lines, _tables, _figures)
