"""Names from outside do nothing in a real browser, wherever they stand and whatever is done with them."""

from __future__ import annotations

import sys

import pytest
from visits import ROOT, copied

sys.path.insert(0, str(ROOT / "tests" / "analysis"))

HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    "<!--<script>",
    "\"'><img src=x onerror='window.pwned = 1'>",
    "\u2028window.pwned = 1//\u2029`${window.pwned = 1}`",
    "</title></style></textarea><svg onload='window.pwned = 1'>",
    '=HYPERLINK("http://example.org","x")',
)


@pytest.fixture(scope="module")
def path(browser, tmp_path_factory):
    """A page in which every name from outside is hostile."""
    from run_tables import curves_of, grid_runs

    from scalelab.analysis.analyze import analyze
    from scalelab.report.files import write_report

    name = "".join(HOSTILE)
    runs = grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)
    runs["optimizer"] = [f"{name} {one}" if one == "sgd" else one for one in runs["optimizer"]]
    runs["dataset"], runs["study"], runs["architecture"] = f"{name} data", f"{name} study", f"{name} net"
    runs["metric"], runs["host"] = f"{name} metric", f"{name} host"
    runs["architecture_" + name] = [f"{name}{i % 3}" for i in range(len(runs))]
    path = tmp_path_factory.mktemp("hostile") / "page.html"
    analysis = analyze(runs, curves=curves_of(runs), trees=False)
    write_report(analysis, html=path, title=name, source=name)
    return path


def test_nothing_of_a_name_runs(path, visit):
    page = visit(path)
    assert page.evaluate("window.pwned") is None
    assert page.locator("img, iframe, script[src]").count() == 0
    assert page.locator("script").count() == 2
    assert HOSTILE[0] in page.locator("body").inner_text()


def test_names_are_texts_in_what_the_script_makes(path, visit):
    page = visit(path, permissions=["clipboard-read", "clipboard-write"])
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    point = page.locator("#f-laws .point[tabindex]").last
    point.scroll_into_view_if_needed()
    point.focus()
    assert HOSTILE[0] in page.locator(".card").inner_text()
    page.keyboard.press("Escape")
    entry = page.locator("#f-laws .legend button").last
    entry.click()
    assert page.locator("#f-laws .series.off").count() >= 1
    again = visit(path, state=page.evaluate("location.hash")[1:])
    assert again.locator("#f-laws .series.off").count() == page.locator("#f-laws .series.off").count()
    for kind in ("CSV", "Markdown"):
        for copy in page.get_by_role("button", name=f"Copy as {kind}").all():
            text = copied(page, copy)
            assert "\n=" not in text
            if kind == "Markdown":
                assert "<script" not in text.replace("\\<", "")
    assert page.evaluate("window.pwned") is None
    assert again.evaluate("window.pwned") is None


@pytest.mark.parametrize("name", HOSTILE)
def test_an_address_is_a_text(name, path, visit):
    from urllib.parse import quote

    page = visit(path, state=f"find.studies={quote(name)}&off.laws={quote(name)}&budget={quote(name)}")
    assert page.evaluate("window.pwned") is None
