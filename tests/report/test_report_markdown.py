"""The report as Markdown: the sections, tables and figures of the page."""

import re

import pytest

from scalelab.report.markdown import markdown_text
from scalelab.report.parts import Figure, Section, Table


@pytest.fixture(scope="module")
def document(grid_report):
    return markdown_text(list(grid_report), title="Report of demo", source="demo.duckdb")


def test_every_section_table_and_figure_is_there(document, grid_report):
    heads = re.findall(r"^## (.*)$", document, re.M)
    assert heads == [section.title for section in grid_report]
    assert heads[:2] == ["Answer", "What was run"]
    for table in (table for table in grid_report.tables.values() if table.rows):
        assert document.count(f"| {table.rows[0][0]} |") >= 1
    for figure in grid_report.figures.values():
        assert f"**{figure.title}.** (a figure; `--figures DIR` draws it)" in document


def test_every_number_of_a_table_is_there(document, grid_report):
    table = grid_report.tables["Scaling laws of the loss"]
    section = document.partition("## Scaling laws of the loss")[2]
    rows = re.findall(r"^\|.*\|$", section, re.M)[2:][: len(table.rows)]
    assert [re.findall(r"[\d.]+", row) for row in rows] == [
        re.findall(r"[\d.]+", " ".join(row)) for row in table.rows
    ]


def test_figures_are_links_to_their_files(grid_report):
    linked = markdown_text(list(grid_report), figures="my figures")
    assert "![Scaling laws on toy-ecg](<my%20figures/laws.svg>)" in linked
    assert "--figures" not in linked


def test_text_is_shown_as_it_is():
    table = Table.of("T", [{"a|b": "x | *y* _z_ n_examples", "n": "C^-0.5 [1, 2]"}], notes=["<b> `c`"])
    section = Section("key", "Title", answer=("[text](url) & co",), warnings=("W.",), tables=(table,))
    assert markdown_text([section]).partition("## Title")[2] == (
        "\n\n- [text]\\(url) &amp; co\n\n> **Warning:** W.\n\n### T\n\n"
        "| a\\|b | n |\n| --- | ---: |\n| x \\| \\*y\\* \\_z\\_ n_examples | C<sup>−0.5</sup> [1, 2] |\n\n"
        "- &lt;b&gt; \\`c\\`\n"
    )


def test_what_is_missing_says_why():
    section = Section("key", "Title", reason="nobody asked")
    assert markdown_text([section]).endswith("## Title\n\n*Nobody asked.*\n")
    assert markdown_text([Section("key", "Title", figures=(Figure("f", "F", "C.", ()),))]).endswith("C.\n")
