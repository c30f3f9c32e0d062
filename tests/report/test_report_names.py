"""The page's structure that others build on: names of sections, tables and figures, numbers, runs."""

from __future__ import annotations

import math
import re

import pytest
from markupsafe import escape

from scalelab.report.numbers import Shown, plain, short, value_of, whole_number
from scalelab.report.page import html_page, table_names


@pytest.fixture(scope="module")
def text(grid_report):
    return html_page(list(grid_report))


def test_every_section_table_and_figure_has_its_name(text, grid_report):
    for section in grid_report:
        assert f'<section id="{section.key}" class="{section.key}" aria-labelledby="{section.key}-h">' in text
        assert f'<a href="#{section.key}">' in text
        for name, table in zip(table_names(section), section.tables, strict=True):
            if table.rows:
                assert re.search(
                    rf'<table id="t-{name}" data-name="{name}"[^>]*>\n<caption id="c-{name}">', text
                )
        for figure in section.figures:
            assert f'<figure id="f-{figure.name}" data-name="{figure.name}">' in text


def axes_of(attributes):
    """Both axes of a panel: how they go, both ends in numbers, and where these lie."""
    return [axis.split(" ") for axis in re.findall(r'data-[xy]-axis="([^"]*)"', attributes)]


def test_a_drawing_says_its_axes_and_what_it_shows(text, grid_report):
    figure = re.search(r'<figure id="f-laws".*?</figure>', text, re.S)[0]
    groups = re.findall(r'<g class="panel" ([^>]*)>', figure)
    assert len(groups) == len(grid_report.figures["laws"].panels) == figure.count('role="img"')
    (x_kind, low, high, *_), (y_kind, *_) = axes_of(groups[0])
    assert (x_kind, y_kind) == ("log", "log")
    assert float(low) < 3_000 < 760_000 < float(high)
    assert "adamw falls from " in re.search(r'aria-label="([^"]*)"', figure)[1]


def test_a_point_is_where_its_numbers_are(text, grid_report):
    """Places follow from `data-points` and the axes of the panel, as the page's script has it."""
    series = grid_report.figures["laws"].panels[0].series[0]
    group = re.search(r'<g class="panel" ([^>]*)>(.*?)<g class="series.*?</g>', text, re.S)
    own = re.search(r'<g class="points" data-points="([^"]*)">(.*)', group[0], re.S)
    told = [one.split(" ") for one in own[1].split(";")]
    drawn = re.findall(r'<path d="M([\d.]+) ([\d.]+)', own[2])
    assert [float(x) for _, x, _ in told] == pytest.approx(series.points[:, 0].tolist())
    assert [key for key, *_ in told] == [run.key for run in series.runs]
    for (_, *values), places in zip(told, drawn, strict=True):
        for (_, *facts), value, place in zip(axes_of(group[1]), values, places, strict=True):
            low, high, start, end = map(float, facts)
            share = math.log(float(value) / low) / math.log(high / low)
            assert float(place) == pytest.approx(start + share * (end - start), abs=0.1)


def test_cells_keep_their_numbers(text, grid_report):
    table = grid_report.table("Pareto fronts")
    assert set(table.runs) <= set(re.findall(r'data-run="(r\d+)"', text))
    for cell in table.rows[0]:
        if isinstance(cell, Shown):
            written = f"{cell.value:.5g}"
            # A number that its letters say in full is not said again.
            said_again = f"data-value={written}>{escape(cell)}<" in text
            assert said_again == (whole_number(cell) != float(written)), cell


@pytest.mark.parametrize(
    ("shown", "number"),
    [(short(1_234_567), 1_234_567), (plain(0.123456), 0.123456), ("1,000", 1000), ("+0.3 [0, 1]", 0.3)],
)
def test_the_number_of_a_text(shown, number):
    assert value_of(shown) == pytest.approx(number)
    assert value_of("none") is None
