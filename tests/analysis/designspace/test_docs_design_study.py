"""docs/design-study.md says what examples/mitbih-design.duckdb holds."""

import re
import shutil
from pathlib import Path

import pytest
from scipy.stats import spearmanr

import scalelab

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/design-study.md").read_text(encoding="utf-8")
FEATURES = ("architecture_depth", "feature_n_stages", "n_params", "optimizer_lr")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    copy = tmp_path_factory.mktemp("store") / "mitbih-design.duckdb"
    shutil.copy(ROOT / "examples/mitbih-design.duckdb", copy)
    return scalelab.open_store(copy).runs()


def rows(n_columns):
    pattern = r"^\|" + r"([^|\n]+)\|" * n_columns + "$"
    return {tuple(cell.strip() for cell in row) for row in re.findall(pattern, PAGE, flags=re.MULTILINE)}


def test_all_trials_ran(runs):
    assert len(runs) == 180
    assert set(runs.status) == {"done"}


def test_losses(runs):
    expected = {
        (f"`{family}`", optimizer, *(f"{value:.3f}" for value in (group.min(), group.median(), group.max())))
        for (family, optimizer), group in runs.groupby(["architecture", "optimizer"]).loss
    }
    assert len(expected) == 9
    assert expected <= rows(5)


def test_correlations_of_regnets(runs):
    expected = set()
    for optimizer, group in runs[runs.architecture == "regnet1d"].groupby("optimizer"):
        found = [spearmanr(group[name], group.loss) for name in FEATURES]
        expected.add((optimizer, *(f"{rho:+.2f} (p {p:.2g})" for rho, p in found)))
    assert expected <= rows(5)
