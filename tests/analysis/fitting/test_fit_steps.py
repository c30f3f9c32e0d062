"""Steps of many quadratic models are those of one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.fitting.steps import damped_step


def test_many_steps_are_those_of_one_at_a_time():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(1000, 4, 9))
    hessian, gradient = rows @ rows.transpose(0, 2, 1), rng.normal(size=(1000, 4))
    lam, frozen = rng.uniform(1e-9, 1.0, 1000), rng.random((1000, 4)) < 0.2
    many = damped_step(hessian, gradient, lam, frozen)
    few = [
        damped_step(hessian[i : i + 1], gradient[i : i + 1], lam[i : i + 1], frozen[i : i + 1])
        for i in range(1000)
    ]
    assert many == pytest.approx(np.concatenate(few), rel=1e-7, abs=1e-12)
    assert (many[frozen] == 0).all()
