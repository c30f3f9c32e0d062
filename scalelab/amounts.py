"""Amounts as people write them: `10M` parameters, `1.2T` tokens, `1e21` FLOPs."""

from __future__ import annotations

import math
import re

from scalelab.errors import InputError, brief

_POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12}
_FORM = re.compile(r"([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:([kKMBGT])|([eE][+-]?[0-9]{1,3}))?")


def amount(value: float | str, what: str) -> float:
    """Returns an amount as a number.

    Args:
        value: A number, or its text: digits with or without a decimal point, and after them an exponent such
            as `e9` or one of `k`, `M`, `B` (or `G`) and `T`, thousands to millions of millions. A small `m`
            would be a thousandth as well as a million, and is neither.
        what: What it is an amount of, for messages.

    Raises:
        InputError: It is not an amount, not finite, or not above zero.
    """
    number = value
    if isinstance(value, str):
        found = _FORM.fullmatch(value.strip())
        if found is None:
            raise InputError(
                f"{what} {brief(value)}: must be a positive number such as 300k, 10M, 5B, 1.2T or 1e9"
            )
        digits, suffix, exponent = found.groups()
        # As an exponent, so that 5.1B is the number nearest to 5.1e9 and not a product that was rounded.
        number = float(digits + (exponent or f"e{_POWERS[suffix or '']}"))
    number = float(number)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{what} {brief(str(value))}: must be a positive number such as 10M or 1e9")
    return number
