"""The answer of a comparison of two families in words, none of which outruns the runs."""

from __future__ import annotations

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fits.compared import Compared
from scalelab.analysis.inference.simulator import places

_ENOUGH = 2
"""Points a parameter below which the sentence gives no verdict: such laws pass through their points."""

_NOUNS = {
    "train_flops": ("FLOPs", "less compute", "more compute", "much"),
    "n_params": ("parameters", "fewer parameters", "more parameters", "many"),
    "n_examples": ("examples", "fewer examples", "more examples", "many"),
}
"""By axis: its unit, and the words for less of it, more of it and how much of it."""
_SURE = 0.5


def verdict(found: Compared, first: str, second: str, scale: float) -> str:
    """Returns the answer to "does the second family scale better than the first?" as text with numbers.

    Args:
        found: The comparison.
        first: The family to compare with.
        second: The family in question.
        scale: Where the multiplier is quoted.
    """
    column = found.axis
    axis, less, more, much = _NOUNS.get(column, (column, f"less {column}", f"more {column}", "much"))
    n_points = min(int(places(found.fits[name].table.columns).max()) + 1 for name in (first, second))
    few = n_points < _ENOUGH * len(found.fits[first].law.params)
    text = f"{_exponents(found, first, second, n_points if few else None, axis)}. "
    worth = found.worth(first, second, scale)
    ratio, at = found.ratio(first, second, scale), f"{scale:.3g} {axis}"
    times = _interval(worth)
    if worth.value >= 1:
        times = times if worth.value <= ratio else f"more than {_times(ratio)} times"
        text += f"It reaches the loss of {first} at {at} with {times} {less}."
    else:
        part = times if worth.value >= 1.0 / ratio else f"less than {1.0 / ratio:.2g} times"
        text += f"At {at} it needs {more} than {first}, which reaches the same loss with {part} as {much}."
    shared = "" if few else _shared(found, first, second, much)
    return f"{text}{shared} {_lower(found, first, second, axis)}"


def _exponents(found: Compared, first: str, second: str, few: int | None, axis: str) -> str:
    """Returns whether the exponents differ, and by how much; no verdict from so few points."""
    test = next(t for t in found.tests if set(t.families) == {first, second})
    gap = found.difference(first, second, found.exponents[0])
    lower, upper = gap.ends
    across, unlikely = lower <= 0 <= upper, test.p_holm < 1 - found.level
    sure = unlikely and not across
    if few is not None:
        text = f"{few} points are too few to say whether {second} scales better than {first}"
    elif sure:
        text = f"{second} scales {'better' if gap.value > 0 else 'worse'} than {first}"
    else:
        text = f"{second} does not scale measurably differently from {first}"
    p = f"p = {test.p_holm:.2g} after Holm"
    if not np.isfinite([lower, upper]).any():
        why = "" if unlikely else f" ({p})"
        return f"{text}: the runs do not bound by how much the exponents in {axis} differ{why}"
    ends = f"{found.level:.0%} interval {_end(lower)} to {_end(upper)}"
    # They differ where both say so; where one does not, that one alone is the reason.
    why = ends if across and unlikely else p if not across and not unlikely else f"{ends}; {p}"
    return f"{text}: the exponent of {second} in {axis} differs by {gap.value:+.3f} ({why})"


def _shared(found: Compared, first: str, second: str, much: str) -> str:
    """Returns what holds if the two differ in an efficiency alone, and whether that is refuted."""
    alike = found.efficiency(first, second)
    if alike is None:
        return ""
    if alike.p < 1 - found.level:
        return f" One factor for all scales is refuted (p = {alike.p:.2g})."
    needs = " and ".join(
        f"{_interval(worth)} as " + (f"many {_NOUNS[axis][0]}" if found.spent else much)
        for axis, worth in alike.worth.items()
    )
    return (
        f" If they share all but an efficiency, which is not refuted (p = {alike.p:.2g}), "
        f"{first} needs {needs} at every scale."
    )


def _lower(found: Compared, first: str, second: str, axis: str) -> str:
    """Returns which of two has the lower loss where: inside the data first, then up to the horizon."""
    low, high, horizon = found.span(first, second)
    if high <= low:
        return "They share no range of scales."
    crossings = found.crossings(first, second)
    before = {first: second, second: first}
    start = before[crossings[0].winner] if crossings else found.better(first, second, high)
    where = f"{low:.2g} to {high:.2g} {axis}, where both were run"
    inside = [one for one in crossings if one.scale.value <= high]
    if any(one.share < _SURE for one in inside):
        crossed = " and ".join(one.said for one in inside)
        return f"Which has the lower loss from {where}, the runs do not say: the laws cross at {crossed}."
    parts = [f"From {where}, {start} has the lower loss"]
    parts += [f"up to {one.said}, {one.winner} beyond it" for one in inside]
    text = ", ".join(parts)
    beyond = [
        f"{one.winner} beyond {one.said}"
        for one in crossings
        if one.scale.value > high and one.share >= _SURE
    ]
    if horizon <= high:
        return f"{text}; no backtest says what holds beyond."
    unsure = any(one.scale.value > high for one in crossings)
    further = " and ".join(beyond) or ("no change is sure" if unsure else "nothing changes")
    return f"{text}; further out, up to {horizon:.2g}, as far as the backtests reached, {further}."


def _interval(worth: Estimate) -> str:
    """Returns a multiplier with its interval."""
    lower, upper = map(_times, worth.ends)
    return f"{_times(worth.value)} ({lower} to {upper}) times"


def _times(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "∞"


def _end(value: float) -> str:
    return f"{value:+.3f}" if np.isfinite(value) else ("∞" if value > 0 else "-∞")
