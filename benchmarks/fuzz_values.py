"""Values that programs trip over, for `fuzz.py`."""

WORDS = [
    "",
    " ",
    "a",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "é",
    "\U0001f4a9",
    "x" * 10_000,
    "../..",
    "/",
    "-",
    "--",
    "nan",
]
WORDS += [
    "'",
    '"',
    "\\",
    "a'; drop table runs; --",
    "<script>",
    "%s",
    "{}",
    "${x}",
    "\n",
    "\ud800",
    "width",
    "all",
]
WHOLE = [0, 1, -1, 2, 7, 255, 10**6, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**80, 10**400]
FRACTIONS = [0.0, -0.0, 0.5, 1e-320, 1e-300, 1.7e308, -1e308, float("inf"), float("-inf"), float("nan"), 1e22]
