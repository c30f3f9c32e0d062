"""Families side by side: exponents, how much compute one saves against another, where their laws cross."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scalelab.amounts import counted
from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.pairs import Group, Pair
from scalelab.analysis.runs.selection import symbol
from scalelab.report.names import grouped, known, led
from scalelab.report.numbers import formatted, greek, percent, plain, short, short_interval, times, with_sign
from scalelab.report.parts import MAX_PANELS, Figure, Line, Panel, Series, Table
from scalelab.report.sections.topic import Topic, figure

_FEW = 8
_NAMED_PAIRS = 6


def _missing(analysis: Analysis) -> str:
    if analysis.comparisons:
        return ""
    return "no two families of a dataset have a law along the same single axis"


def _compared(analysis: Analysis) -> list[Group]:
    return [group for group in analysis.comparisons if isinstance(group, Group)]


def _lines(analysis: Analysis) -> Iterator[str]:
    pairs = [(group, pair) for group in _compared(analysis) for pair in group.pairs]
    for group, pair in pairs[:_NAMED_PAIRS]:
        yield f"On {group.dataset}{led(', ', group.held)}: {pair.sentence}"
    yield from dict.fromkeys(words for group in _compared(analysis) for words in group.warnings)
    if len(pairs) > _NAMED_PAIRS:
        yield f"{len(pairs) - _NAMED_PAIRS} more pairs of families are in the tables."


def _title(varies: str, axis: str, held: str, dataset: str, **_: object) -> str:
    return f"Comparison of {varies}s along {symbol(axis)}:{led(' ', held)} on {dataset}"


def _tables(analysis: Analysis, _whole: bool) -> Iterator[Table]:
    for group in analysis.comparisons:
        if isinstance(group, Refusal):
            yield Table(_title(**group.subject), notes=(f"refused: {group.reason}",))
            continue
        title = _title(group.varies, group.axis, group.held, group.dataset)
        what = "compute" if group.axis == "train_flops" else symbol(group.axis)
        notes = [
            "difference: exponent of the first family minus the other's; multiplier: how many times the "
            f"{what} the other needs for the loss of the worse of both; p: that both share an exponent, "
            f"after Holm for {counted(len(group.pairs), 'pairs')}; they differ where p (bootstrap, Holm) is "
            f"below {percent(1 - analysis.level)} and the interval of the difference leaves out zero"
        ]
        if group.n_points < _FEW:
            notes.append(
                f"laws of {group.n_points} points: intervals of multipliers and crossings are percentiles of "
                "refits, too narrow with so few points"
            )
        if any(pair.efficiency for pair in group.pairs):
            notes.append(
                "one factor: how many times as much the other needs at every scale, if both share all but "
                "that; p: that they do (Volkova et al. 2026)"
            )
        notes += group.warnings
        optional = ("p (LR)", "exponents", "one factor", "lower loss beyond")
        rows = (_row(pair, group, percent(analysis.level)) for pair in group.pairs)
        yield Table.of(title, rows, numbers=slice(2, 6), notes=notes, optional=optional)


def _row(pair: Pair, group: Group, level: str) -> dict[str, str]:
    unit = "FLOP" if group.axis.endswith("flops") else ""
    kind = "compute multiplier" if group.axis == "train_flops" else "multiplier"
    crossings = (f"{one.winner}: {short_interval(one.scale, unit)}" for one in pair.crossings)
    scale = f"{symbol(group.axis)} = {short(group.pairs[0].scale, unit)}"
    return {
        "pair": f"{pair.second} / {pair.first}",
        "exponents": f"{greek(pair.exponent)} {plain(pair.values[1])} / {plain(pair.values[0])}",
        f"difference [{level}]": with_sign(pair.difference),
        "p (LR)": formatted(pair.test.p_lr, ".2g"),
        "p (bootstrap, Holm)": formatted(pair.test.p_holm, ".2g"),
        f"{kind} at {scale}": _multiplier(pair),
        "one factor": _factor(pair),
        "lower loss beyond": "; ".join(crossings) or f"none up to {short(pair.horizon, unit)}",
    }


def _multiplier(pair: Pair) -> str:
    """Returns the multiplier, or that it is beyond what any of both was run at."""
    if pair.multiplier.value > pair.ratio:
        return f"> {plain(pair.ratio)}×"
    if pair.multiplier.value < 1.0 / pair.ratio:
        return f"< {plain(1.0 / pair.ratio)}×"
    return f"{times(pair.multiplier)}×"


def _factor(pair: Pair) -> str:
    if pair.efficiency is None:
        return ""
    found = pair.efficiency.worth
    own = ", ".join(
        f"{times(worth)}× {symbol(axis) if len(found) > 1 else ''}".strip() for axis, worth in found.items()
    )
    return f"{own} (p {pair.efficiency.p:.2g})"


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the multiplier along the scale, one panel per group, one figure per axis."""
    groups = [group for group in _compared(analysis) if group.dataset == dataset]
    for number, (axis, own) in enumerate(grouped(groups, lambda group: group.axis).items()):
        label = "Compute multiplier" if axis == "train_flops" else f"Multiplier of {symbol(axis)}"
        panels = (
            Panel(known(group.held), axis, label, tuple(_series(group)), reference=1.0)
            for group in own[:MAX_PANELS]
        )
        end = suffix + (f"-{axis}" if number else "")
        yield figure("multipliers", end, panels, dataset=dataset, level=percent(analysis.level))


def _series(group: Group) -> Iterator[Series]:
    for index, pair in enumerate(group.pairs):
        values = np.where(np.isfinite(pair.curve), pair.curve, np.nan)
        yield Series(label=f"{pair.second} / {pair.first}", color=index, line=Line(values))


TOPIC = Topic("comparison", "Comparison", _missing, _lines, _tables, _figures)
