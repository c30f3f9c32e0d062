"""Figures and tables as files for a paper."""

from __future__ import annotations

import csv
import io

import pytest

from scalelab.analysis.estimate import Estimate
from scalelab.errors import InputError
from scalelab.report.numbers import interval, percent, plain, short, with_sign
from scalelab.report.page import table_names
from scalelab.report.parts import Section, Table
from scalelab.report.sections.again import with_commands
from scalelab.report.tables import csv_table, latex_table, markdown_table, save_tables

ESTIMATE, COST = Estimate(0.5, 0.4, 0.6), short(1.5e12, "FLOP")
TABLE = Table.of(
    "Laws & 100% of_it",
    [
        {"family": "=cmd()|'x'", "α": plain(0.123456789), "C": COST, "E": interval(ESTIMATE)},
        {"family": "N^-0.5 × {b}\\", "α": percent(0.0234), "C": "", "E": "none"},
    ],
    notes=("a note: $5 #1",),
)  # fmt: skip


def test_csv_has_the_numbers_in_full_and_no_formula():
    rows = list(csv.reader(io.StringIO(csv_table(TABLE, TABLE.title))))
    assert rows[0] == ["family", "α", "C (FLOP)", "E", "E, lower", "E, upper"]
    assert rows[1] == ["'=cmd()|'x'", "0.123456789", "1.5e+12", "0.5", "0.4", "0.6"]
    assert rows[2][1:] == ["0.0234", "", "none", "", ""]


@pytest.mark.parametrize(
    ("cells", "head", "numbers"),
    [
        ([percent(0.0234), percent(1.5)], ["x (share)"], [["0.0234"], ["1.5"]]),
        ([short(2e9, "FLOP"), ""], ["x (FLOP)"], [["2000000000"], [""]]),
        ([interval(Estimate(0.5, 0.25, None))], ["x", "x, lower", "x, upper"], [["0.5", "0.25", "inf"]]),
        ([with_sign(Estimate(0.5, 0.25, 0.75))], ["x", "x, lower", "x, upper"], [["0.5", "0.25", "0.75"]]),
        ([short(3.0, "s"), short(3.0, "B")], ["x"], [["3"], ["3"]]),
        (["-1e300", "@x"], ["x"], [["-1e300"], ["'@x"]]),
    ],
)
def test_a_column_of_a_file_has_its_unit_in_its_head_and_ends_apart(cells, head, numbers):
    table = Table.of("", [{"x": cell} for cell in cells])
    assert list(csv.reader(io.StringIO(csv_table(table, "")))) == [head, *numbers]


def test_latex_is_escaped_and_has_the_rules_of_booktabs():
    text = latex_table(TABLE, TABLE.title)
    rules = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert rules == sorted(rules)
    assert r"\caption{Laws \& 100\% of\_it}" in text
    assert r"N$^{-0.5}$ $\times$ \{b\}\textbackslash{}" in text
    assert r"\begin{tabular}{lrrr}" in text
    assert r"family & $\alpha$ & C & E \\" in text
    assert r"a note: \$5 \#1" in text
    assert text.isascii()


def test_markdown_has_title_rows_and_notes():
    text = markdown_table(TABLE, "T")
    assert text.startswith("**T**\n\n| family | α | C | E |\n| --- | ---: | ---: | ---: |\n")
    assert text.rstrip().endswith("- a note: \\$5 \\#1")


def test_every_table_with_rows_is_three_files_named_as_on_the_page(grid_report, tmp_path):
    paths = save_tables(list(grid_report), tmp_path / "new")
    names = [
        name
        for section in grid_report
        for name, table in zip(table_names(section), section.tables, strict=True)
        if table.rows
    ]
    assert [path.name for path in paths] == [
        f"{name}.{end}" for name in names for end in ("md", "tex", "csv")
    ]
    assert "laws" in names


def test_a_folder_that_cannot_be_written_is_one_line(grid_report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"tables cannot be written to .*file"):
        save_tables(list(grid_report), tmp_path / "file")


def test_each_figure_has_the_command_that_makes_it_again(grid_report):
    *_, last = with_commands(list(grid_report), "scalelab analyze --store a.duckdb")
    table = last.tables[-1]
    assert [row[1] for row in table.rows] == [f"{name}.svg" for name in grid_report.figures]
    assert {row[2] for row in table.rows} == {"scalelab analyze --store a.duckdb --figures DIR"}
    assert Section("x", "X").tables == ()
