"""What the text alternative of a panel says: where values go, not only which axes there are."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.report.findings import finding
from scalelab.report.parts import Panel, Series


def panel(*series, y="Validation loss", **more):
    return Panel("", "n_params", y, series, **more)


def points(*pairs):
    return np.array(pairs, dtype=float)


FALLS = points((1e4, 0.4), (1e5, 0.2), (1e6, 0.1))
TURNS = points((1e4, 0.4), (1e5, 0.1), (1e6, 0.3))


def test_a_law_falls_and_has_its_exponent():
    one = Series(label="adamw: α = 0.30", family="adamw", points=FALLS)
    assert finding(panel(one)) == (
        "Validation loss against Parameters N: adamw falls from 0.400 at 10.0k to 0.100 at 1.00M, "
        "fitted exponent α = 0.30."
    )


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (TURNS, "is lowest with 0.100 at 100k, between 10.0k and 1.00M"),
        (FALLS[:, [0, 1]] * [1, -1], "rises from -0.400 at 10.0k to -0.100 at 1.00M"),
    ],
)
def test_a_line_that_turns_or_rises_says_so(drawn, words):
    assert f"sgd {words}." in finding(panel(Series(label="sgd", points=drawn)))


def test_residuals_say_the_largest():
    one = Series(label="sgd", points=points((1e4, 0.01), (1e5, -0.05), (1e6, 0.02)))
    said = finding(panel(one, y="Residual", log_y=False, reference=0.0))
    assert "sgd is furthest from zero with -0.0500 at 100k" in said


def test_levels_are_named_once():
    series = [Series(label=str(level), level=level, points=FALLS) for level in (250.0, 1000.0)]
    said = finding(panel(*series), "Training examples D")
    assert said.startswith("Validation loss against Parameters N, by Training examples D: 250.0 falls from ")


def test_of_many_lines_the_lowest_is_named():
    series = [Series(label=f"run {i}", points=FALLS * [1, 1 + i]) for i in range(8)]
    said = finding(panel(*series))
    assert "8 lines, which end between 0.100 and 0.800; the lowest is that of run 0" in said


def test_points_about_a_diagonal_have_a_correlation():
    drawn = points((1, 1.1), (2, 1.9), (3, 3.2), (4, 3.9))
    said = finding(panel(Series(others=drawn), diagonal=True))
    assert "4 points beside the line on which both are equal, correlation 0.99" in said
