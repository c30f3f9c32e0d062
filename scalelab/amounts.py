"""Amounts as people write them: `10M` parameters, `1.2T` tokens, `1e21` FLOPs, `7.68 EFLOP`, `1 run`."""

from __future__ import annotations

import math
import re
from decimal import ROUND_DOWN, Context

from scalelab.errors import InputError, brief

_POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12, "P": 15, "E": 18}
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LAST_BITS = 1e-9
_ONE = {"are": "is", "were": "was", "have": "has", "wait": "waits", "stay": "stays", "record": "records"}
_FORM = re.compile(
    r"(?P<digits>[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)"
    r"(?:(?P<suffix>[kKMBGTPE])|(?P<exponent>[eE][+-]?[0-9]{1,3}))?"
    r"(?P<unit> ?(?P<of_unit>[kKMBGTPE])?FLOPs?)?"
)


def amount(value: float | str, what: str) -> float:
    """Returns an amount as a number.

    Args:
        value: A number, or its text: digits with or without a decimal point, and after them an exponent such
            as `e9` or one of `k`, `M`, `B` (or `G`), `T`, `P` and `E`, thousands to millions of millions of
            millions. A small `m` would be a thousandth as well as a million, and is neither. Of FLOPs the
            unit may follow, as answers print it: `2.42 TFLOP`.
        what: What it is an amount of, for messages; FLOPs where it says `budget` or `flops`.

    Raises:
        InputError: It is not an amount, not finite, or not above zero.
    """
    number = value
    if isinstance(value, str):
        of_flops = what.endswith(("budget", "flops"))
        found = _FORM.fullmatch(value.strip())
        if found is None or (found["unit"] and not of_flops) or (found["of_unit"] and _scaled(found)):
            also = ", 2.42 TFLOP" if of_flops else ""
            raise InputError(
                f"{what} {brief(value)}: must be a positive number such as 300k, 10M, 5B, 1.2T{also} or 1e9"
            )
        suffix = found["suffix"] or found["of_unit"] or ""
        # As an exponent, so that 5.1B is the number nearest to 5.1e9 and not a product that was rounded.
        number = float(found["digits"] + (found["exponent"] or f"e{_POWERS[suffix]}"))
    number = float(number)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{what} {brief(str(value))}: must be a positive number such as 10M or 1e9")
    return number


def rounded_down(value: float, digits: int = 3) -> float:
    """Returns the largest number of so many significant digits that is not above a positive one.

    Example:
        >>> rounded_down(2.8953e12), rounded_down(2.89e12)
        (2890000000000.0, 2890000000000.0)
    """
    # What is that number but for its last bits stays it.
    context = Context(prec=digits, rounding=ROUND_DOWN)
    return float(context.create_decimal_from_float(value * (1.0 + _LAST_BITS)))


def prefixed(value: float, unit: str = "", digits: int = 3) -> str:
    """Returns a finite number with its thousands as a prefix; beyond the last prefix it has an exponent.

    Example:
        >>> prefixed(3_364_586), prefixed(2.42e12, "FLOP")
        ('3.36M', '2.42 TFLOP')
    """
    space = " " if unit else ""
    if abs(value) >= 1000 * PREFIXES[0][0]:
        return f"{value:.{digits - 1}e}{space}{unit}"
    for size, prefix in PREFIXES:
        if abs(value) >= size * (1 - 0.5 * 10.0**-digits):
            scaled = value / size
            places = max(0, digits - 1 - max(0, math.floor(math.log10(abs(scaled)) + 1e-9)))
            return f"{scaled:.{places}f}{space}{prefix}{unit}"
    return f"{value:.{digits}g}{space}{unit}"


def counted(count: int, what: str) -> str:
    """Returns how many there are of what is named in the plural; a list of several things stays as it is.

    Example:
        >>> counted(1, "trials"), counted(2, "studies"), counted(1, "studies"), counted(1200, "runs")
        ('1 trial', '2 studies', '1 study', '1,200 runs')
    """
    if count == 1 and "," not in what:
        what = f"{what[:-3]}y" if what.endswith("ies") else what.removesuffix("s")
    return f"{count:,} {what}"


def verb(count: int, plural: str) -> str:
    """Returns the verb of so many: `verb(1, "are")` is `is`.

    Args:
        count: How many.
        plural: The verb of several: are, were, have, wait, stay or record.
    """
    return _ONE[plural] if count == 1 else plural


def _scaled(found: re.Match[str]) -> bool:
    """Whether an amount has a power of ten of its own, beside that of its unit."""
    return bool(found["suffix"] or found["exponent"])
