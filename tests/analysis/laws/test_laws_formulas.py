"""Every law: its formula, its derivatives, its units, its documentation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from law_draws import DRAWS, design

from scalelab.analysis.laws import LAWS, get_law
from scalelab.errors import FitError, PluginError
from scalelab.law import Frame
from scalelab.plugins import Catalog, verify_component

quick = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def between(low, high, h):
    return low + (high - low) * h / (1 + h)


FORMULAS = {
    "power": lambda x, A, alpha: A * x**-alpha,
    "power-offset": lambda x, E, A, alpha: E + A * x**-alpha,
    "m3": lambda x, beta, c, gamma: beta * (1 / x + gamma) ** c,
    "bnsl": lambda x, E, b, c0, c1, d1, f1: E + b * x**-c0 * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1),
    "chinchilla": lambda n, d, E, A, B, alpha, beta: E + A * n**-alpha + B * d**-beta,
    "shared-exponent": lambda n, d, E, A, B, alpha: E + A * n**-alpha + B * d**-alpha,
    "outer-exponent": lambda n, d, E, A, B, alpha, beta, gamma: E + (A * n**-alpha + B * d**-beta) ** gamma,
    "saturating": lambda n, d, E, L0, a, b, alpha, beta: between(E, L0, a * n**-alpha + b * d**-beta),
    "saturating-overfit": lambda n, d, E, L0, a, b, c, alpha, beta, gamma, delta: between(
        E, L0, a * n**-alpha + b * d**-beta + c * n**gamma * d**-delta
    ),
    "kaplan-offset": lambda n, d, E, N_c, D_c, alpha_N, alpha_D: (
        E + ((N_c / n) ** (alpha_N / alpha_D) + D_c / d) ** alpha_D
    ),
    "interaction": lambda n, d, E, A, B, alpha, beta, c, kappa: (
        E + A * n**-alpha + B * n**c * d ** -(beta + kappa * np.log(n))
    ),
    "kaplan": lambda n, d, N_c, D_c, alpha_N, alpha_D: (
        ((N_c / n) ** (alpha_N / alpha_D) + D_c / d) ** alpha_D
    ),
    "loglog": lambda x, A, alpha: A * x**-alpha,
    "loss-to-loss": lambda x, E0, E1, K, kappa: K * (x - E0) ** kappa + E1,
    "annealing": lambda s1, s2, L0, A, alpha, C: L0 + A * s1**-alpha - C * s2,
    "step-law": lambda n, d, lr, E, A, B, alpha, beta, c, a, b, h: (
        (E + A * n**-alpha + B * d**-beta) * (1 + h * np.log(lr / (c * n**a * d**b)) ** 2)
    ),
    "sigmoid": lambda x, low, k, middle: low + (1 - low) / (1 + np.exp(k * (x - middle))),
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
@quick
@given(data=st.data())
def test_the_law_is_its_formula(name, data):
    params = data.draw(DRAWS[name])
    x = design(name)
    np.testing.assert_allclose(
        get_law(name).predict(params, x), FORMULAS[name](*x.values(), **params), rtol=1e-9
    )


@quick
@given(params=DRAWS["m4"])
def test_m4_solves_its_equation(params):
    x = design("m4")
    loss = get_law("m4").predict(params, x)
    left = (loss - params["E"]) / (params["E0"] - loss) ** params["alpha"]
    np.testing.assert_allclose(left, params["beta"] * x["n_params"] ** -params["c"], rtol=1e-6)


@quick
@given(params=DRAWS["data-constrained"])
def test_data_constrained_is_chinchilla_without_repeats_and_worth_less_with_them(params):
    x = design("data-constrained")
    once = {"n_params": np.full(5, 1e5), "n_examples": np.geomspace(1e7, 1e9, 5)}
    plain = get_law("chinchilla").predict({k: params[k] for k in ("E", "A", "B", "alpha", "beta")}, once)
    repeated = get_law("data-constrained").predict(params, once | {"epochs": np.ones(5)})
    np.testing.assert_allclose(repeated, plain, rtol=1e-9)
    loss = get_law("data-constrained").predict(params, x)
    fresh = get_law("chinchilla").predict(
        {k: params[k] for k in ("E", "A", "B", "alpha", "beta")},
        {"n_params": x["n_params"], "n_examples": x["n_examples"] * x["epochs"]},
    )
    assert (loss >= fresh * (1 - 1e-12)).all()


@pytest.mark.parametrize("name", sorted(DRAWS))
@quick
@given(data=st.data())
def test_derivatives_are_those_of_the_values(name, data):
    params = data.draw(DRAWS[name])
    law = get_law(name)
    x = design(name)
    frame = Frame.identity(len(x), log_axes=law.log_axes)
    u = frame.inward(list(x.values()))
    theta = law.internal(np.array([[params[key] for key in law.params]]))
    value, jac = law.value_jac(theta, u)
    for i in range(len(law.params)):
        step = 1e-6 * max(1.0, abs(theta[0, i]))
        up, down = theta.copy(), theta.copy()
        up[0, i] += step
        down[0, i] -= step
        numeric = (law.value_jac(up, u)[0] - law.value_jac(down, u)[0])[0] / (2 * step)
        # Where the useful model size crosses a row the data-constrained law has a kink; a few rows may
        # differ.
        wrong = np.abs(numeric - jac[0, i]) > 1e-5 * (np.abs(jac[0, i]) + np.abs(value[0]))
        assert wrong.mean() <= (0.05 if name == "data-constrained" else 0.0), law.params[i]


@pytest.mark.parametrize("name", sorted(DRAWS))
@quick
@given(data=st.data())
def test_public_parameters_do_not_depend_on_the_frame(name, data):
    params = data.draw(DRAWS[name])
    law = get_law(name)
    vector = np.array([params[key] for key in law.params])
    back = law.public(law.internal(vector[None]), Frame.identity(len(design(name)), log_axes=law.log_axes))
    np.testing.assert_allclose(back[0], vector, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_a_law_states_what_it_is(name):
    law = get_law(name)
    assert "=" in law.equation
    assert any(ch.isdigit() for ch in law.paper)
    assert type(law).__doc__
    assert len(type(law).__doc__) > 60
    assert set(law.exponents) <= set(law.params) or name == "sigmoid"


def test_an_unknown_law_is_answered_with_close_matches():
    with pytest.raises(FitError, match="did you mean 'chinchilla'"):
        get_law("chinchila")


def test_a_law_of_a_plugin_is_found_among_others_but_cannot_replace_one():
    class Twice(type(get_law("power"))):
        name = "twice"

    law = Twice()
    assert Catalog().with_components(law).law("twice") is law
    assert get_law("twice", {"twice": law}) is law
    assert get_law(law) is law
    assert get_law("power", {"power": law}) is LAWS["power"]
    with pytest.raises(FitError, match=r"unknown law 'twice'.*load_plugins\(\).law"):
        get_law("twice")


def test_a_law_that_lacks_a_part_is_refused():
    class Bad(type(get_law("power"))):
        name = "nameless"
        paper = ""

    class Odd(type(get_law("power"))):
        name = "odd"
        exponents = ("gamma",)

    for law, message in ((Bad(), "paper must be one line"), (Odd(), "'gamma', which is not a parameter")):
        with pytest.raises(PluginError, match=message):
            verify_component(law)
