"""The ends of the link from loss to metric: known ones are used and said, free ones are asked for."""

from __future__ import annotations

import numpy as np
import pytest

import scalelab
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.quantities import loss_at
from scalelab.analysis.laws.sigmoid import SigmoidLink
from scalelab.errors import FitError
from scalelab.testing import LawContract

LOSS = np.linspace(1.6, 1.05, 40)


def accuracy(loss):
    """Four choices: a quarter by guessing, and the runs have seen no more than half of the way."""
    return 0.25 + 0.75 / (1 + np.exp(6 * (loss - 0.9)))


def test_a_known_ceiling_holds_where_the_runs_stop_far_below_it():
    rng = np.random.default_rng(1)
    truth, inside = accuracy(0.75), []
    for _ in range(60):
        y = accuracy(LOSS) + 0.01 * rng.standard_normal(LOSS.size)
        fit = fit_law("sigmoid", {"loss": LOSS}, y)
        low, high = fit.bootstrap(100, kind="residuals").interval(loss_at(fit, {"loss": [0.75]}))
        inside.append(low <= truth <= high)
    # At 90%, fewer than 47 of 60 have a chance of about 1 in 500.
    assert sum(inside) >= 47


def test_what_is_given_is_said_and_no_parameter():
    fit = fit_law(SigmoidLink(low=0.25), {"loss": LOSS}, accuracy(LOSS))
    assert fit.params == pytest.approx({"k": 6.0, "middle": 0.9}, rel=1e-6)
    assert fit.provenance()["fixed"] == {"low": 0.25, "high": 1.0}
    assert fit.law.equation == "metric = 0.25 + (1 - 0.25) / (1 + exp(k * (loss - middle)))"
    assert "fixed" in fit.to_json()
    assert fit_law("power", [1, 2, 3, 4], [4, 3, 2.5, 2.2]).provenance()["fixed"] == {}


def test_a_free_ceiling_is_estimated_on_request():
    loss = np.linspace(0.3, 3, 25)
    y = 0.1 + 0.7 / (1 + np.exp(3 * (loss - 1.5)))
    fit = fit_law(SigmoidLink(high=None), {"loss": loss}, y)
    assert fit.params == pytest.approx({"low": 0.1, "high": 0.8, "k": 3.0, "middle": 1.5}, rel=1e-6)
    assert fit.provenance()["fixed"] == {}


def test_an_error_rate_ends_at_zero():
    loss = np.linspace(0.3, 3, 25)
    y = 0.9 - 0.9 / (1 + np.exp(3 * (loss - 1.5)))
    fit = fit_law(SigmoidLink(high=0.0), {"loss": loss}, y)
    assert fit.params == pytest.approx({"low": 0.9, "k": 3.0, "middle": 1.5}, rel=1e-6)


def test_runs_beyond_the_known_ceiling_are_refused():
    for y in (accuracy(LOSS) * 100, 1 - accuracy(LOSS)):
        with pytest.raises(FitError, match=r"beyond 1, .*give the value of a perfect model"):
            fit_law("sigmoid", {"loss": LOSS}, y)
    for ends in ({"low": 1.0}, {"low": np.nan}):
        with pytest.raises(FitError, match="two different finite numbers"):
            SigmoidLink(**ends)


class Named(SigmoidLink):
    """A link under a name that the contract accepts."""

    name = "ended"


@pytest.mark.parametrize("ends", [(None, 1.0), (0.2, 1.0), (None, None)])
class TestContract(LawContract):
    @pytest.fixture
    def law(self, ends) -> scalelab.Law:
        return Named(*ends)

    @pytest.fixture
    def truth(self, law):
        known = {"low": 0.2, "high": 0.9, "k": 3.0, "middle": 1.2}
        return {name: known[name] for name in law.params}

    @pytest.fixture
    def x(self, law):
        return {"loss": np.linspace(0.3, 3, 25)}
