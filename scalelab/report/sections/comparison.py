"""Families side by side: exponents, what one is worth in the other's compute, and where the laws cross."""

from __future__ import annotations

from collections.abc import Sequence

from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.pairs import Group, Pair
from scalelab.analysis.runs.selection import SYMBOLS
from scalelab.report.numbers import greek, interval, percent, plain, short
from scalelab.report.terminal import Table

_FEW = 8


def comparison_tables(groups: Sequence[Group | Refusal], level: float) -> list[Table]:
    """Returns a table a group of families, a row a pair."""
    return [_table(group, level) for group in groups]


def _title(varies: str, axis: str, held: str, dataset: str, **_: object) -> str:
    return f"Comparison of {varies}s along {SYMBOLS[axis]}: {held} on {dataset}"


def _table(group: Group | Refusal, level: float) -> Table:
    if isinstance(group, Refusal):
        return Table(_title(**group.subject), (), (), notes=(f"refused: {group.reason}",))
    symbol = SYMBOLS[group.axis]
    title = _title(group.varies, group.axis, group.held, group.dataset)
    scale = group.pairs[0].scale
    unit = "FLOP" if group.axis.endswith("flops") else ""
    worth = f"worth at {symbol} = {short(scale, unit)}"
    columns = (
        "pair", "exponents", f"difference [{percent(level)}]", "p (LR)", "p (bootstrap, Holm)", worth,
        "lower loss beyond",
    )  # fmt: skip
    rows = tuple(
        (
            f"{pair.second} / {pair.first}",
            f"{greek(pair.exponent)} {plain(pair.values[1])} / {plain(pair.values[0])}",
            signed(pair.difference),
            f"{pair.test.p_lr:.2g}",
            f"{pair.test.p_holm:.2g}",
            f"{times(pair.multiplier)}×",
            _crossing(pair, unit),
        )
        for pair in group.pairs
    )
    notes = [
        f"difference: exponent of the first named minus the other's; worth: how many times the {symbol} the "
        f"other needs for the same loss; p: that both share an exponent, after Holm for {len(group.pairs)} "
        + ("pairs" if len(group.pairs) > 1 else "pair")
    ]
    if group.n_points < _FEW:
        notes.append(
            f"laws of {group.n_points} points: intervals of worth and crossing are percentiles of refits, "
            "too narrow with so few points"
        )
    optional = ("p (LR)", "exponents", "lower loss beyond")
    return Table(title, columns, rows, frozenset(columns[2:6]), tuple(notes), optional)


def signed(estimate: Estimate) -> str:
    """Returns a difference with its sign."""
    text = interval(estimate)
    return text if text.startswith("-") else f"+{text}"


def times(estimate: Estimate) -> str:
    """Returns a multiplier with its interval; an end that is not finite is written `∞`."""
    if estimate.lower is not None and estimate.upper is not None and estimate.value < float("inf"):
        return interval(estimate)
    lower, upper = (plain(end) if end is not None else "∞" for end in (estimate.lower, estimate.upper))
    return f"{plain(estimate.value) or '∞'} [{lower}, {upper}]"


def _crossing(pair: Pair, unit: str) -> str:
    if pair.winner is None or pair.crossing is None:
        return "no crossing"
    crossing = pair.crossing
    ends = (
        f" [{short(crossing.lower, unit)}, {short(crossing.upper, unit)}]"
        if crossing.lower is not None and crossing.upper is not None
        else ""
    )
    return f"{pair.winner}: {short(crossing.value, unit)}{ends}"
