"""No trend beyond the scatter of the runs is no law."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.inference.trend import LEVEL, refuse_no_trend, trend_p
from scalelab.errors import FitError

N = np.geomspace(1e4, 1e7, 8)


def noise(n: int, seed: int, sigma: float = 0.01) -> np.ndarray:
    return np.exp(sigma * np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("n", [4, 6, 8, 16, 40])
def test_noise_is_taken_for_a_trend_as_often_as_the_level_says(n: int) -> None:
    x = {"n_params": np.geomspace(1e4, 1e7, n)}
    found = np.mean([trend_p(x, noise(n, seed)) <= LEVEL for seed in range(600)])
    assert LEVEL - 0.03 < found < LEVEL + 0.03


@pytest.mark.parametrize("n", [3, 4, 8, 30])
@pytest.mark.parametrize(("floor", "alpha"), [(0.0, 0.1), (1.0, 0.5), (1.0, 1.5)])
def test_a_law_is_a_trend_however_it_bends(n: int, floor: float, alpha: float) -> None:
    x = np.geomspace(1e4, 1e7, n)
    y = floor + (x / 1e4) ** -alpha
    p = trend_p({"n_params": x}, y * noise(n, 1, 0.003))
    assert p <= (LEVEL if n > 4 else 0.4)


def test_a_loss_that_falls_and_rises_again_has_a_trend() -> None:
    u = np.linspace(-1, 1, 9)
    assert trend_p({"n_params": np.exp(u)}, 1 + u**2 * noise(9, 3)) < LEVEL


def test_one_axis_is_tested_with_what_the_other_explains_taken_out() -> None:
    n, d = (axis.ravel() for axis in np.meshgrid(N, N))
    x = {"n_params": n, "n_examples": d}
    y = (1 + 100 * d**-0.5) * noise(n.size, 4)
    assert trend_p(x, y, along=("n_examples",)) < 1e-6
    assert trend_p(x, y, along=("n_params",)) > LEVEL


def test_a_trend_of_a_part_must_be_surer_where_the_whole_has_none() -> None:
    n, d = (axis.ravel() for axis in np.meshgrid(N[:4], N[:4]))
    y = noise(16, 0)
    largest = d == d.max()
    part = np.array([1.04, 1.032, 1.03, 1.026])
    y[largest] = part
    alone = {"n_params": n[largest]}
    assert trend_p(alone, part) < LEVEL
    refuse_no_trend(alone, part)
    with pytest.raises(
        FitError, match=r"no trend with n_params beyond the scatter of the runs \(p = 0\.\d+\)"
    ):
        refuse_no_trend(alone, part, ({"n_params": n, "n_examples": d}, y))


def test_a_part_that_is_too_few_to_be_sure_may_have_the_trend_of_the_whole() -> None:
    n, d = (axis.ravel() for axis in np.meshgrid(N[:4], N[:4]))
    y = (1 + (2e4 / d) ** 2 + 50 * n**-0.5) * noise(16, 5)
    part = n == n.max()
    alone = {"n_examples": d[part]}
    assert LEVEL < trend_p(alone, y[part]) < 0.25
    refuse_no_trend(alone, y[part], ({"n_params": n, "n_examples": d}, y))


@pytest.mark.parametrize("y", [[1.0] * 8, [2.0] * 4 + [2.0 + 1e-16] * 4])
def test_equal_losses_have_no_trend(y: list[float]) -> None:
    assert trend_p({"n_params": N}, np.array(y)) == 1.0


def test_losses_below_zero_are_compared_as_they_are() -> None:
    assert trend_p({"n_params": N}, -np.log(N) * noise(8, 2)) < LEVEL
    assert trend_p({"shift": np.arange(8.0) - 4}, np.arange(8.0) * noise(8, 2)) < LEVEL


def test_the_run_that_hides_a_trend_is_named() -> None:
    for n in (4, 6, 9):
        x = {"n_params": np.geomspace(1e4, 1e7, n)}
        y = (1 + 20 * x["n_params"] ** -0.3) * noise(n, 2, 0.003)
        y[-2] *= 30
        if trend_p(x, y) <= LEVEL:
            continue
        with pytest.raises(
            FitError, match=f"the run at n_params = {x['n_params'][-2]:.4g} is not like".replace("+", r"\+")
        ):
            refuse_no_trend(x, y)


@pytest.mark.parametrize("n", [4, 5, 8])
def test_noise_is_seldom_blamed_on_one_run(n: int) -> None:
    blamed, refused = 0, 0
    for seed in range(200):
        try:
            refuse_no_trend({"n_params": np.geomspace(1e4, 1e7, n)}, noise(n, seed))
        except FitError as error:
            refused += 1
            blamed += "is not like the others" in str(error)
    assert blamed <= 0.1 * refused
