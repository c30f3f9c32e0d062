"""Figures of a page: what a point says, what lights up with it, families, scales, numbers as a file."""

from __future__ import annotations

import csv
import math

import pytest


@pytest.fixture
def page(page_of, visit):
    return visit(page_of("convnext"))


@pytest.fixture
def point(page):
    """A point of the first figure of laws, of a run that has a row."""
    points = page.locator("#f-laws .point[role=link]")
    points.first.scroll_into_view_if_needed()
    return points.first


def test_a_point_says_its_run(page, point):
    point.hover()
    card = page.locator(".card")
    assert card.is_visible()
    said = card.inner_text()
    assert point.get_attribute("aria-label") in said
    for fact in ("run", "loss", "width"):
        assert card.locator("dt", has_text=fact).count() >= 1
    value = float(point.get_attribute("data-y"))
    losses = card.locator("dt:text-is('loss') + dd").inner_text().split(", ")
    assert sum(map(float, losses)) / len(losses) == pytest.approx(value, rel=1e-2)
    page.mouse.move(5, 5)
    card.wait_for(state="hidden")


def test_seeds_of_a_point_are_each_named(page_of, visit):
    page = visit(page_of("design"))
    point = page.locator("figure .point[role=link]").first
    point.scroll_into_view_if_needed()
    point.focus()
    seeds, losses = (
        page.locator(f".card dt:text-is('{name}') + dd").inner_text() for name in ("seed", "loss")
    )
    assert len(seeds.split(", ")) == len(losses.split(", "))


def test_points_and_rows_of_a_run_light_up_together(page, point):
    run = point.get_attribute("data-run")
    point.hover()
    lit = page.locator(".lit")
    assert lit.count() == page.locator(f"[data-run='{run}']").count() >= 2
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    row = page.locator(f"tr[data-run='{run}']:visible").first
    page.mouse.move(5, 5)
    page.locator(".card").wait_for(state="hidden")
    assert lit.count() == 0
    row.hover()
    assert page.locator(f"#f-laws .point.lit[data-run='{run}']").count() >= 1


def test_the_card_leads_to_the_row(page, point):
    run = point.get_attribute("data-run")
    point.hover()
    page.locator(".card a").click()
    focused = page.evaluate("[document.activeElement.tagName, document.activeElement.dataset.run]")
    assert focused == ["TR", run]
    assert page.locator(f"tr[data-run='{run}']:focus").is_visible()


def test_the_keyboard_goes_from_point_to_point_and_to_the_row(page):
    stops = page.locator("#f-laws svg:not(.key)").first.locator("[tabindex='0']")
    assert stops.count() == 1
    stops.focus()
    assert page.locator(".card").is_visible()
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert first != second
    assert second in page.locator(".card").inner_text()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == first
    page.keyboard.press("Escape")
    assert not page.locator(".card").is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "TR"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.tagName") == "TR"


def test_a_family_is_hidden_and_shown(page, page_of, visit):
    figure = page.locator("#f-laws")
    entry = figure.locator(".legend button").first
    family = entry.locator("xpath=..").get_attribute("data-family")
    own = figure.locator("g.series[data-family]")
    mine = [one for one in own.all() if one.get_attribute("data-family") == family]
    assert entry.get_attribute("aria-pressed") == "true"
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    assert not any(one.is_visible() for one in mine)
    assert figure.locator("g.series:not(.off)").count() == own.count() - len(mine) > 0
    again = visit(page_of("convnext"), state=page.evaluate("location.hash")[1:])
    assert again.locator("#f-laws g.series.off").count() == len(mine)
    entry.focus()
    page.keyboard.press("Space")
    assert figure.locator("g.series.off").count() == 0
    assert page.evaluate("location.hash") == ""


def axis_of(panel, name):
    """Both ends of an axis, in numbers and where they lie."""
    return [float(one) for one in panel.get_attribute(f"data-{name}-axis").split(" ")[1:]]


def places(panel, name):
    """Where points lie along an axis, and their numbers."""
    return panel.locator(".point[data-x]").evaluate_all(
        "(all, name) => all.map(one => [Number(one.dataset[name]),"
        " Number(one.getAttribute('d').match(/M([-\\d.]+) ([-\\d.]+)/)[name === 'x' ? 1 : 2])])",
        name,
    )


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_scale_turns_from_log_to_linear_and_back(name, page, page_of, visit):
    panel = page.locator("#f-laws g.panel").first
    toggle = page.locator(f"#f-laws button[data-axis={name}]").first
    before = places(panel, name)
    ends = axis_of(panel, name)[2:]
    assert toggle.inner_text() == f"{name}: log"
    toggle.click()
    assert toggle.inner_text() == f"{name}: linear"
    found = places(panel, name)
    values, at = zip(*found, strict=True)
    # On a straight scale places are a straight line of the numbers.
    slope = (max(at) - min(at)) / (max(values) - min(values)) * math.copysign(1, ends[1] - ends[0])
    for value, place in found:
        assert place == pytest.approx(at[0] + slope * (value - values[0]), abs=0.15)
        assert min(ends) - 0.1 <= place <= max(ends) + 0.1
    assert panel.locator("g.tick.redrawn text").count() >= 4
    state = page.evaluate("location.hash")[1:]
    again = visit(page_of("convnext"), state=state)
    assert places(again.locator("#f-laws g.panel").first, name) == found
    toggle.click()
    assert places(panel, name) == before
    assert panel.locator(".redrawn").count() == 0
    assert page.evaluate("location.hash") == ""


def test_ticks_of_the_other_scale_stand_at_their_numbers(page):
    panel = page.locator("#f-laws g.panel").first
    page.locator("#f-laws button[data-axis=x]").first.click()
    found = places(panel, "x")
    (low, a), (high, b) = min(found), max(found)
    sizes = {"k": 1e3, "M": 1e6, "G": 1e9}
    for tick in panel.locator("g.tick.middle.redrawn text").all():
        text = tick.text_content()
        value = float(text.rstrip("kMG")) * sizes.get(text[-1], 1.0)
        place = a + (value - low) / (high - low) * (b - a)
        assert float(tick.get_attribute("x")) == pytest.approx(place, abs=0.3)


def test_the_numbers_of_a_figure_are_a_file(page):
    figure = page.locator("#f-laws")
    with page.expect_download() as download:
        figure.get_by_role("button", name="Download numbers").click()
    assert download.value.suggested_filename == "laws.csv"
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    points = [(float(row["x"]), float(row["y"])) for row in rows if row["kind"] == "point"]
    drawn = figure.locator(".point[data-x]").evaluate_all(
        "all => all.map(one => [Number(one.dataset.x), Number(one.dataset.y)])"
    )
    assert points == [tuple(one) for one in drawn]
    assert {row["kind"] for row in rows} == {"point", "line", "band"}
    assert {row["x axis"] for row in rows} == {"Parameters N", "Training examples D"}
    bands = [[float(row[name]) for name in ("x", "lower", "upper")] for row in rows if row["kind"] == "band"]
    assert all(lower <= upper for _, lower, upper in bands)
    lines = {row["series"] for row in rows if row["kind"] == "line"}
    assert lines == {row["series"] for row in rows if row["kind"] == "point"}


@pytest.mark.parametrize(("name", "kind"), [("importances", "bar"), ("sweeps", "spread"), ("curves", "line")])
def test_every_mark_of_a_figure_is_in_its_file(name, kind, page_of, visit):
    page = visit(page_of("design"))
    with page.expect_download() as download:
        page.locator(f"#f-{name}").get_by_role("button", name="Download numbers").click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == kind]
    assert rows
    for row in rows:
        assert row["series"]
        assert row["x axis"]
        if kind != "line":
            middle = float(row["x"]) if kind == "bar" else float(row["lower"])
            assert float(row["lower"]) <= middle <= float(row["upper"])


def test_every_figure_can_be_downloaded(page):
    figures = page.locator("figure[data-name]").count()
    assert figures == page.get_by_role("button", name="Download numbers").count() > 2


def test_a_line_is_where_its_numbers_say(page):
    """Lines of the file are read from the drawing: none of them leaves the axes."""
    figure = page.locator("#f-laws")
    with page.expect_download() as download:
        figure.get_by_role("button", name="Download numbers").click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panel = figure.locator("g.panel").first
    low, high, *_ = axis_of(panel, "x")
    title = panel.locator(".title").text_content()
    own = [float(row["x"]) for row in rows if row["kind"] == "line" and row["panel"] == title]
    assert own
    assert all(low * 0.99 <= x <= high * 1.01 for x in own)


def test_every_mark_of_every_figure_has_words(page):
    marks = page.locator("figure svg [tabindex]")
    labels = marks.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(labels) > 50
    assert all(labels)
    assert not [label for label in labels if "NaN" in label or "undefined" in label]
