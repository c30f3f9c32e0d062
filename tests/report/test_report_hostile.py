"""Names from outside, in every place where one can stand, are text on page, in Markdown and terminal."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from run_tables import curves_of, grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.report.markdown import markdown_text
from scalelab.report.page import html_page
from scalelab.report.script import script_source
from scalelab.report.sections.all import sections
from scalelab.report.svg.figure import panels_markup
from scalelab.report.tables import save_tables
from scalelab.report.terminal import show_sections

MARK = "zzz"
HOSTILE = (
    f'{MARK}"><img src=x onerror=a()><svg onload=a()><i id="',
    f"{MARK}' onmouseover='a()' <script>a()</script> --> ]]> </style></svg>",
    f"{MARK}\\1\\g<0> $\\frac{{x}}$ \\u0000 `*_[a](javascript:a())_*` | \x1b[31mred\x1b]0;t\x07",
)


class Elements(HTMLParser):
    """Collects elements, their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_data(self, data):
        self.text += data


def report_of(name: str):
    """The sections of runs whose names are all made from one, and an error text, too."""
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)
    runs["optimizer"] = runs["optimizer"].map(lambda one: f"{name} {one}" if one == "sgd" else one)
    runs["dataset"], runs["study"], runs["architecture"] = f"{name} data", f"{name} study", f"{name} net"
    runs["metric"], runs["host"] = f"{name} metric", f"{name} host"
    runs[f"architecture_{name}"] = runs["n_params"]
    runs[f"feature_{name}"] = f"{name} value"
    curves = curves_of(runs)
    return list(sections(analyze(runs, curves=curves, trees=False), whole=True, draw=True))


@pytest.fixture(scope="module")
def hostile():
    return "".join(HOSTILE), report_of("".join(HOSTILE))


def test_a_name_adds_no_element_and_no_attribute_to_the_page(hostile, grid_report):
    name, report = hostile
    page, usual = Elements(html_page(report, title=name, source=name)), Elements(html_page(list(grid_report)))
    assert page.tags <= usual.tags
    assert set(page.attributes) <= set(usual.attributes)
    for attribute in ("id", "class", "href", "style", "fill"):
        values = page.attributes.get(attribute, set())
        assert not [value for value in values if MARK in value], attribute
    assert MARK in page.text


def test_the_page_loads_nothing_and_runs_its_own_script_alone(hostile):
    page = Elements(html_page(hostile[1]))
    (policy,) = (value for value in page.attributes["content"] if value.startswith("default-src 'none'; "))
    assert f"script-src {script_source()};" in policy
    assert not {"img", "iframe", "link", "object"} & page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in page.attributes.get("href", ()))


def test_no_control_character_of_a_name_reaches_a_file(hostile, tmp_path):
    """An escape sequence in a name is written as such; a lone surrogate would end in no file at all."""
    name, report = hostile
    kept = [replace(one, figures=()) for one in report]
    tables = [path.read_text("utf-8") for path in save_tables(kept, tmp_path)]
    title = f"{name} \ud800 \u202e"
    written = [html_page(kept, title=title), markdown_text(kept, title=title), *tables]
    for text in written:
        assert not [one for one in text if not one.isprintable() and one not in "\n\t\xa0\u2009\u202f"]
    assert all("\\x1b" in text and "\\ud800" in text for text in written[:2])
    assert any("\\x1b" in text for text in tables)


def test_markdown_and_terminal_obey_no_name(hostile, capsys):
    name, report = hostile
    document = markdown_text(report, title=name, source=name)
    assert "<img" not in document
    assert "<script" not in document
    assert "](javascript" not in document
    show_sections(report, plain=True)
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().out)


@pytest.mark.parametrize("name", [*HOSTILE, "\\", 'a"b', "a b"])
def test_a_figure_is_drawn_whatever_it_is_called(hostile, name):
    figure = next(figure for section in hostile[1] for figure in section.figures)
    svg = Elements(panels_markup(replace(figure, name=name, title=name)))
    assert svg.tags <= {"svg", "g", "path", "text", "title", "desc", "div", "ul", "li", "p"}
    assert not {"id", "onmouseover", "onerror", "onload"} & set(svg.attributes)
    assert any(label.startswith(name) for label in svg.attributes["aria-label"])
