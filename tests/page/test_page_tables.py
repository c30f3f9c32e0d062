"""Tables of a page: sorting, filtering, copying, and that the address keeps all of it."""

from __future__ import annotations

import csv
import io

import pytest
from visits import PHONE, copied

CLIPBOARD = ["clipboard-read", "clipboard-write"]


@pytest.fixture
def page(page_of, visit):
    page = visit(page_of("convnext"), permissions=CLIPBOARD)
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    return page


def table_of(page, *, rows):
    """A table with so many rows at least whose numbers have values."""
    names = page.locator("table[data-name]").evaluate_all(
        "(all, least) => all.filter(one => one.querySelectorAll('tbody tr td[data-value]').length >= least"
        " && one.tBodies[0].rows.length >= least).map(one => one.id)",
        rows,
    )
    return page.locator(f"#{names[0]}")


def column(table, place):
    return table.locator(f"tbody tr:not([hidden]) > :nth-child({place + 1})")


def numeric_column(table):
    """The place of the first column whose cells all have a number, not all the same."""
    for place in range(table.locator("thead th").count()):
        values = column(table, place).evaluate_all("all => all.map(one => one.dataset.value ?? '')")
        if all(values) and len(set(values)) > 2:
            return place
    raise AssertionError("no column of numbers")


def values_in(table, place):
    return [
        float(value)
        for value in column(table, place).evaluate_all("all => all.map(one => one.dataset.value)")
    ]


def copy_of(page, table, kind):
    tools = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]/preceding-sibling::div[1]")
    return copied(page, tools.get_by_role("button", name=f"Copy as {kind}"))


def test_a_head_sorts_by_numbers_up_down_and_back(page):
    table = table_of(page, rows=6)
    place = numeric_column(table)
    head = table.locator("thead th").nth(place)
    before = values_in(table, place)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert values_in(table, place) == sorted(before)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values_in(table, place) == sorted(before, reverse=True)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert values_in(table, place) == before


def test_a_head_sorts_by_the_keyboard(page):
    table = table_of(page, rows=6)
    head = table.locator("thead th").nth(numeric_column(table))
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_filter_keeps_the_rows_with_all_words(page):
    table = table_of(page, rows=6)
    rows = table.locator("tbody tr")
    words = rows.nth(2).locator(":scope > *").first.inner_text()
    expected = sum(words.lower() in text.lower() for text in rows.all_inner_texts())
    field = table.locator(
        "xpath=ancestor::div[contains(@class, 'scroll')]/preceding-sibling::div[1]"
    ).locator("input")
    field.fill(words)
    assert table.locator("tbody tr:not([hidden])").count() >= 1
    assert (
        f"{table.locator('tbody tr:not([hidden])').count()} of {rows.count()} rows"
        in field.locator("xpath=..").inner_text()
    )
    assert table.locator("tbody tr:not([hidden])").count() >= expected
    field.fill("no row has these words")
    assert table.locator("tbody tr:not([hidden])").count() == 0
    field.fill("")
    assert table.locator("tbody tr[hidden]").count() == 0


def test_csv_has_the_rows_that_are_shown_in_full(page):
    table = table_of(page, rows=6)
    place = numeric_column(table)
    table.locator("thead th").nth(place).get_by_role("button").click()
    read = list(csv.reader(io.StringIO(copy_of(page, table, "CSV"))))
    assert len(read) == 1 + table.locator("tbody tr").count()
    head = table.locator("thead th").nth(place)
    unit = head.get_attribute("data-unit")
    name = f"{head.inner_text()} ({unit})" if unit else head.inner_text()
    at = read[0].index(name)
    assert [float(row[at]) for row in read[1:]] == values_in(table, place)


def test_csv_has_the_ends_of_intervals_in_columns_of_their_own(page):
    table = page.locator("#t-answer")
    rows = list(csv.DictReader(io.StringIO(copy_of(page, table, "CSV"))))
    assert "training budget (FLOP)" in rows[0]
    budgets = table.locator("tbody th").all_inner_texts()
    assert [float(row["training budget (FLOP)"]) for row in rows] == [
        float(text.split()[0]) * {"G": 1e9, "T": 1e12}[text.split()[1][0]] for text in budgets
    ]
    for row in rows:
        lower, value, upper = (float(row[f"loss of a run{end}"]) for end in (", lower", "", ", upper"))
        assert lower < value < upper
    laws = list(csv.DictReader(io.StringIO(copy_of(page, page.locator("#t-laws"), "CSV"))))
    assert {row["loss at 10×"] for row in laws} > {"undetermined"}
    assert not [row for row in laws if "[" in row["irreducible E"]]


def test_markdown_has_a_row_for_each_row(page):
    table = table_of(page, rows=6)
    lines = copy_of(page, table, "Markdown").strip().split("\n")
    assert len(lines) == 2 + table.locator("tbody tr").count()
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert "---:" in lines[1]


def test_every_table_can_be_copied(page):
    tables = page.locator("table[data-name]").count()
    for kind in ("CSV", "Markdown"):
        assert page.get_by_role("button", name=f"Copy as {kind}").count() == tables


def test_the_address_keeps_order_and_filter(page_of, visit, page):
    table = table_of(page, rows=6)
    place = numeric_column(table)
    table.locator("thead th").nth(place).get_by_role("button").click()
    word = table.locator("tbody tr").nth(1).locator(":scope > *").first.inner_text().split()[0]
    name = table.get_attribute("id")
    tools = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]/preceding-sibling::div[1]")
    tools.locator("input").fill(word)
    address = page.evaluate("location.hash")
    assert "sort." in address
    assert "find." in address
    again = visit(page_of("convnext"), state=address[1:])
    other = again.locator(f"#{name}")
    assert other.locator("thead th").nth(place).get_attribute("aria-sort") == "ascending"
    assert values_in(other, place) == values_in(table, place)
    assert other.locator("tbody tr:not([hidden])").count() == table.locator("tbody tr:not([hidden])").count()


@pytest.mark.parametrize(
    "state",
    ["sort.laws=99.up", "sort.=1", "find.nothing=x", "axis.laws=9.z&off.laws=nobody", "budget=1e99", "=&=%"],
)
def test_an_address_that_means_nothing_changes_nothing(state, page_of, visit):
    page = visit(page_of("convnext"), state=state)
    assert page.locator("th[aria-sort], tbody tr[hidden], .series.off, .redrawn").count() == 0


def test_a_link_of_the_contents_still_leads_there(page, page_of):
    page.locator("nav a[href='#laws']").click()
    assert page.evaluate("location.hash") == "#laws"
    assert page.locator("#laws").is_visible()


def test_a_second_line_of_a_law_stays_with_its_first(page):
    table = page.locator("#t-laws")
    before = table.locator("tbody tr").evaluate_all("all => all.map(one => one.cells[0].innerText.trim())")
    assert "" in before
    follows = (
        "all => all.map((one, i) => one.cells[0].innerText.trim() || all[i - 1].cells[1].innerText.trim())"
    )
    for place in range(table.locator("thead th").count()):
        head = table.locator("thead th").nth(place)
        if not head.locator("button").count():
            continue
        head.locator("button").click()
        now = table.locator("tbody tr").evaluate_all(follows)
        assert [one for one in now if one == "L(N, D)"] == ["L(N, D)"] * before.count("")
    tools = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]/preceding-sibling::div[1]")
    tools.get_by_role("searchbox").fill("sgdm")
    shown = table.locator("tbody tr:not([hidden])").evaluate_all(
        "all => all.map(one => one.cells[0].innerText.trim())"
    )
    assert shown.count("sgdm") == 3
    assert shown.count("") == 1


def test_what_a_table_is_called_stands_above_its_tools(page_of, visit):
    """A reader sees the name, then the buttons, then the rows; on a phone a shadow says that it goes on."""
    page = visit(page_of("convnext"), viewport=PHONE)
    table = page.locator("#t-studies")
    tools = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]/preceding-sibling::div[1]")
    title = tools.locator("xpath=preceding-sibling::p[1]")
    assert title.inner_text() == table.locator("caption").text_content().strip()
    tops = [one.bounding_box()["y"] for one in (title, tools, table)]
    assert tops == sorted(tops)
    scroll = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]")
    wider, shade = scroll.evaluate(
        "box => [box.scrollWidth > box.clientWidth, getComputedStyle(box).backgroundImage]"
    )
    assert wider
    assert shade.count("linear-gradient") == 4
