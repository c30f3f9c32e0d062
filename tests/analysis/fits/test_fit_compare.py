"""Families: tests of shared exponents, multipliers, crossings, and the sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from scalelab.analysis.fits.compare import Spent, compare, compare_fits
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.exponent_test import holm
from scalelab.errors import FitError

X = np.geomspace(1e15, 1e19, 25)


def family(level, alpha, offset=1.0, sigma=0.004, seed=0):
    y = offset + level * (X / 1e17) ** -alpha
    return X, y * np.exp(np.random.default_rng(seed).normal(0, sigma, X.size))


@pytest.fixture(scope="module")
def different():
    # The losses meet where 0.5 z^-0.2 = 0.6 z^-0.35, z = 1.2^(1/0.15) = 3.37.
    families = {"cnn": family(0.5, 0.2, 0.0), "transformer": family(0.6, 0.35, 0.0, seed=1)}
    return compare(families, "power", estimator="log-mse")


def test_different_exponents_are_found(different):
    (test,) = different.tests
    assert test.dof == 1
    assert test.p_lr < 1e-6
    assert test.p_bootstrap < 0.01
    gap = different.difference("cnn", "transformer", "alpha")
    assert gap.lower < 0.15 < gap.upper
    assert gap.lower > 0.1


def test_equal_exponents_are_not_told_apart():
    p_values = []
    for seed in range(12):
        pair = {"a": family(0.5, 0.3, seed=2 * seed), "b": family(0.7, 0.3, seed=2 * seed + 1)}
        (test,) = compare(pair, "power-offset", estimator="log-mse").tests
        p_values.append((test.p_lr, test.p_bootstrap))
    assert 0.1 < np.median(p_values) < 0.95
    assert (np.array(p_values) < 0.02).mean() <= 0.2


def test_the_multiplier_is_the_ratio_of_scales_at_equal_loss(different):
    found = different.multiplier("cnn", "transformer", 1e19)
    z = 1e19 / 1e17
    exact = (0.5 / (0.6 * z**-0.35)) ** (1 / 0.2) / z
    assert found.lower < exact < found.upper
    assert found.value == pytest.approx(exact, rel=0.2)
    assert different.multiplier("cnn", "cnn", 1e18).value == pytest.approx(1.0)


def test_laws_cross_where_their_losses_meet(different):
    (found,) = different.crossings("cnn", "transformer")
    assert found.winner == "transformer"
    assert found.scale.lower < 3.37e17 < found.scale.upper
    assert found.share == 1.0
    assert different.crossings("transformer", "cnn") == (found,)


def test_the_answer_is_a_sentence_with_numbers(different):
    text = different.sentence("cnn", "transformer")
    assert text.startswith("transformer scales better than cnn")
    assert "times less x" in text
    assert "From 1e+15 to 1e+19 x, where both were run, cnn has the lower loss, up to 3" in text
    assert "transformer beyond it; further out, up to " in text
    assert text.endswith("as far as the backtests reached, nothing changes.")
    back = different.sentence("transformer", "cnn")
    assert "scales worse" in back
    assert "cnn has the lower loss, up to 3" in back


@pytest.mark.parametrize(
    ("p", "wide", "said", "unsaid"),
    [
        (0.0004, False, "transformer scales better than cnn", ""),
        (0.0004, True, "does not scale measurably differently", "p = "),
        (0.6, False, "does not scale measurably differently", "interval"),
        (0.6, True, "does not scale measurably differently", ""),
    ],
)
def test_a_sentence_never_says_that_exponents_differ_and_that_they_do_not(different, p, wide, said, unsaid):
    """Of a test and an interval that say different things that alone is quoted which decides."""
    (test,) = different.tests
    value = different.value("cnn", "alpha")
    ends = {**different.ends, "cnn": {"alpha": (value - 0.5, value + 0.5)}} if wide else different.ends
    sentence = replace(different, tests=(replace(test, p_holm=p),), ends=ends).sentence("cnn", "transformer")
    assert said in sentence
    words = sentence.partition(". ")[0]
    assert not unsaid or unsaid not in words
    assert unsaid or ("interval" in words and "after Holm" in words)


def test_laws_that_cross_twice_cross_at_both_places_and_the_data_come_first():
    # A lies above B for small C, below in most of what was run, and above again far beyond.
    rng = np.random.default_rng(0)
    c = np.geomspace(1e15, 1e21, 25)

    def law(scale, offset, level, alpha):
        return offset + level * scale**-alpha

    a, b = (0.42, 530, 0.182), (0.347, 33, 0.109)
    both = compare(
        {
            name: ({"train_flops": c}, law(c, *own) * np.exp(0.002 * rng.standard_normal(c.size)))
            for name, own in (("A", a), ("B", b))
        }
    )
    truth = brentq(lambda scale: law(scale, *a) - law(scale, *b), 1e15, 1e20)
    inside, *beyond = both.crossings("A", "B")
    assert inside.winner == "A"
    assert inside.scale.value == pytest.approx(truth, rel=0.25)
    assert inside.scale.lower < inside.scale.value < inside.scale.upper
    low, high, horizon = both.span("A", "B")
    assert (low, high) == (pytest.approx(1e15), pytest.approx(1e21))
    assert all(high < one.scale.value <= horizon for one in beyond)
    text = both.sentence("A", "B")
    assert "From 1e+15 to 1e+21 FLOPs, where both were run, B has the lower loss, up to " in text
    assert "A beyond it" in text
    assert f"up to {horizon:.2g}, as far as the backtests reached" in text


def test_without_a_backtest_nothing_is_said_beyond_the_data():
    x = X[::8]
    pair = {name: (x, 0.3 + level * (x / 1e17) ** -0.3) for name, level in (("a", 0.5), ("b", 0.7))}
    found = compare(pair, "power-offset")
    low, high, horizon = found.span("a", "b")
    assert horizon == high > low
    assert found.crossings("a", "b") == ()
    text = found.sentence("a", "b")
    assert "where both were run, a has the lower loss; no backtest says what holds beyond." in text


def test_who_wins_without_a_crossing_is_said():
    far = compare({"a": family(0.5, 0.2, 1.0), "b": family(0.2, 0.3, 0.5, seed=1)}, "power-offset")
    assert far.crossings("a", "b") == ()
    assert "where both were run, b has the lower loss; further out, up to " in far.sentence("a", "b")


def test_families_that_share_no_scales_have_no_range_to_compare():
    moved = (1e6 * X, family(0.5, 0.3)[1])
    found = compare({"a": family(0.5, 0.3), "b": moved}, "power-offset")
    assert found.crossings("a", "b") == ()
    assert "They share no range of scales." in found.sentence("a", "b")


def test_pairs_are_corrected_by_holm(different):
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    three = compare(
        {"a": family(0.5, 0.2, 0.0), "b": family(0.5, 0.2, 0.0, seed=5), "c": family(0.6, 0.3, 0.0, seed=6)},
        "power",
    )
    assert len(three.tests) == 3
    assert all(test.p_holm >= test.p_bootstrap for test in three.tests)
    table = three.summary()
    assert list(zip(table["first"], table["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (table.lower <= table.difference).all()


def test_several_axes_are_tested_but_not_multiplied():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e10, 6)))
    rng = np.random.default_rng(0)

    def rows(alpha):
        clean = 1.5 + 1.0 * (n / 3e7) ** -alpha + 0.8 * (d / 1e9) ** -0.3
        return {"n_params": n, "n_examples": d}, clean * np.exp(rng.normal(0, 0.002, n.size))

    found = compare({"a": rows(0.3), "b": rows(0.5)}, "chinchilla")
    assert found.tests[0].dof == 2
    assert found.tests[0].p_bootstrap < 0.01
    with pytest.raises(FitError, match="compare along one"):
        found.sentence("a", "b")


def test_wrong_families_are_named():
    with pytest.raises(FitError, match="family 'b'"):
        compare({"a": family(0.5, 0.2), "b": (X[:2], [2.0, 1.9])})
    with pytest.raises(FitError, match="at least two"):
        compare({"a": family(0.5, 0.2)})


def power_rows(worth: float, alpha: float, seed: int, n: int = 20, sigma: float = 0.01):
    """Rows of 0.5 + 3 (worth x / 1e10)^-alpha."""
    x = np.geomspace(1e10, 1e14, n)
    noise = np.random.default_rng(seed).normal(0, sigma, n)
    return {"train_flops": x}, (0.5 + 3 * (worth * x / 1e10) ** -alpha) * np.exp(noise)


def test_an_efficiency_is_found_and_holds_its_truth() -> None:
    held, p = [], []
    for seed in range(12):
        pair = {"a": power_rows(1.0, 0.3, seed), "b": power_rows(3.0, 0.3, 100 + seed)}
        found = compare(pair).efficiency("a", "b")
        assert found is not None
        worth = found.worth["train_flops"]
        held.append(worth.ends[0] <= 3.0 <= worth.ends[1])
        p.append(found.p)
        assert worth.value == pytest.approx(3.0, rel=0.3)
    assert np.mean(held) >= 0.7
    assert np.mean(np.array(p) < 0.1) <= 0.3


def test_one_factor_is_refuted_where_exponents_differ() -> None:
    found = compare({"a": power_rows(1.0, 0.25, 0), "b": power_rows(1.0, 0.4, 1)})
    efficiency = found.efficiency("a", "b")
    assert efficiency is not None
    assert efficiency.p < 0.02
    assert "One factor for all scales is refuted" in found.sentence("a", "b")


def test_an_efficiency_can_be_read_either_way() -> None:
    found = compare({"a": power_rows(1.0, 0.3, 3), "b": power_rows(2.0, 0.3, 4)})
    there, back = found.efficiency("a", "b"), found.efficiency("b", "a")
    assert there is not None
    assert back is not None
    one, other = there.worth["train_flops"], back.worth["train_flops"]
    assert one.value * other.value == pytest.approx(1.0)
    assert one.ends[0] * other.ends[1] == pytest.approx(1.0)
    assert other.ends[0] <= other.value <= other.ends[1]


def test_laws_of_size_and_data_are_compared_at_their_optimum() -> None:
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    rng = np.random.default_rng(5)
    fits, spent = {}, {}
    for name, better in (("a", 1.0), ("b", 0.8)):
        loss = 1.5 + better * (400 * n**-0.35 + 2000 * d**-0.38)
        x = {"n_params": n, "n_examples": d}
        fits[name] = fit_law("chinchilla", x, loss * np.exp(rng.normal(0, 0.003, n.size)))
        spent[name] = Spent(6.0, 6 * float((n * d).min()), 6 * float((n * d).max()))
    found = compare_fits(fits, spent=spent)
    assert found.axis == "train_flops"
    assert found.exponents == ("gamma", "alpha", "beta")
    gamma = 0.35 * 0.38 / 0.73
    assert found.value("a", "gamma") == pytest.approx(gamma, rel=0.05)
    worth = found.multiplier("a", "b", 1e18)
    assert worth.ends[0] <= 0.8 ** (-1 / gamma) <= worth.ends[1]
    assert "b has the lower loss" in found.sentence("a", "b")
    assert set(found.summary()["exponent"]) == {"gamma", "alpha", "beta"}


def test_fits_that_have_nothing_in_common_are_refused():
    x, y = np.geomspace(1e4, 1e8, 12), family(0.5, 0.3)[1][:12]
    fits = {
        "size": fit_law("power-offset", {"n_params": x}, y),
        "m4": fit_law("m4", {"n_params": x}, y),
        "data": fit_law("power-offset", {"n_examples": x}, y),
        "auto": fit_law("auto", {"n_params": x}, y),
    }
    for other, words in {
        "m4": "families must share their law: size has power-offset, m4 m4",
        "data": "families must share their axes: size has n_params, data n_examples",
        "auto": "family 'auto': an average of forms",
    }.items():
        with pytest.raises(FitError, match=words):
            compare_fits({"size": fits["size"], other: fits[other]})
    with pytest.raises(FitError, match="at least two families, got 1"):
        compare_fits({"size": fits["size"]})


def test_the_worth_of_a_family_is_read_where_both_were_run(different):
    """The better family reaches what the worse one has there, not the worse what it never reached."""
    low, high, _ = different.span("cnn", "transformer")
    worth = different.worth("cnn", "transformer", high)
    back = different.worth("transformer", "cnn", high)
    assert worth.value > 1
    assert worth.value == pytest.approx(1 / back.value)
    assert worth.ends == pytest.approx(tuple(1 / end for end in back.ends[::-1]))
    same = different.losses(
        "transformer", different.fits["transformer"].draws(), np.log([high / worth.value])
    )
    assert same[0, 0] == pytest.approx(
        different.losses("cnn", different.fits["cnn"].draws(), np.log([high]))[0, 0]
    )
    assert low < high / worth.value < high
    assert f"It reaches the loss of cnn at {high:.3g} x with {worth.value:.2f}" in different.sentence(
        "cnn", "transformer"
    )
