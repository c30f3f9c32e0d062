"""What `scalelab predict` shows: losses at a scale, or scales that reach one, and what to trust."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from scalelab.amounts import counted
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.prediction import Forecast, Target
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.spread import Parts
from scalelab.analysis.runs.designs import Family, family_of
from scalelab.analysis.runs.selection import symbol
from scalelab.predictions import Guess, RegisteredPrediction
from scalelab.report.names import family_names, said_once
from scalelab.report.numbers import interval, percent, plain, short
from scalelab.report.parts import Table
from scalelab.report.sections.laws import backtest_cell, no_backtest, said

_WORTH_SAYING = 0.005


def forecast_table(found: Sequence[Forecast | Refusal], level: float, meant: Iterable[str] = ()) -> Table:
    """Returns the loss of one run at a scale, one row per family; of several scales one row for each.

    Args:
        found: What was found and refused.
        level: Coverage of the intervals.
        meant: What is meant by a loss, where it is not the usual.
    """
    name = family_names(map(family_of, found))
    done = [one for one in found if isinstance(one, Forecast)]
    metric = next((one.metric for one in done if one.metric), None)
    scales = list(dict.fromkeys(tuple(one.at.items()) for one in done))
    rows = (
        {
            "family": name(one.family),
            **({symbol(axis): _scale(value) for axis, value in one.at.items()} if len(scales) > 1 else {}),
            "law": one.law,
            f"loss of a run [{percent(level)}]": interval(one.loss),
            "beyond the runs": beyond_words(one.beyond, one.below),
            "backtest": backtest_cell(one.backtest),
            **({metric: interval(one.objective) if one.objective else ""} if metric else {}),
        }
        for one in done
    )

    def place(one: Forecast) -> str:
        return f"{name(one.family)} at {at_words(one.at)}" if len(scales) > 1 else name(one.family)

    notes = _notes(found, [(name(one.family), place(one), one) for one in done], name)
    for one in done:
        if None not in one.loss:
            notes.append((place(one), parts_note(one.parts)))
        else:
            words = f"the runs do not bound the loss there at {percent(level)}: the interval has no end"
            notes.append((place(one), words))
        if one.no_objective:
            notes.append((name(one.family), f"{one.metric} not predicted: {one.no_objective}"))
        if one.link_beyond:
            words = f"the loss is below all that the link from loss to {one.metric} was fitted to"
            notes.append((name(one.family), words))
    title = f"At {at_words(dict(scales[0]))}" if len(scales) == 1 else f"At {len(scales)} scales"
    numbers = slice(2, None) if len(scales) < 2 else slice(1, None)
    return Table.of(title, rows, numbers=numbers, notes=[*meant, *said_once(dict.fromkeys(notes))])


def registered_lines(made: Sequence[RegisteredPrediction]) -> Iterator[str]:
    """Yields what was registered, a line each, and where runs that answer it exist already."""
    families = [Family(one.dataset, one.architecture, one.optimizer) for one in made]
    name = family_names(families)
    for one, family in zip(made, families, strict=True):
        line = f"registered {one.id}: {name(family)} at {at_words(one.at)}, loss of a run "
        late = (
            f"; late: {counted(len(one.known), 'runs')} that may answer it began before" if one.known else ""
        )
        yield f"{line}{interval(of_guess(one.law))}{late}"


def of_guess(guess: Guess) -> Estimate:
    """Returns what a rule said, with its interval."""
    return Estimate(guess.value, guess.lower, guess.upper)


def target_table(found: Sequence[Target | Refusal], level: float, meant: Iterable[str] = ()) -> Table:
    """Returns the scale that reaches a loss, one row per family and axis; `meant` as above."""
    name = family_names(map(family_of, found))
    done = [one for one in found if isinstance(one, Target)]
    rows = (
        {
            "family": name(one.family),
            "axis": symbol(one.axes[0]),
            f"scale [{percent(level)}]": _reached(one),
            "beyond the runs": _beyond(one),
            "backtest": backtest_cell(one.backtest),
            "irreducible E": interval(one.floor) if one.floor else "",
        }
        for one in done
    )
    named = [(f"{name(one.family)} along {symbol(one.axes[0])}", one) for one in done]
    notes = _notes(found, [(who, who, one) for who, one in named], name)
    title = f"Scale at which the law reaches a loss of {plain(done[0].loss)}" if done else ""
    return Table.of(title, rows, numbers=slice(2, None), notes=[*meant, *said_once(notes)])


def _notes(
    found: Iterable[Forecast | Target | Refusal],
    named: Sequence[tuple[str, str, Forecast | Target]],
    name: Callable[[Family], str],
) -> list[tuple[str, str]]:
    """Returns the laws, the backtests and the refusals behind a table.

    Args:
        found: What was found and refused.
        named: Names of the law and of the row, and what was found.
        name: The name of a family.
    """
    common = {
        who: set.intersection(*(set(one.warnings) for other, _, one in named if other == who))
        for who, _, _ in named
    }
    return [
        *((who, f"{said(one.law, one.equation)}, {one.points.selection}") for who, _, one in named),
        *((who, backtest_note(one.backtest)) for who, _, one in named),
        *(
            (who if words in common[who] else row, f"warning: {words}")
            for who, row, one in named
            for words in one.warnings
        ),
        *((name(family_of(one)), f"refused: {one.reason}") for one in found if isinstance(one, Refusal)),
    ]


def backtest_note(backtest: Backtest) -> str:
    """Returns what a backtest is, or why there is none."""
    if not backtest.errors:
        return f"no backtest: {no_backtest(backtest)}"
    return (
        f"backtest is the RMS {'log error' if backtest.relative else 'error'} of the same law at up to "
        f"{plain(max(backtest.reach))} times the scale it was fitted to"
    )


def _beyond(one: Target) -> str:
    if one.beyond is None:
        return ""
    (axis,) = one.axes
    return beyond_words({axis: one.beyond}, {axis: one.points.below(axis, one.scale.value)})


def parts_note(parts: Parts) -> str:
    """Returns what an interval is made of."""
    shares = {
        "the noise of runs": parts.noise,
        "forms that disagree": parts.disagreement,
        "how far it reaches beyond the runs": parts.reach,
    }
    words = ", ".join(f"{percent(share)} {name}" for name, share in shares.items() if share >= _WORTH_SAYING)
    return f"what makes the interval wide (shares of its squared width): {words}"


def beyond_words(beyond: Mapping[str, float], below: Mapping[str, float] = MappingProxyType({})) -> str:
    """Returns how far a scale lies beyond the runs, or below them, in times and decades."""

    def words(axis: str, times: float) -> str:
        under = below.get(axis, 0.0)
        if max(times, under) <= 1.0:
            return f"{symbol(axis)} within"
        far, side = (times, "") if times > 1.0 else (under, " below")
        return f"{plain(far)}×{side} {symbol(axis)} ({math.log10(far):.1f} decades)"

    return ", ".join(words(axis, times) for axis, times in beyond.items())


def at_words(at: Mapping[str, float]) -> str:
    """Returns a scale in words: `N = 1,000,000`."""
    return ", ".join(f"{symbol(axis)} = {_scale(value)}" for axis, value in at.items())


def _scale(value: float) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e9 and value == round(value) else f"{value:.3g}"


def _reached(one: Target) -> str:
    unit = "FLOP" if one.axes == ("train_flops",) else ""
    smallest = short(float(one.points.rows[one.axes[0]].min()), unit)
    ends = zip(one.scale, ("never", f"below {smallest}", "never"), strict=True)
    center, lower, upper = (short(number, unit) or words for number, words in ends)
    return f"{center} [{lower}, {upper}]"
