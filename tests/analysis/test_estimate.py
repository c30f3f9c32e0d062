"""An estimate with its interval, and a refusal."""

import math

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal, attempt
from scalelab.analysis.runs.designs import Family
from scalelab.errors import FitError
from scalelab.jsonable import jsonable


def test_ends_that_are_not_finite_are_none():
    assert Estimate.of(2.0, -math.inf, math.nan) == (2.0, None, None)
    assert Estimate.of(2.0, 1.0, 3.0).ends == (1.0, 3.0)
    assert Estimate(2.0).ends == (-math.inf, math.inf)
    assert Estimate.first((np.array([2.0, 9.0]), np.array([1.0, 9.0]), np.array([np.inf, 9.0]))) == (
        2.0,
        1.0,
        None,
    )


def test_a_refusal_says_what_was_asked_and_why_not():
    refusal = Refusal({"family": Family("ecg", "mlp", "adam"), "axis": "n_params"}, "too few runs")
    assert str(refusal) == "dataset ecg, architecture mlp, optimizer adam, axis n_params: too few runs"
    assert jsonable(refusal) == {
        "dataset": "ecg", "architecture": "mlp", "optimizer": "adam", "axis": "n_params",
        "refusal": "too few runs",
    }  # fmt: skip


def test_a_refusal_has_the_remedies_of_its_error():
    def refuse():
        raise FitError("too few", ("sizes", "repeats"))

    found = attempt({"law": "power"}, refuse)
    assert isinstance(found, Refusal)
    assert found.remedies == {"sizes", "repeats"}
    assert Refusal({}, "no").remedies == frozenset()
