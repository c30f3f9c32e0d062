"""Amounts as people write them: `10M` parameters, `1.2T` tokens, `1e21` FLOPs, `7.68 EFLOP`."""

from __future__ import annotations

import math
import re
from decimal import ROUND_DOWN, Context

from scalelab.errors import InputError, brief

_POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12, "P": 15, "E": 18}
_LAST_BITS = 1e-9
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


def _scaled(found: re.Match[str]) -> bool:
    """Whether an amount has a power of ten of its own, beside that of its unit."""
    return bool(found["suffix"] or found["exponent"])
