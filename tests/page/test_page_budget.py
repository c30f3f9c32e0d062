"""The slider of budgets says to the printed digit what `scalelab advise` says, refusals and warnings too."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest
from visits import ROOT, copied

sys.path.insert(0, str(ROOT / "tests" / "analysis"))


def slide(page, place):
    """Moves the slider to a stop."""
    page.locator("#budget-stop").evaluate(
        "(range, place) => { range.value = String(place); range.dispatchEvent(new Event('input')); }", place
    )


def words(text):
    return re.sub(r"\s+", " ", text).strip()


def keys_of(path):
    """The budgets of a page, as they are typed."""
    return re.findall(r'<li data-budget="([^"]+)"', path.read_text("utf-8"))


def compare(page, said):
    """Holds sentence, table and notes of the stop that is shown against what the command printed."""
    lines = [words(line) for line in said.splitlines()]
    rows = page.locator("#budget .slider tbody tr").all()
    assert rows
    for row in rows:
        cells = [words(text) for text in row.locator(":scope > *").all_text_contents()]
        assert " ".join(filter(None, cells[1:])) in lines
    sentence = page.locator("#budget output").inner_text()
    heads = [words(text) for text in page.locator("#budget .slider thead th").all_text_contents()]
    best = dict(zip(heads, rows[0].locator(":scope > *").all_text_contents(), strict=True))
    for head in ("training budget", "parameters N", "examples seen", "loss of a run"):
        assert words(best[head]) in sentence
    shown = page.locator("#budget .note:visible").evaluate_all(
        "all => all.map(one => { const copy = one.cloneNode(true);"
        " copy.querySelectorAll('sup').forEach(sup => {"
        "   sup.textContent = '^' + sup.textContent.replace('−', '-'); });"
        " return copy.textContent; })"
    )
    # Both name the families that a note is about, in one line or in several.
    about = {words(note).rpartition(" (")[0] for note in shown}
    printed = {line.rpartition(" (")[0] for line in lines}
    assert about <= printed
    assert about >= {note for note in printed if note.startswith(("warning: ", "refused: "))}


@pytest.mark.parametrize("name", ["convnext", "design"])
def test_ten_budgets_say_what_advise_says(name, page_of, visit, run_scalelab):
    page = visit(page_of(name))
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    keys = keys_of(page_of(name))
    chosen = sorted({round(i * (len(keys) - 1) / 9) for i in range(10)})
    assert len(chosen) == 10
    store = {"convnext": "examples/mitbih-convnext.duckdb", "design": "examples/mitbih-design.duckdb"}[name]
    for place in chosen:
        slide(page, place)
        compare(page, run_scalelab("--plain", "advise", "--store", ROOT / store, "--budget", keys[place]))


def test_an_optimum_has_intervals_of_size_and_data(tmp_path, visit, run_scalelab):
    """Runs that vary size and length: N and D of the optimum move with the budget, each with its interval."""
    from run_tables import grid_runs

    table, store = tmp_path / "runs.csv", tmp_path / "own.duckdb"
    grid_runs(seeds=(0,), noise=0.004).to_csv(table, index=False)
    run_scalelab("import", table, "--store", store)
    run_scalelab("analyze", "--no-trees", "--store", store, "--html", tmp_path / "own.html")
    page = visit(tmp_path / "own.html")
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    keys, answers = keys_of(tmp_path / "own.html"), []
    for place in (0, len(keys) // 2, len(keys) - 1):
        slide(page, place)
        compare(page, run_scalelab("--plain", "advise", "--store", store, "--budget", keys[place]))
        answers.append(page.locator("#budget output").inner_text())
    assert len(set(answers)) == 3
    assert all(re.search(r"loss of a run [\d.]+ \[[\d.]+, [\d.]+\]", answer) for answer in answers)


def test_the_slider_moves_by_the_keyboard_and_the_address_keeps_it(page_of, visit):
    page = visit(page_of("convnext"))
    said = page.locator("#budget output")
    usual = said.inner_text()
    assert page.evaluate("location.hash") == ""
    page.locator("#budget-stop").focus()
    page.keyboard.press("ArrowLeft")
    more = said.inner_text()
    assert more != usual
    assert page.locator("#budget-stop").get_attribute("aria-valuetext") == more
    again = visit(page_of("convnext"), state=page.evaluate("location.hash")[1:])
    assert again.locator("#budget output").inner_text() == more
    again.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    chosen = again.locator("#t-answer tr.chosen > :first-child").all_inner_texts()
    assert chosen
    assert all(words(text) in more for text in chosen)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("location.hash") == ""
    assert said.inner_text() == usual


def test_without_script_all_budgets_are_there(page_of, visit):
    page = visit(page_of("convnext"), script=False)
    stops = page.locator("#budget li[data-budget]")
    assert stops.count() >= 10
    assert page.locator("#budget input").count() == 0
    assert [stop.get_attribute("data-budget") for stop in stops.all()] == keys_of(page_of("convnext"))
    with_script = visit(page_of("convnext"))
    for place in range(stops.count()):
        slide(with_script, place)
        assert words(stops.nth(place).inner_text()).startswith(
            words(with_script.locator("#budget output").inner_text())
        )


def test_runs_that_support_no_advice_have_no_slider_and_say_why(page_of, visit):
    page = visit(page_of("hardware"))
    assert page.locator("input[type=range]").count() == 0
    assert "ten times the compute" in page.locator("#answer").inner_text()
    assert re.search(r"cannot be said for .*: the loss has no trend", page.locator("#answer").inner_text())


def test_a_button_copies_the_study_to_train_next(page_of, visit):
    page = visit(page_of("convnext"), permissions=["clipboard-read", "clipboard-write"])
    copy = page.locator("button[data-copy]")
    assert copy.count() == 1
    study = page.locator(f"#{copy.get_attribute('data-copy')}").text_content()
    assert copied(page, copy) == study
    assert tomllib.loads(study)["name"]
    copy.click()
    copy.filter(has_text="Copied").wait_for()
    plain = visit(page_of("convnext"), script=False)
    assert not plain.locator("button").first.is_visible()
