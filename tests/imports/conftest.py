"""Where the libraries are not installed whose files are imported here, all of this is skipped."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tracked_tools import MUST, TOOLS

MISSING = sorted({tool.module for tool in TOOLS.values() if importlib.util.find_spec(tool.module) is None})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if MISSING and not MUST and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(f"{', '.join(MISSING)} not installed: make test-imports"))
