"""What refits cost belongs to the fit, and goes with it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.intervals import METHODS, refits

X = np.geomspace(1e5, 1e9, 12)
Y = (1 + 300 * X**-0.4) * np.exp(np.random.default_rng(0).normal(0, 0.01, X.size))


def asked(law="power-offset", **options):
    fit = fit_law(law, {"n_params": X}, Y, **options)
    fit.predict({"n_params": [1e10]}, 0.9)
    return fit


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_no_fit_outlives_its_last_reference(no_collection):
    fit = asked()
    for method in METHODS:
        if method != "clusters":
            fit.interval("alpha", method=method)
    fit.bootstrap(50).interval("alpha", method="bca")
    refits(fit)
    diagnose(fit)
    assert fit.backtest.errors
    known = weakref.ref(fit)
    del fit
    assert known() is None


def test_neither_does_an_average_of_laws(no_collection):
    auto = asked("auto")
    known = [weakref.ref(fit) for fit in (auto, *auto.fits.values())]
    del auto
    assert [one() for one in known] == [None] * len(known)


def test_refits_are_made_once_a_fit():
    fit = asked()
    assert refits(fit).draws is refits(fit).draws
    assert refits(fit).draws is not refits(fit, seed=1).draws
    assert refits(fit).draws is not refits(asked()).draws
