"""Numbers as people read them: a few digits, a unit, an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from scalelab.amounts import PREFIXES, prefixed
from scalelab.analysis.estimate import Estimate

AXIS_LABELS = {
    "n_params": "Parameters N",
    "n_examples": "Training examples D",
    "train_flops": "Training compute C (FLOP)",
    "forward_flops": "Forward pass of one example (FLOP)",
    "latency_ms": "Latency (ms)",
}
_YEAR = 365.25 * 24 * 3600
AXIS_WORDS = {"n_params": "model size", "n_examples": "data size", "train_flops": "compute"}


_LEADING = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")


class Shown(str):
    """A number as text that keeps the number itself, for whoever sorts or copies what is shown.

    Attributes:
        value: The number.
        unit: What it is in; empty where the text has no unit.
        more: What else the text says, by names: the ends of an interval as `lower` and `upper`, for one.
    """

    __slots__ = ("more", "unit", "value")
    value: float
    unit: str
    more: dict[str, float]

    @classmethod
    def of(cls, text: str, value: float, *, unit: str = "", more: Mapping[str, float] | None = None) -> Shown:
        """Returns a text with its number."""
        made = cls(text)
        made.value, made.unit, made.more = float(value), unit, dict(more or {})
        return made

    @classmethod
    def between(cls, text: str, estimate: Estimate, unit: str = "") -> Shown:
        """Returns the text of an estimate with its number and the ends of its interval, where it has one."""
        if estimate.lower is None and estimate.upper is None:
            return cls.of(text, estimate.value, unit=unit)
        lower = -math.inf if estimate.lower is None else estimate.lower
        upper = math.inf if estimate.upper is None else estimate.upper
        return cls.of(text, estimate.value, unit=unit, more={"lower": lower, "upper": upper})


def value_of(text: str) -> float | None:
    """Returns the number that a text shows; `None` where it shows none.

    Example:
        >>> value_of(short(3_364_586)), value_of("+0.323 [-0.449, ∞]"), value_of("none")
        (3364586.0, 0.323, None)
    """
    if isinstance(text, Shown):
        return text.value
    found = _LEADING.match(text)
    return float(found[0].replace(",", "")) if found else None


_PREFIXED = re.compile(rf"({_LEADING.pattern}) ?([EPTGMk]?)")


def whole_number(text: str) -> float | None:
    """Returns the number that the letters of a text say, with its prefix, as the script of a page reads it.

    Example:
        >>> whole_number(short(3_364_586)), whole_number("4.00 GFLOP"), whole_number("none")
        (3360000.0, 4000000000.0, None)
    """
    found = _PREFIXED.match(text)
    size = {prefix: size for size, prefix in PREFIXES}.get(found[2], 1.0) if found else 1.0
    return float(found[1].replace(",", "")) * size if found else None


def short(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Returns a number with its thousands as a prefix; an empty string where there is none.

    Beyond the last prefix it has an exponent.

    Example:
        >>> short(3_364_586), short(480), short(1.2e9, "FLOP"), short(5.76e23, "FLOP")
        ('3.36M', '480', '1.20 GFLOP', '5.76e+23 FLOP')
    """
    if value is None or not math.isfinite(value):
        return ""
    return Shown.of(prefixed(value, unit, digits), value, unit=unit)


def formatted(value: float, form: str) -> str:
    """Returns a number as a format such as `+.2f` has it; an empty string where there is none."""
    return Shown.of(format(value, form), value) if math.isfinite(value) else ""


def plain(value: float | None, digits: int = 3) -> str:
    """Returns a number to some significant digits, without exponents where it is of ordinary size.

    Example:
        >>> plain(0.41999), plain(12.0), plain(3.4e-7), plain(None)
        ('0.420', '12.0', '3.40e-07', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    return Shown.of(_plain(value, digits), value)


def _plain(value: float, digits: int) -> str:
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
    return Shown.between(_interval(estimate, digits), estimate)


def _interval(estimate: Estimate, digits: int) -> str:
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
    ends = f"[{short(estimate.lower, unit)}, {short(estimate.upper, unit)}]"
    return Shown.between(f"{short(estimate.value, unit)} {ends}", estimate, unit)


def with_sign(estimate: Estimate) -> str:
    """Returns a difference and its interval with a sign."""
    text = interval(estimate)
    return Shown.between(text if text.startswith("-") else f"+{text}", estimate)


def times(estimate: Estimate) -> str:
    """Returns a multiplier with its interval; an end that is not finite is written `∞`."""
    if estimate.lower is not None and estimate.upper is not None and math.isfinite(estimate.value):
        return interval(estimate)
    low, high = (plain(end) if end is not None else "∞" for end in (estimate.lower, estimate.upper))
    return Shown.between(f"{plain(estimate.value) or '∞'} [{low}, {high}]", estimate)


def percent(share: float | None) -> str:
    """Returns a share in percent, `"1.3%"`; an empty string where there is none."""
    if share is None or not math.isfinite(share):
        return ""
    return Shown.of(_percent(share), share, unit="share")


def _percent(share: float) -> str:
    if 0.995 <= abs(share) < 1.0:
        return f"{100 * share:.6g}%"
    if abs(share) >= 0.995:
        return f"{100 * share:,.0f}%"
    return "<0.01%" if 0 < abs(share) < 1e-4 else f"{100 * share:.2g}%"


def greek(parameter: str) -> str:
    """Returns a parameter's name as it is written in papers."""
    return {"alpha": "α", "beta": "β", "gamma": "γ"}.get(parameter, parameter)


def duration(seconds: float) -> str:
    """Returns a time as people say it.

    Example:
        >>> duration(0.25), duration(75), duration(7260), duration(1e9)
        ('0.2 s', '1 min 15 s', '2 h 1 min', '31.7 years')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < _YEAR:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{plain(seconds / _YEAR)} years"


def span(low: float, high: float) -> str:
    """Returns a range of times as people say it.

    Example:
        >>> span(70, 130), span(0.0, 0.0)
        ('1 min 10 s to 2 min 10 s', '0.0 s')
    """
    return duration(low) if low == high else f"{duration(low)} to {duration(high)}"
