"""Pages of the committed stores in a browser: nothing is said, asked for, cut off or told by color alone."""

from __future__ import annotations

import re

import pytest
from visits import PHONE, WIDE, serious

PAGES = ("convnext", "design", "hardware", "design-space")
MOST_BYTES, MOST_SCRIPT = 350_000, 60_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(name, scheme, page_of, visit):
    page = visit(page_of(name), color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert serious(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_small(name, page_of):
    text = page_of(name).read_text("utf-8")
    assert len(text.encode()) <= MOST_BYTES
    scripts = re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL)
    assert 0 < sum(len(one.encode()) for one in scripts) <= MOST_SCRIPT


def test_the_policy_lets_no_other_script_run(page_of, visit, tmp_path):
    """A script that somebody put into the page, in an element or in an attribute, does not run."""
    text = page_of("hardware").read_text("utf-8")
    added = (
        '<script>document.title = "changed"</script><img src="data:," onerror="document.title = \'changed\'">'
    )
    other = tmp_path / "other.html"
    other.write_text(text.replace("</main>", f"{added}</main>"), encoding="utf-8")
    page = visit(other)
    assert page.locator("button.sort").count() > 0
    assert page.title() != "changed"
    assert len(visit.said) >= 2
    assert all("Content Security Policy" in line for line in visit.said)
    visit.said.clear()
    visit.asked.clear()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_script_shows_the_same(name, page_of, visit):
    """All tables and all figures' words and places; the script adds only what can be operated."""
    path = page_of(name)
    found = []
    for script in (True, False):
        page = visit(path, script=script)
        cells = page.locator("table[data-name] th, table[data-name] td").all_text_contents()
        words = page.locator("figure svg text").all_text_contents()
        places = page.locator("figure svg path").evaluate_all("all => all.map(one => one.getAttribute('d'))")
        found.append((cells, words, places))
    assert found[0] == found[1]
    assert all(found[0])


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_or_flows_over(name, page_of, visit):
    page = visit(page_of(name), viewport=PHONE)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    width = "() => document.documentElement.scrollWidth"
    assert page.evaluate(width) <= PHONE["width"]
    page.set_viewport_size(WIDE)
    assert page.evaluate(width) <= WIDE["width"]
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 80))"
    assert page.locator(".scroll").evaluate_all(cut) == []


@pytest.mark.parametrize("name", PAGES)
def test_print_has_every_figure_whole(name, page_of, visit, tmp_path):
    """Marks at the upper left and the lower right corner of every drawing are on one sheet."""
    from pypdf import PdfReader

    page = visit(page_of(name))
    count = page.evaluate(
        """() => {
          const drawings = [...document.querySelectorAll("figure svg[viewBox]:not(.key)")];
          const write = (svg, words, x, y, anchor) => {
            const text = svg.appendChild(document.createElementNS(svg.namespaceURI, "text"));
            text.textContent = words;
            text.setAttribute("text-anchor", anchor);
            text.setAttribute("x", x);
            text.setAttribute("y", y);
          };
          drawings.forEach((svg, i) => {
            const [left, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
            write(svg, `(upper-${i})`, left, top + 12, "start");
            write(svg, `(lower-${i})`, left + width, top + height, "end");
          });
          return drawings.length;
        }"""
    )
    assert count > 2
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    sheets = [sheet.extract_text() for sheet in PdfReader(tmp_path / "page.pdf").pages]
    for i in range(count):
        on = [[n for n, text in enumerate(sheets) if f"({at}-{i})" in text] for at in ("upper", "lower")]
        assert len(on[0]) == 1, f"drawing {i} of {name}"
        assert on[0] == on[1], f"drawing {i} of {name}"


@pytest.mark.parametrize("name", PAGES)
def test_print_cuts_no_table_and_has_no_button(name, page_of, visit, tmp_path):
    """No table is wider than a sheet of A4, each sheet has its table's head, and nothing invites a click."""
    from pypdf import PdfReader

    # 186 mm, of 96 dots an inch.
    page = visit(page_of(name), viewport={"width": 703, "height": 1000})
    page.emulate_media(media="print")
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)"
    assert page.locator(".scroll").evaluate_all(cut) == []
    assert page.locator(".copy:visible, .tools:visible").count() == 0
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    head = page.locator("#t-answer thead").first
    if head.count():
        words = head.locator("th").all_inner_texts()[-1]
        sheets = [sheet.extract_text() for sheet in PdfReader(tmp_path / "page.pdf").pages]
        rows = page.locator("#t-answer tbody tr td:nth-child(7)").all_inner_texts()
        # A few of its numbers stand in sentences, too.
        own = [sheet for sheet in sheets if sum(row in sheet for row in rows) > len(rows) / 5]
        assert own
        assert all(words in sheet for sheet in own)


@pytest.mark.parametrize("name", PAGES)
def test_all_has_its_heading_its_landmark_and_its_scope(name, page_of, visit):
    page = visit(page_of(name), script=False)
    assert page.locator("h1:not([id]), h2:not([id]), h3:not([id])").count() == 0
    assert [page.locator(tag).count() for tag in ("h1", "header", "nav", "main", "footer")] == [1] * 5
    assert page.locator("table:not(:has(caption)), th:not([scope])").count() == 0
    assert page.locator("svg[role=img]:not([aria-label])").count() == 0
