"""Repeats reach a fit as single runs: the noise of one run, and no more witnesses than scales."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.noise import noise
from scalelab.analysis.inference.simulator import simulator

SCALES = np.geomspace(1e5, 1e8, 10)


def rows(seeds: int, seed_noise: float, misfit: float, seed: int = 0):
    """Rows of a law with what a seed changes and what all seeds of a scale have in common."""
    rng = np.random.default_rng(seed)
    x = np.repeat(SCALES, seeds)
    shared = np.repeat(rng.normal(0, misfit, SCALES.size), seeds)
    return x, (1.0 + 300 * x**-0.4) * np.exp(shared + rng.normal(0, seed_noise, x.size))


def test_one_run_has_the_noise_of_one_run() -> None:
    estimates = [noise(fit_law("power-offset", *rows(5, 0.03, 0.0, seed))) for seed in range(20)]
    assert {one.source for one in estimates} == {"repeats"}
    assert np.mean([one.sigma for one in estimates]) == pytest.approx(0.03, rel=0.06)


def test_what_the_law_misses_is_part_of_a_run_elsewhere() -> None:
    found = [noise(fit_law("power-offset", *rows(5, 0.005, 0.05, seed))) for seed in range(10)]
    assert min(one.lack_of_fit or 0.0 for one in found) > 20
    assert np.mean([one.sigma for one in found]) == pytest.approx(0.005, rel=0.1)
    assert np.mean([one.elsewhere for one in found]) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize(("seed_noise", "misfit"), [(0.03, 0.0), (0.01, 0.03)])
def test_simulations_have_both_parts(seed_noise: float, misfit: float) -> None:
    own, shared = [], []
    for seed in range(20):
        fit = fit_law("power-offset", *rows(4, seed_noise, misfit, seed))
        drawn = simulator(fit).draw(fit.problem, np.random.default_rng(0), 400).y
        logs = (np.log(drawn) - np.log(drawn.mean(axis=0))).reshape(400, SCALES.size, 4)
        own.append(logs.var(axis=2, ddof=1).mean())
        shared.append(logs.mean(axis=2).var() - own[-1] / 4)
    assert np.sqrt(np.mean(own)) == pytest.approx(seed_noise, rel=0.1)
    assert np.sqrt(max(np.mean(shared), 0.0)) == pytest.approx(misfit, rel=0.25, abs=0.01)


def test_more_seeds_do_not_make_a_wrong_law_sure() -> None:
    def width(seeds: int) -> float:
        widths = []
        for seed in range(6):
            fit = fit_law("power-offset", *rows(seeds, 0.001, 0.03, seed))
            found = fit.predict([1e9], 0.9, method="profile")
            widths.append(float(np.log(found.upper / found.lower)[0]))
        return float(np.mean(widths))

    assert width(6) == pytest.approx(width(1), rel=0.5)


def test_repeats_of_a_scale_are_one_witness_of_the_shape() -> None:
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.normal(0, 0.03, SCALES.size), 8)
    x = np.repeat(SCALES, 8)
    y = 30 * x**-0.2 * np.exp(shared + rng.normal(0, 0.001, x.size))
    assert diagnose(fit_law("power", x, y)).runs_p > 0.01
