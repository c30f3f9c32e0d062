"""The toy components of the tests of `execute`, for those on real clusters."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _toys():
    path = ROOT / "tests" / "execute" / "conftest.py"
    spec = importlib.util.spec_from_file_location("execute_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOYS = _toys()
Lab = TOYS.Lab
