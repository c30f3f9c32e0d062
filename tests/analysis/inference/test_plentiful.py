"""Fits of hundreds of rows: limits of large samples instead of simulations."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab import fit_law
from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference import exponent_test as tests
from scalelab.analysis.inference.covariance import covariance, plentiful, witnesses
from scalelab.analysis.inference.diagnostics import influence
from scalelab.analysis.inference.intervals import intervals, refits
from scalelab.analysis.inference.profile import N_CALIBRATE, _Profile, profile_intervals

TRUTH = {"E": 1.8, "alpha": 0.35, "beta": 0.37}


def grid(n: int, seeds: int) -> dict[str, np.ndarray]:
    cells = np.meshgrid(np.geomspace(1e7, 1e9, n), np.geomspace(2e8, 2e10, n))
    return {
        name: np.tile(axis.ravel(), seeds)
        for name, axis in zip(("n_params", "n_examples"), cells, strict=True)
    }


def fitted(
    seed: int, n: int = 8, seeds: int = 5, missed: float = 0.0, gain: float = 1.0, alpha: float = 0.35
) -> Fit:
    """Fits a known law, what it misses at a scale shared by all seeds of it."""
    x, rng = grid(n, seeds), np.random.default_rng(seed)
    clean = 1.8 + gain * 480 * x["n_params"] ** -alpha + 2100 * x["n_examples"] ** -0.37
    noise = 0.01 * rng.normal(size=clean.size) + missed * np.tile(rng.normal(size=n * n), seeds)
    fit = fit_law("chinchilla", x, clean * np.exp(noise))
    assert isinstance(fit, Fit)
    return fit


def test_hundreds_of_rows_at_many_scales_are_plentiful() -> None:
    assert plentiful(fitted(0))
    assert not plentiful(fitted(0, seeds=4))  # 256 rows
    assert not plentiful(fitted(0, n=6, seeds=10))  # 36 scales
    x = grid(8, 5)
    groups = np.arange(320) // 10
    grouped = fit_law("chinchilla", x, 2.0 + x["n_params"] ** -0.1, groups=groups)
    assert not plentiful(grouped.best if not isinstance(grouped, Fit) else grouped)


def test_repeats_of_plentiful_rows_are_one_witness_a_scale() -> None:
    fit = fitted(0)
    assert witnesses(fit) == 64
    assert witnesses(fitted(0, n=18, seeds=1)) == 324
    shared = np.sqrt(np.diag(covariance(fitted(0, missed=0.02))) / np.diag(covariance(fit)))
    assert (shared > 2.0).all()  # 2 x the noise of a run at each scale, of which five are averaged


def test_the_limits_are_as_wide_as_calibrated_intervals() -> None:
    names, ratios = ["alpha", "beta", "E"], []
    for seed in range(4):
        fit = fitted(seed)
        limits = profile_intervals(fit, names)
        profile = _Profile(fit, names)
        ends = profile.ends(profile.cuts(0.9, N_CALIBRATE, 0))
        widths = np.subtract(ends[1::2], ends[::2])
        ratios += [(high - low) / width for (low, high), width in zip(limits, widths, strict=True)]
    assert 0.9 < np.mean(ratios) < 1.2
    assert 0.6 < np.min(ratios) <= np.max(ratios) < 1.6


@pytest.mark.parametrize("missed", [0.0, 0.01])
def test_the_limits_cover_what_they_say(missed: float) -> None:
    held = []
    for seed in range(60):
        ends = profile_intervals(fitted(seed, missed=missed), list(TRUTH))
        held += [low <= true <= high for (low, high), true in zip(ends, TRUTH.values(), strict=True)]
    assert 0.78 < np.mean(held) < 0.98


def test_walds_test_says_what_simulations_say(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "b")
    for seed in range(3):
        pair = fitted(seed), fitted(seed + 50, gain=1.3)
        limit, worth = tests.exponent_test(*pair, names), tests.efficiency(*pair, names, 0.9)
        with monkeypatch.context() as small:
            small.setattr(tests, "plentiful", lambda fit: False)
            simulated, expected = tests.exponent_test(*pair, names), tests.efficiency(*pair, names, 0.9)
        assert limit.dof == simulated.dof == 2
        assert limit.p_lr == limit.p_bootstrap
        assert limit.p_bootstrap == pytest.approx(simulated.p_bootstrap, rel=0.7)
        assert worth is not None
        assert expected is not None
        for axis, one in expected.worth.items():
            assert worth.worth[axis].value == pytest.approx(one.value, rel=0.02)
            assert worth.worth[axis].ends == pytest.approx(one.ends, rel=0.03)


def test_walds_test_finds_exponents_that_differ() -> None:
    found = tests.exponent_test(fitted(0), fitted(1, alpha=0.25), ("a", "b"))
    assert found.p_bootstrap < 1e-6
    alike = [tests.exponent_test(fitted(2 * i), fitted(2 * i + 1), ("a", "b")).p_bootstrap for i in range(20)]
    assert np.mean(np.array(alike) < 0.1) <= 0.3


def test_refits_of_plentiful_rows_are_draws_around_the_fit() -> None:
    fit = fitted(0)
    found = refits(fit)
    assert found.kind == "normal"
    assert found.values("alpha").mean() == pytest.approx(fit.params["alpha"], abs=0.002)
    assert found.stderr("alpha") == pytest.approx(np.sqrt(covariance(fit)[3, 3]), rel=0.1)
    assert refits(fit, "residuals").stderr("alpha") == pytest.approx(found.stderr("alpha"), rel=0.3)


def test_no_row_of_plenty_is_left_out_by_itself() -> None:
    assert influence(fitted(0)) is None
    assert influence(fitted(0, seeds=2)) is not None


@pytest.mark.parametrize("n", [299, 400])
def test_a_parameter_at_its_bound_has_an_end_that_refits_have(n: int) -> None:
    held = 0
    for seed in range(6):
        x = np.geomspace(1e6, 1e9, n)
        noise = 0.02 * np.random.default_rng(seed).normal(size=n)
        fit = fit_law("power-offset", {"n_params": x}, 30 * x**-0.15 * np.exp(noise))
        ((low, high),) = intervals(fit, ["E"])
        ((_, refitted),) = intervals(fit, ["E"], method="residuals")
        held += "E" in fit.at_bounds
        assert 0 <= low <= fit.params["E"] <= high < 0.3
        assert 0.25 < high / refitted < 3
    assert held


@pytest.mark.parametrize("n", [40, 400])
def test_absolute_errors_have_intervals_as_wide_as_those_of_a_narrow_square(n: int) -> None:
    x = np.geomspace(1e6, 1e9, n)
    y = (1.5 + 281.8 * x**-0.35) * np.exp(0.01 * np.random.default_rng(n).normal(size=n))
    for method in ("auto", "covariance"):
        widths = [
            np.ptp(
                intervals(
                    fit_law("power-offset", {"n_params": x}, y, estimator=one), ["alpha"], method=method
                )
            )
            for one in ("lad", "log-huber")
        ]
        assert widths[0] == pytest.approx(widths[1], rel=0.15)
