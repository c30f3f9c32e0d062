"""Numbers as people read them: a few digits, a unit, an interval."""

from __future__ import annotations

import math

from scalelab.analysis.estimate import Estimate

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
AXIS_LABELS = {
    "n_params": "Parameters N",
    "n_examples": "Training examples D",
    "train_flops": "Training compute C (FLOP)",
    "forward_flops": "Forward pass of one example (FLOP)",
    "latency_ms": "Latency (ms)",
}
AXIS_WORDS = {"n_params": "model size", "n_examples": "data size", "train_flops": "compute"}


def short(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Returns a number with its thousands as a prefix; an empty string where there is none.

    Beyond the last prefix it has an exponent.

    Example:
        >>> short(3_364_586), short(480), short(1.2e9, "FLOP"), short(5.76e23, "FLOP")
        ('3.36M', '480', '1.20 GFLOP', '5.76e+23 FLOP')
    """
    if value is None or not math.isfinite(value):
        return ""
    space = " " if unit else ""
    if abs(value) >= 1000 * _PREFIXES[0][0]:
        return f"{value:.{digits - 1}e}{space}{unit}"
    for size, prefix in _PREFIXES:
        if abs(value) >= size * (1 - 0.5 * 10.0**-digits):
            scaled = value / size
            places = max(0, digits - 1 - max(0, math.floor(math.log10(abs(scaled)) + 1e-9)))
            return f"{scaled:.{places}f}{space}{prefix}{unit}"
    return f"{value:.{digits}g}{space}{unit}"


def plain(value: float | None, digits: int = 3) -> str:
    """Returns a number to some significant digits, without exponents where it is of ordinary size.

    Example:
        >>> plain(0.41999), plain(12.0), plain(3.4e-7), plain(None)
        ('0.420', '12.0', '3.40e-07', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        return f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return f"{value:.{digits - 1}e}"


def interval(estimate: Estimate, digits: int = 3) -> str:
    """Returns an estimate with its interval in brackets, all to the same decimal place.

    An interval without a lower or an upper end has an infinite one there.

    Example:
        >>> interval(Estimate(0.4213, 0.38, 0.4671)), interval(Estimate(2.0, None, None))
        ('0.421 [0.380, 0.467]', '2.00')
        >>> interval(Estimate(0.545, 0.2142, None))
        '0.545 [0.214, ∞]'
    """
    if estimate.lower is None and estimate.upper is None:
        return plain(estimate.value, digits)
    if estimate.lower is None or estimate.upper is None:
        ends = (plain(end, digits) or words for end, words in zip(estimate[1:], ("-∞", "∞"), strict=True))
        return f"{plain(estimate.value, digits)} [{', '.join(ends)}]"
    largest = max(abs(estimate.value), abs(estimate.lower), abs(estimate.upper))
    if largest == 0 or not 1e-4 <= largest < 1e6:
        center, lower, upper = (plain(number, digits) for number in estimate)
        return f"{center} [{lower}, {upper}]"
    # Where the interval is wide, digits far below its ends would say nothing.
    size = max(abs(estimate.value), 0.5 * largest)
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{estimate.value:.{places}f} [{estimate.lower:.{places}f}, {estimate.upper:.{places}f}]"


def short_interval(estimate: Estimate, unit: str = "") -> str:
    """Returns a large number with its interval, thousands as prefixes."""
    if estimate.lower is None or estimate.upper is None:
        return short(estimate.value, unit)
    return f"{short(estimate.value, unit)} [{short(estimate.lower, unit)}, {short(estimate.upper, unit)}]"


def with_sign(estimate: Estimate) -> str:
    """Returns a difference and its interval with a sign."""
    text = interval(estimate)
    return text if text.startswith("-") else f"+{text}"


def times(estimate: Estimate) -> str:
    """Returns a multiplier with its interval; an end that is not finite is written `∞`."""
    if estimate.lower is not None and estimate.upper is not None and math.isfinite(estimate.value):
        return interval(estimate)
    low, high = (plain(end) if end is not None else "∞" for end in (estimate.lower, estimate.upper))
    return f"{plain(estimate.value) or '∞'} [{low}, {high}]"


def percent(share: float | None) -> str:
    """Returns a share in percent, `"1.3%"`; an empty string where there is none."""
    if share is None or not math.isfinite(share):
        return ""
    if 0.995 <= abs(share) < 1.0:
        return f"{100 * share:.6g}%"
    if abs(share) >= 0.995:
        return f"{100 * share:,.0f}%"
    return "<0.01%" if 0 < abs(share) < 1e-4 else f"{100 * share:.2g}%"


def greek(parameter: str) -> str:
    """Returns a parameter's name as it is written in papers."""
    return {"alpha": "α", "beta": "β", "gamma": "γ"}.get(parameter, parameter)
