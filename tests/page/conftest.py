"""Pages in a real browser: Debian's chromium, driven by Playwright; where it is missing, tests are skipped.

`SCALELAB_PAGE=must` fails instead. `make test-page` installs what is needed and sets the paths.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from visits import AXE, ROOT, Visits

STORES = {
    "convnext": ROOT / "examples/mitbih-convnext.duckdb",
    "design": ROOT / "examples" / "mitbih-design.duckdb",
    "hardware": ROOT / "examples" / "mitbih-hardware.duckdb",
    "design-space": ROOT / "examples" / "mitbih-design.duckdb",
}


def why_not() -> str:
    """Returns what is missing; an empty text where nothing is."""
    missing = [name for name in ("chromium",) if shutil.which(name) is None]
    missing += [name for name in ("playwright",) if importlib.util.find_spec(name) is None]
    missing += [name for name in ("axe-core",) if not AXE.is_file()]
    return f"{', '.join(missing)} not installed: make test-page" if missing else ""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = why_not() if os.environ.get("SCALELAB_PAGE") else "pages are opened by: make test-page"
    if reason and os.environ.get("SCALELAB_PAGE") == "must":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no sandbox; the pages are our own.
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def page_of(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns the page of a committed store as `scalelab analyze --html` writes it, written once.

    That of `design-space` is written with `--design`.
    """
    folder = tmp_path_factory.mktemp("pages")

    def written(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            more = ("--design",) if name == "design-space" else ()
            scalelab("analyze", "--store", STORES[name], *more, "--html", path)
        return path

    return written


def scalelab(*arguments: object) -> str:
    """Returns what a command prints; it must succeed."""
    command = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
    wide = {**os.environ, "COLUMNS": "400"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=wide, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def run_scalelab() -> Any:
    return scalelab


@pytest.fixture
def visit(browser: Any) -> Iterator[Visits]:
    """Opens pages; at the end none of them may have said anything on the console or asked for anything."""
    visits = Visits(browser)
    yield visits
    visits.close()
