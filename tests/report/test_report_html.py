import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from scalelab.errors import InputError
from scalelab.report.files import write_report
from scalelab.report.markdown import markdown_text
from scalelab.report.page import html_page
from scalelab.report.script import script
from scalelab.report.sections.all import sections

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, ids, references and text, and checks that tags close in order.

    Cells and rows of tables end where the next one begins, as HTML has it.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def end_those_before(self, *tags):
        while self.open and self.open[-1] in tags:
            self.open.pop()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th", "tr"):
            self.end_those_before("td", "th", *(["tr"] if tag == "tr" else []))
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        for value in values.values():
            self.references += re.findall(r"url\(#([^)]*)\)", value or "")
        if values.get("href", "").startswith("#"):
            self.references.append(values["href"][1:])
        self.references += values.get("aria-labelledby", "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in ("thead", "tbody"):
            self.end_those_before("td", "th", "tr")
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def text(grid_report):
    return html_page(list(grid_report), title="Report <of> demo", source="demo.duckdb")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_is_self_contained(text, page):
    assert "://" not in text
    assert not {"link", "img", "iframe"} & set(page.tags)


def test_the_policy_allows_the_one_script_by_its_hash(text):
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    (own,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert own == script()


def test_the_script_can_stand_in_a_page():
    """Nothing in it ends its element or begins a comment, evaluates a text, or makes one into markup."""
    source = script()
    for words in (
        "</script",
        "<script",
        "<!--",
        "]]>",
        "eval(",
        "Function(",
        "innerHTML",
        "insertAdjacentHTML",
    ):
        assert words not in source, words
    assert '"use strict"' in source
    assert source.isascii() or not {"\u2028", "\u2029", "\r"} & set(source)


def test_identifiers_are_unique_and_references_resolve(page):
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert page.references


def test_the_answer_comes_first(text):
    assert (
        text.index(">Answer</h2>")
        < text.index("Best so far: convnext1d with adamw")
        < text.index(">What was run</h2>")
        < text.index("the loss of convnext1d on toy-ecg falls")
        < text.index(">How this was computed</h2>")
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
    style, body = text.split("</style>")
    body = body.partition("<script>")[0]
    assert "#" not in re.sub(r'href="#[^"]*"|&#\d+;', "", body), "no color of its own"
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_text_in_figures_is_text(page):
    assert "Validation loss" in page.text
    assert "Training examples D" in page.text


def test_trees_and_refusals_are_on_the_page(design_report):
    page = Page(html_page(list(design_report)))
    assert "architecture_width" in page.text
    assert "refused: a law in D needs 4 data sizes" in page.text
    assert "random forests" in page.text


HOSTILE = 'x"><img src=x onerror=a()>\\1$\\frac|*y*'


def test_names_from_outside_are_text(grid_analysis, report):
    """Neither the page nor Markdown lets a name become an element, and no figure stumbles over it."""
    laws = tuple(replace(one, family=one.family._replace(optimizer=HOSTILE)) for one in grid_analysis.fitted)
    fronts = tuple(replace(one, optimizer=HOSTILE) for one in grid_analysis.fronts)
    found = report(replace(grid_analysis, laws=laws, fronts=fronts))
    page = Page(html_page(list(found)))
    assert "img" not in page.tags
    assert HOSTILE in page.text
    document = markdown_text(list(found))
    assert "<img" not in document
    assert "|*y*" not in document


def test_a_part_that_fails_does_not_take_the_page_with_it(grid_analysis):
    said = []
    broken = replace(grid_analysis, comparisons=(None,))
    with pytest.raises(AttributeError):
        sections(broken)
    found = {one.key: one for one in sections(broken, whole=True, draw=True, on_error=said.append)}
    assert "could not be computed (AttributeError" in found["comparison"].reason
    assert found["laws"].tables
    wrong = replace(found["laws"].figures[0], panels=(None,))
    laws = replace(found["laws"], figures=(wrong,))
    page = Page(html_page([laws], on_error=said.append))
    assert "figure laws could not be drawn" in page.text
    assert len(said) == 2


def test_one_call_writes_all_files(grid_analysis, tmp_path):
    small = replace(grid_analysis, laws=(), comparisons=(), optima=(), curves=None)
    files = {"html": tmp_path / "new" / "page.html", "markdown": tmp_path / "new" / "page.md"}
    written = write_report(small, **files, figures=tmp_path / "drawn")
    assert [path.name for path in written] == [
        "front.png", "front.svg", "front.pdf", "page.html", "page.md"
    ]  # fmt: skip

    assert "(<../drawn/front.svg>)" in files["markdown"].read_text("utf-8")
    assert write_report(small) == []


def test_a_file_that_cannot_be_written_is_one_line(grid_analysis, tmp_path):
    small = replace(grid_analysis, laws=(), comparisons=(), optima=(), curves=None)
    with pytest.raises(InputError, match="the report cannot be written"):
        write_report(small, markdown=tmp_path)
