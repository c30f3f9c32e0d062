"""The page on laws knows every form, estimator and interval."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalelab.analysis.fitting.estimators import ESTIMATORS
from scalelab.analysis.inference.intervals import METHODS
from scalelab.analysis.laws import LAWS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "laws.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*LAWS, *ESTIMATORS, *METHODS])
def test_the_page_names(name):
    assert f"`{name}`" in PAGE
