# ruff: noqa: E501 - a case a line
"""Options that follow another number, and constraints across components."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_toys import CATALOG, toml, toy_cost

from scalelab.errors import StudyError
from scalelab.study import expand, parse_study
from scalelab.study.rules import Lookup, Power, rule_of

WIDTHS = '[[architecture]]\nname = "mlp"\nspace = { width = [8, 16, 64] }\n'


def adam(body, architecture=WIDTHS):
    return toml(architecture=architecture).replace('name = "adam"', f'name = "adam"\n{body}')


def trials_of(text, cost=toy_cost):
    return expand(parse_study(text, "s.toml", CATALOG), CATALOG, cost=cost)


def rates(text, scale="width"):
    """The learning rate of adam by width."""
    return {
        trial.architecture.params[scale]: trial.optimizer.params["lr"]
        for trial in trials_of(text).trials
        if trial.optimizer.name == "adam"
    }


def test_a_power_of_an_option_of_the_architecture():
    found = rates(adam('options = { lr = { at = 2e-3, scale = "width", power = -0.5, reference = 16 } }'))
    assert found == pytest.approx({8: 2e-3 * 2**0.5, 16: 2e-3, 64: 1e-3})
    assert rates(adam('options = { lr = { at = 8e-3, scale = "width", power = -1 } }')) == {
        8: 1e-3, 16: 5e-4, 64: 1.25e-4,
    }  # fmt: skip


def test_a_table_by_size():
    table = 'options = { lr = { scale = "width", values = { 8 = 4e-3, 16.0 = 2e-3, 64 = 1e-3 } } }'.replace(
        "16.0", '"16.0"'
    )
    assert rates(adam(table)) == {8: 4e-3, 16: 2e-3, 64: 1e-3}


def test_a_rule_follows_parameters_data_and_own_options():
    by_params = rates(
        adam('options = { lr = { at = 1e-2, scale = "n_params", power = -0.25, reference = 128 } }')
    )
    assert by_params[8] == pytest.approx(1e-2)  # depth 2 · width 8² = 128
    assert by_params[64] == pytest.approx(1e-2 * 64**-0.25)
    data = (
        adam('options = { lr = { at = 1e-3, scale = "n_examples", power = 0.5, reference = 100 } }')
        + "[data]\nsizes = [100, 400]\n"
    )
    found = {
        trial.n_examples: trial.optimizer.params["lr"]
        for trial in trials_of(data).trials
        if trial.optimizer.name == "adam"
    }
    assert found == pytest.approx({100: 1e-3, 400: 2e-3})
    own = adam('options = { beta = 0.5, lr = { at = 0.1, scale = "beta", power = 1 } }')
    assert set(rates(own).values()) == {0.05}


def test_whole_numbers_are_rounded():
    text = toml(
        architecture='[[architecture]]\nname = "mlp"\nspace = { depth = [1, 2, 3] }\noptions = { width = { at = 10, scale = "depth", power = 0.5 } }\n'
    )
    widths = {
        trial.architecture.params["depth"]: trial.architecture.params["width"]
        for trial in trials_of(text).trials
    }
    assert widths == {1: 10, 2: 14, 3: 17}


@given(st.floats(1e-6, 1e3), st.floats(-3, 3), st.integers(1, 10**6), st.integers(1, 10**6))
def test_powers_compose_and_pass_through_the_reference(at, power, scale, reference):
    rule = Power(at=at, scale="width", power=power, reference=reference)
    assert rule.value(reference) == pytest.approx(at, rel=1e-7)
    assert rule.value(scale) == pytest.approx(at * (scale / reference) ** power, rel=1e-6)
    assert float(f"{rule.value(scale):.8g}") == rule.value(scale)


def test_what_is_no_rule_is_left_alone():
    assert rule_of(0.1, "lr") is None
    assert rule_of({"at": 1, "power": 2}, "lr") is None
    assert isinstance(rule_of({"scale": "width", "values": {"4": 1}}, "lr"), Lookup)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('options = { lr = { at = 1e-3, scale = "widht", power = 1 } }', "optimizer[0].options.lr.scale = 'widht': there is no such number; did you mean 'width'?"),
        ('options = { lr = { at = 1e-3, scale = "width" } }', "optimizer[0].options.lr.power: missing"),
        ('options = { lr = { at = 1e-3, scale = "width", power = 99 } }', "optimizer[0].options.lr.power = 99: must be at most 10"),
        ('options = { lr = { at = "x", scale = "width", power = 1 } }', "optimizer[0].options.lr.at = 'x': must be a number"),
        ('options = { lr = { at = 1e-3, scale = "width", power = 1, refrence = 2 } }', "optimizer[0].options.lr.refrence: unknown key; did you mean 'reference'?"),
        ('options = { lr = { scale = "width", values = { eight = 1e-3 } } }', "optimizer[0].options.lr.values = {'eight': 0.001}: has the key 'eight'; its keys are scales"),
        ('options = { lr = { scale = "width", values = { 8 = 1e-3 } } }', "optimizer[0].options.lr: the table has no value for width = 16; it has 8"),
        ('options = { lr = { scale = "width", values = { 8 = 1e-3, "8.0" = 2e-3 } } }', "optimizer[0].options.lr.values = {'8': 0.001, '8.0': 0.002}: has two values for 8: 8 and 8.0"),
        ('options = { lr = { scale = "width", values = { nan = 1e-3 } } }', "optimizer[0].options.lr.values = {'nan': 0.001}: has the key 'nan'"),
        ('options = { lr = { scale = "width", values = { 8 = "x", 16 = 1, 64 = 1 } } }', "optimizer[0].options.lr = 'x': must be a number"),
        ('options = { lr = { at = 1e-3, scale = "norm", power = 1 } }', "optimizer[0].options.lr.scale = 'norm': it is 'layer' here, which is no number"),
        ('options = { lr = { at = 1e-3, scale = "lr", power = 1 } }', "optimizer[0].options.lr.scale = 'lr': it is not known before"),
        ('options = { lr = { at = 1e-3, scale = "width", power = 9 } }', "optimizer[0].options.lr = 134217.73: must be at most 1"),
        ('options = { rate = { at = 1e-3, scale = "width", power = 1 } }', "optimizer[0].options.rate: 'adam' has no such option"),
        ("constraints = ['lr * wdth < 1']", "optimizer[0].constraints: 'lr * wdth < 1' names 'wdth': 'adam' has no such option; did you mean 'width' or 'depth' or 'depths'?"),
        ('options = { lr = { at = 1e-3, scale = "width", power = 0.1 } }\nconstraints = ["lr * width < 1"]', "optimizer[0].constraints: 'lr * width < 1' names 'lr', which its rule sets"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_one_clear_line(body, line):
    with pytest.raises(StudyError) as caught:
        trials_of(adam(body))
    assert str(caught.value).startswith(f"s.toml: {line}")
    assert "\n" not in str(caught.value)


def test_the_value_at_the_reference_need_not_be_one_that_the_option_can_have():
    assert rates(adam('options = { lr = { at = 500, scale = "width", power = -4 } }'))[8] == pytest.approx(
        500 / 8**4
    )


def test_isoflop_chooses_networks_before_their_data():
    architecture = '[[architecture]]\nname = "mlp"\nspace = { width = [8, 16] }\noptions = { groups = { at = 1, scale = "n_examples", power = 0 } }\n'
    assert trials_of(toml(architecture=architecture)).trials
    with pytest.raises(StudyError, match=r"options\.groups\.scale = 'n_examples': there is no such number"):
        trials_of(toml('[sampling]\nmethod = "isoflop"\nbudgets = [1e9]\n', architecture=architecture))


def test_a_rule_on_parameters_needs_a_cost():
    with pytest.raises(StudyError, match="a rule follows n_params: expand\\(\\) needs its cost"):
        trials_of(adam('options = { lr = { at = 1e-3, scale = "n_params", power = -0.1 } }'), cost=None)


def test_a_constraint_may_name_another_component_and_what_it_removes_is_said():
    text = adam("space = { lr = [0.001, 0.01, 0.1] }\nconstraints = ['lr * width <= 0.2']")
    found = trials_of(text)
    own = [t for t in found.trials if t.optimizer.name == "adam"]
    pairs = {(t.architecture.params["width"], t.optimizer.params["lr"]) for t in own}
    assert pairs == {(8, 0.001), (8, 0.01), (16, 0.001), (16, 0.01), (64, 0.001)}
    assert len([t for t in found.trials if t.optimizer.name == "sgd"]) == 3
    (said,) = found.skipped
    assert (
        said
        == "s.toml: optimizer[0].constraints: 'lr * width <= 0.2': 4 of 12 points of the grid with mlp break it"
    )


def test_an_architectures_constraint_may_name_an_optimizers_option():
    architecture = WIDTHS + "constraints = ['width * lr <= 0.1']\n"
    own = trials_of(adam("space = { lr = [0.001, 0.01] }", architecture)).trials
    pairs = {(t.architecture.params["width"], t.optimizer.params["lr"]) for t in own}
    assert pairs == {(8, 0.001), (8, 0.01), (16, 0.001), (64, 0.001)}


def test_what_a_components_own_constraint_removes_is_said():
    found = trials_of(
        toml(architecture='[[architecture]]\nname = "mlp"\nspace = { width = [4, 8], depth = [1, 3] }\n')
    )
    assert (
        len({t.architecture.params["width"] * 100 + t.architecture.params["depth"] for t in found.trials})
        == 3
    )
    assert found.skipped == (
        "s.toml: architecture[0].constraints: 'width >= 2 * depth': 1 of 4 points of the grid break it",
    )


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_draws_satisfy_constraints_across_components(method):
    body = "space = { lr = { type = 'float', low = 1e-4, high = 1e-1, log = true } }\nconstraints = ['lr * width <= 0.2']"
    found = trials_of(adam(body, WIDTHS) + f"[sampling]\nmethod = '{method}'\nn = 30\n")
    own = [t for t in found.trials if t.optimizer.name == "adam"]
    assert len(own) == 30
    assert all(t.optimizer.params["lr"] * t.architecture.params["width"] <= 0.2 for t in own)
