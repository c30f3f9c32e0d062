import re
from html.parser import HTMLParser

import pytest

from scalelab.errors import InputError
from scalelab.report.drawing.panels import svg_text
from scalelab.report.figures import figures_of
from scalelab.report.page import html_page, inline_svg, write_html

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, ids, references and text, and checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        for value in values.values():
            self.references += re.findall(r"url\(#([^)]*)\)", value or "")
        if values.get("href", "").startswith("#"):
            self.references.append(values["href"][1:])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def text(grid_analysis):
    return html_page(grid_analysis, title="Report <of> demo", source="demo.duckdb")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_is_self_contained(text, page):
    assert "://" not in text
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 7


def test_identifiers_are_unique_and_references_resolve(page):
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert page.references


def test_the_answer_comes_first(text):
    assert (
        text.index("the loss of convnext1d")
        < text.index("What was run")
        < text.index("How this was computed")
    )
    assert "falls as N<sup>−0.4" in text


def test_text_is_escaped(text):
    assert "Report &lt;of&gt; demo" in text
    assert "Report <of>" not in text


def test_tables_and_versions_are_there(page):
    for words in (
        "40,000",
        "irreducible E",
        "All parameters of all laws",
        "matplotlib",
        "arXiv:2010.14701",
    ):
        assert words in page.text


def test_colors_follow_the_theme(text):
    body = text[text.index("<body>") :]
    assert "var(--c0)" in body
    assert "var(--ink)" in body
    assert "#0072b2" not in body
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_text_in_figures_is_text(page):
    assert "Validation loss" in page.text
    assert "Training examples D" in page.text


def test_trees_and_refusals_are_on_the_page(design_analysis):
    page = Page(html_page(design_analysis))
    assert "architecture_width" in page.text
    assert "refused: a law in D needs 4 data sizes" in page.text
    assert "random forests" in page.text


def test_inline_svg_has_no_prologue(design_analysis):
    svg = inline_svg(svg_text(figures_of(design_analysis)[0]), "one", 'A "title"')
    assert svg.startswith('<svg role="img" aria-label="A &quot;title&quot;"')
    assert "xmlns" not in svg
    assert "metadata" not in svg
    assert "viewBox" in svg


def test_page_is_written(tmp_path):
    write_html("<p>é</p>", tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text("utf-8") == "<p>é</p>"


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match="the report cannot be written"):
        write_html("", tmp_path)
