import doctest

import pytest

from scalelab.analysis.estimate import Estimate
from scalelab.report import numbers
from scalelab.report.numbers import greek, interval, percent, plain, short


def test_examples_in_docstrings():
    assert doctest.testmod(numbers).failed == 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999, "", "999"),
        (999.9, "", "1.00k"),
        (1000, "", "1.00k"),
        (12_345, "", "12.3k"),
        (123_456, "", "123k"),
        (2.5e13, "FLOP", "25.0 TFLOP"),
        (0, "FLOP", "0 FLOP"),
        (float("nan"), "", ""),
        (None, "", ""),
    ],
)
def test_short(value, unit, text):
    assert short(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234.5, "1,234"), (-0.01234, "-0.0123"), (1e-9, "1.00e-09"), (float("inf"), "")],
)
def test_plain(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.1234, 0.1, 0.15), "0.123 [0.100, 0.150]"),
        (Estimate(477.8, 401.2, 560.0), "478 [401, 560]"),
        (Estimate(0.0, 0.0, 0.2), "0.000 [0.000, 0.200]"),
        (Estimate(3e8, 1e8, 9e8), "3.00e+08 [1.00e+08, 9.00e+08]"),
        (Estimate(0.5, None, 0.6), "0.500 [-∞, 0.600]"),
        (Estimate(0.5, None, None), "0.500"),
    ],
)
def test_interval(estimate, text):
    assert interval(estimate) == text


def test_percent_and_greek():
    assert (percent(0.9), percent(0.0126), percent(None)) == ("90%", "1.3%", "")
    assert (percent(1e-15), percent(0.0)) == ("<0.01%", "0%")
    assert (greek("alpha"), greek("c1")) == ("α", "c1")
