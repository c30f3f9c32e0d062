"""What `scalelab predict` shows: losses at a scale, or scales that reach one, and what to trust."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.prediction import Forecast, Target
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.selection import SYMBOLS
from scalelab.report.names import family_names, family_of
from scalelab.report.numbers import interval, percent, plain, short
from scalelab.report.terminal import Table


def forecast_table(found: Sequence[Forecast | Refusal], level: float) -> Table:
    """Returns the loss of one run at a scale, a row a family."""
    name = family_names(family_of(one) for one in found)
    done = [one for one in found if isinstance(one, Forecast)]
    metric = next((one.metric for one in done if one.metric), None)
    columns: tuple[str, ...] = (
        "family", "law", f"loss of a run [{percent(level)}]", "beyond the runs", "backtest",
    )  # fmt: skip
    rows = tuple(
        (
            name(one.family),
            one.law,
            interval(one.loss),
            beyond_words(one.beyond),
            backtest_cell(one.backtest),
            *((interval(one.objective) if one.objective else "",) if metric else ()),
        )
        for one in done
    )
    columns += (metric,) if metric else ()
    notes = [f"{name(one.family)}: {one.law}, {one.equation}, {one.points.selection}" for one in done]
    notes += _backtest_notes((name(one.family), one.backtest) for one in done)
    notes += [
        f"{name(one.family)}: {one.metric} not predicted: {one.no_objective}"
        for one in done
        if one.no_objective
    ]
    notes += [
        f"{name(one.family)}: the loss is below all that the link from loss to {one.metric} was fitted to"
        for one in done
        if one.link_beyond
    ]
    scale = (
        ", ".join(f"{SYMBOLS[axis]} = {_scale(value)}" for axis, value in done[0].at.items()) if done else ""
    )
    numeric = frozenset(columns[2:])
    return Table(f"At {scale}", columns, rows, numeric, (*together(notes), *refusals(found, name)))


def target_table(found: Sequence[Target | Refusal], level: float) -> Table:
    """Returns the scale that reaches a loss, a row a family and axis."""
    name = family_names(family_of(one) for one in found)
    done = [one for one in found if isinstance(one, Target)]
    columns = ("family", "axis", f"scale [{percent(level)}]", "beyond the runs", "backtest", "floor")
    rows = tuple(
        (
            name(one.family),
            SYMBOLS[one.axes[0]],
            _reached(one),
            beyond_words({one.axes[0]: one.beyond}) if one.beyond is not None else "",
            backtest_cell(one.backtest),
            plain(one.floor),
        )
        for one in done
    )
    notes = [
        f"{name(one.family)}, {SYMBOLS[one.axes[0]]}: {one.law}, {one.equation}, {one.points.selection}"
        for one in done
    ]
    notes += _backtest_notes((f"{name(one.family)}, {SYMBOLS[one.axes[0]]}", one.backtest) for one in done)
    title = f"Scale at which the law reaches a loss of {plain(done[0].loss)}" if done else ""
    numeric = frozenset(columns[2:])
    return Table(title, columns, rows, numeric, (*together(notes), *refusals(found, name)))


def backtest_cell(backtest: Backtest) -> str:
    """Returns a backtest's error in percent, or that there is none."""
    return percent(backtest.rmse) if backtest.errors else "none"


def no_backtest(backtest: Backtest) -> str:
    """Returns why there is no backtest; an empty string where there is one."""
    if backtest.errors:
        return ""
    reason = f" ({backtest.refused[0].partition(';')[0]})" if backtest.refused else ""
    return f"too few points to hold the larger ones back{reason}"


def beyond_words(beyond: Mapping[str, float]) -> str:
    """Returns how far a scale lies beyond the runs, in times and decades."""
    words = [
        f"{plain(times)}× {SYMBOLS[axis]} ({math.log10(times):.1f} decades)"
        if times > 1.0
        else f"{SYMBOLS[axis]} within"
        for axis, times in beyond.items()
    ]
    return ", ".join(words)


def _scale(value: float) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e9 and value == round(value) else f"{value:.3g}"


def _reached(one: Target) -> str:
    unit = "FLOP" if one.axes == ("train_flops",) else ""
    scale = one.scale
    lower = short(scale.lower, unit) if scale.lower is not None else "?"
    upper = short(scale.upper, unit) if scale.upper is not None else "never"
    center = short(scale.value, unit) if math.isfinite(scale.value) else "never"
    return f"{center} [{lower}, {upper}]"


def _backtest_notes(named: Iterable[tuple[str, Backtest]]) -> list[str]:
    notes = []
    for name, backtest in named:
        if backtest.errors:
            times = f"up to {plain(max(backtest.reach))} times the scale it had seen"
            notes.append(f"{name}: backtest is the RMS log error of the same law, asked for {times}")
        else:
            notes.append(f"{name}: no backtest: {no_backtest(backtest)}")
    return notes


def together(notes: Sequence[str]) -> list[str]:
    """Says once what several families share: `words (a, b)`."""
    said: dict[str, list[str]] = {}
    for note in notes:
        who, _, words = note.partition(": ")
        said.setdefault(words, []).append(who)
    return [f"{words} ({'; '.join(who)})" for words, who in said.items()]


def refusals(results: Iterable[object], name: Callable[[Family], str]) -> list[str]:
    """Returns the refusals among some results in words, what several families share said once."""
    refused = [one for one in results if isinstance(one, Refusal)]
    return together([f"{name(one.subject['family'])}: refused: {one.reason}" for one in refused])
