"""Draws of laws that their designs identify, shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

OF_SIZE_AND_DATA = (
    "chinchilla", "shared-exponent", "outer-exponent", "saturating", "saturating-overfit", "kaplan",
    "kaplan-offset", "interaction",
)  # fmt: skip
SCALES = np.geomspace(1e5, 1e9, 30)
CENTER = 1e7


def uniform(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=64)


def log_uniform(low: float, high: float) -> st.SearchStrategy[float]:
    return uniform(np.log(low), np.log(high)).map(lambda z: float(np.exp(z)))


def coefficient(exponent: float, level: float, center: float = CENTER) -> float:
    """A coefficient whose term has this level at the center of the scales."""
    return level * center**exponent


@st.composite
def power(draw):
    alpha = draw(uniform(0.03, 1.2))
    return {"A": coefficient(alpha, draw(log_uniform(0.2, 5))), "alpha": alpha}


@st.composite
def power_offset(draw):
    return {"E": draw(log_uniform(0.1, 3)), **draw(power())}


@st.composite
def m3(draw):
    c = draw(uniform(0.1, 1.2))
    return {
        "beta": coefficient(c, draw(log_uniform(0.2, 5))),
        "c": c,
        "gamma": 1 / draw(log_uniform(1e6, 1e9)),
    }


@st.composite
def m4(draw):
    c, low = draw(uniform(0.2, 1.0)), draw(log_uniform(0.05, 1))
    level = draw(log_uniform(0.3, 3))
    high = low + draw(log_uniform(1, 5))
    return {"E": low, "E0": high, "beta": coefficient(c, level), "c": c, "alpha": draw(log_uniform(0.3, 3))}


@st.composite
def bnsl(draw):
    c0 = draw(uniform(0.05, 0.5))
    return {
        "E": draw(log_uniform(0.05, 1)),
        "b": coefficient(c0, draw(log_uniform(0.3, 3))),
        "c0": c0,
        "c1": draw(uniform(0.1, 0.8)),
        "d1": draw(log_uniform(1e6, 1e8)),
        "f1": draw(log_uniform(0.2, 1.5)),
    }


@st.composite
def chinchilla(draw):
    alpha, beta = draw(uniform(0.15, 0.8)), draw(uniform(0.15, 0.8))
    return {
        "E": draw(log_uniform(0.3, 3)),
        "A": coefficient(alpha, draw(log_uniform(0.3, 3))),
        "B": coefficient(beta, draw(log_uniform(0.3, 3))),
        "alpha": alpha,
        "beta": beta,
    }


@st.composite
def shared_exponent(draw):
    alpha = draw(uniform(0.15, 0.8))
    return {
        "E": draw(log_uniform(0.3, 3)),
        "A": coefficient(alpha, draw(log_uniform(0.3, 3))),
        "B": coefficient(alpha, draw(log_uniform(0.3, 3))),
        "alpha": alpha,
    }


@st.composite
def outer_exponent(draw):
    alpha, beta, gamma = draw(uniform(0.15, 0.8)), draw(uniform(0.15, 0.8)), draw(log_uniform(0.4, 2))
    return {
        "E": draw(log_uniform(0.3, 3)),
        "A": coefficient(alpha / gamma, draw(log_uniform(0.5, 2)) ** (1 / gamma)),
        "B": coefficient(beta / gamma, draw(log_uniform(0.5, 2)) ** (1 / gamma)),
        "alpha": alpha / gamma,
        "beta": beta / gamma,
        "gamma": gamma,
    }


@st.composite
def saturating(draw):
    alpha, beta = draw(uniform(0.2, 0.8)), draw(uniform(0.2, 0.8))
    low = draw(log_uniform(0.3, 3))
    return {
        "E": low,
        "L0": low + draw(log_uniform(1, 5)),
        "a": coefficient(alpha, draw(log_uniform(0.2, 2))),
        "b": coefficient(beta, draw(log_uniform(0.2, 2))),
        "alpha": alpha,
        "beta": beta,
    }


@st.composite
def saturating_overfit(draw):
    one = draw(saturating())
    gamma, delta = draw(uniform(0.2, 0.6)), draw(uniform(0.4, 1))
    c = coefficient(delta - gamma, draw(log_uniform(0.2, 1)))
    first = {name: one[name] for name in ("E", "L0", "a", "b")}
    return first | {"c": c, "alpha": one["alpha"], "beta": one["beta"], "gamma": gamma, "delta": delta}


@st.composite
def interaction(draw):
    kappa, c, beta = draw(uniform(-0.04, 0.04)), draw(uniform(-0.2, 0.2)), draw(uniform(0.3, 0.7))
    alpha, middle = draw(uniform(0.2, 0.7)), float(np.log(CENTER))
    factor = np.log(draw(log_uniform(0.5, 2))) - (c - beta + kappa * middle) * middle
    return {
        "E": draw(log_uniform(0.3, 3)),
        "A": coefficient(alpha, draw(log_uniform(0.5, 2))),
        "B": float(np.exp(factor)),
        "alpha": alpha,
        "beta": beta - kappa * middle,
        "c": c + kappa * middle,
        "kappa": kappa,
    }


@st.composite
def kaplan(draw):
    # Where one term is lost beside the other its parameters cannot come back: the exponents stay near each
    # other and the terms balance within the grid.
    by_n = draw(uniform(0.08, 0.5))
    by_d = by_n * draw(log_uniform(0.6, 1.6))
    return {
        "N_c": CENTER * draw(log_uniform(0.7, 1.5)) ** (1 / by_n),
        "D_c": CENTER * draw(log_uniform(0.7, 1.5)) ** (1 / by_d),
        "alpha_N": by_n,
        "alpha_D": by_d,
    }


@st.composite
def kaplan_offset(draw):
    return {"E": draw(log_uniform(0.3, 3)), **draw(kaplan())}


@st.composite
def data_constrained(draw):
    # R_N shows only where models exceed what the unique data can use: equal terms keep that inside of the
    # grid.
    alpha = draw(uniform(0.25, 0.5))
    beta = alpha * draw(log_uniform(0.8, 1.25))
    return {
        "E": draw(log_uniform(0.3, 3)),
        "A": coefficient(alpha, draw(log_uniform(0.7, 1.5))),
        "B": coefficient(beta, draw(log_uniform(0.7, 1.5))),
        "alpha": alpha,
        "beta": beta,
        "R_D": draw(log_uniform(3, 40)),
        "R_N": draw(log_uniform(2, 20)),
    }


@st.composite
def seen_and_unique(draw):
    rates = {name: draw(uniform(0.15, 0.8)) for name in ("alpha", "beta", "gamma")}
    heights = {
        name: coefficient(rate, draw(log_uniform(0.3, 3)))
        for name, rate in zip("ABC", rates.values(), strict=True)
    }
    return {"E": draw(log_uniform(0.3, 3)), **heights, **rates}


@st.composite
def sigmoid(draw):
    return {
        "low": draw(uniform(0, 0.3)),
        "k": draw(log_uniform(1, 8)),
        "middle": draw(uniform(1, 2)),
    }


@st.composite
def loglog(draw):
    return {"A": draw(log_uniform(1, 10)), "alpha": draw(uniform(0.02, 1))}


@st.composite
def loss_to_loss(draw):
    return {
        "E0": draw(uniform(0.3, 1.2)),
        "E1": draw(uniform(0.3, 1.5)),
        "K": draw(log_uniform(0.5, 2)),
        "kappa": draw(uniform(0.5, 0.85) | uniform(1.2, 2)),
    }


@st.composite
def annealing(draw):
    return {
        "L0": draw(uniform(1.5, 3)),
        "A": draw(log_uniform(0.2, 1)),
        "alpha": draw(uniform(0.2, 1)),
        "C": draw(log_uniform(0.02, 0.5)),
    }


@st.composite
def step_law(draw):
    # The optimum moves by no more than the rates that are tried reach.
    a, b = draw(uniform(-0.2, 0.2)), draw(uniform(-0.2, 0.2))
    best = draw(log_uniform(0.5, 2)) * 1e-3
    optimum = {"c": best * CENTER ** -(a + b), "a": a, "b": b, "h": draw(log_uniform(0.005, 0.1))}
    return draw(chinchilla()) | optimum


@st.composite
def bnsl2(draw):
    one = draw(bnsl())
    place = draw(log_uniform(2e7, 2e8))
    # The second break may flatten the curve as well as steepen it, but the loss must not end by rising.
    flatter = min(0.4, one["c0"] + one["c1"] - 0.05)
    return one | {
        "d1": place / 30,
        "c2": draw(uniform(0.1, 0.6) | uniform(-flatter, -flatter / 4)),
        "d2": place,
        "f2": draw(log_uniform(0.2, 0.6)),
    }


def grid(*axes):
    return [column.ravel() for column in np.meshgrid(*axes)]


def design(law: str) -> dict[str, np.ndarray]:
    """Rows that identify the law."""
    if law in OF_SIZE_AND_DATA:
        n, d = grid(np.geomspace(1e5, 1e9, 6), np.geomspace(1e5, 1e9, 6))
        return {"n_params": n, "n_examples": d}
    if law in ("data-constrained", "seen-and-unique"):
        n, d, e = grid(
            np.geomspace(1e5, 1e9, 5), np.geomspace(1e5, 1e9, 5), np.array([1.0, 2, 4, 10, 40, 100])
        )
        return {"n_params": n, "n_examples": d, "epochs": e}
    if law == "step-law":
        n, d, lr = grid(np.geomspace(1e5, 1e9, 5), np.geomspace(1e5, 1e9, 5), np.geomspace(1e-4, 1e-2, 5))
        return {"n_params": n, "n_examples": d, "lr": lr}
    if law == "annealing":
        s1, s2 = grid(np.geomspace(0.3, 8, 12), np.array([0.0, 0.2, 0.5, 1.0, 2.0]))
        return {"S1": s1, "S2": s2}
    if law == "loss-to-loss":
        return {"loss": np.geomspace(1.4, 6, 40)}
    if law == "sigmoid":
        return {"loss": np.linspace(0.3, 3, 25)}
    if law.startswith("bnsl"):
        return {"n_examples": np.geomspace(1e5, 1e9, 60)}
    return {"n_params": SCALES}


DRAWS = {
    "power": power(),
    "power-offset": power_offset(),
    "m3": m3(),
    "m4": m4(),
    "bnsl": bnsl(),
    "bnsl2": bnsl2(),
    "chinchilla": chinchilla(),
    "shared-exponent": shared_exponent(),
    "outer-exponent": outer_exponent(),
    "saturating": saturating(),
    "saturating-overfit": saturating_overfit(),
    "kaplan": kaplan(),
    "kaplan-offset": kaplan_offset(),
    "interaction": interaction(),
    "data-constrained": data_constrained(),
    "seen-and-unique": seen_and_unique(),
    "loglog": loglog(),
    "sigmoid": sigmoid(),
    "loss-to-loss": loss_to_loss(),
    "annealing": annealing(),
    "step-law": step_law(),
}
