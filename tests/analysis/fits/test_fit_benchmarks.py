"""The benchmarks of this room run, in a size that tests can afford."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.laws import get_law

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    """A script finds those in its own folder, as it does when it is run."""
    monkeypatch.syspath_prepend(FOLDER)


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("law", ["power-offset", "chinchilla"])
def test_coverage_counts_and_measures_widths(law):
    found = load("coverage").simulate(law, 0.01, 2, "covariance")
    assert list(found) == [*get_law(law).exponents, "loss at 10x"]
    assert all(0 <= coverage <= 1 and width > 0 for coverage, width in found.values())


def test_the_exhaustive_search_is_a_fair_baseline():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(10, 1000, 5), np.geomspace(1, 100, 5)))
    y = 1.8 + 3 * n**-0.35 + 1.2 * d**-0.37 + np.random.default_rng(0).normal(0, 0.005, 25)
    search = load("isoflops").exhaustive(n, d, y)
    ours = fit_law("chinchilla", {"n_params": n, "n_examples": d}, y, estimator="huber").objective
    assert ours <= search <= 1.05 * ours


def test_the_extrapolation_benchmark_scores_every_form_of_auto():
    from scalelab.analysis.inference.average import candidates

    assert {law.name for law in candidates(("x",))} | {"auto"} <= set(load("extrapolation").LAWS)


def test_the_memory_benchmark_finds_it_flat():
    fits, growth = load("refits_memory").measure(n=30, every=10)
    assert fits == 0
    assert growth < 5.0
