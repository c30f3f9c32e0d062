# ruff: noqa: E501 - a case a line
from pathlib import Path

import pytest
from study_toys import CATALOG, toml

from scalelab.errors import PluginError, StudyError
from scalelab.params import identity_of, locations
from scalelab.study import expand, load_study, parse_study


def mlp(body):
    return toml(architecture=f'[[architecture]]\nname = "mlp"\n{body}')


def adam(body):
    return toml().replace('name = "adam"', f'name = "adam"\n{body}')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (mlp("options = { widht = 8 }"), "architecture[0].options.widht: unknown key; did you mean 'width'? (known: width, depth, depths, dropout, norm, groups, bias, ratio)"),
        (mlp("options = { width = 0 }"), "architecture[0].options.width = 0: must be at least 1"),
        (mlp("options = { width = '8' }"), "architecture[0].options.width = '8': must be a whole number"),
        (mlp("options = { depths = 3 }"), "architecture[0]: 'mlp' cannot read its options: TypeError: object of type 'int' has no len()"),
        (mlp("options = { bias = 1 }"), "architecture[0].options.bias = 1: must be true or false"),
        (mlp("options = { bias = 'yes' }"), "architecture[0].options.bias = 'yes': must be true or false"),
        (mlp("options = { dropout = '0.5' }"), "architecture[0].options.dropout = '0.5': must be a number"),
        (mlp("options = { depths = [2, true] }"), "architecture[0].options.depths[1] = True: must be a whole number"),
        (mlp("options = { width = true }"), "architecture[0].options.width = True: must be a whole number"),
        (mlp("options = { depths = [2, 'a'] }"), "architecture[0].options.depths[1] = 'a': must be a whole number"),
        (mlp("options = { norm = 'batsch' }"), "architecture[0].options.norm = 'batsch': must be 'layer', 'batch' or 'none'; did you mean 'batch'?"),
        (mlp("options = { ratio = 'x' }"), "architecture[0].options.ratio = 'x': must be a number"),
        (mlp("options = { dropout = 1 }"), "architecture[0].options.dropout = 1: must be below 1"),
        (mlp("options = { width = 8, groups = 3 }"), "architecture[0]: groups must divide width"),
        (mlp("options = { width = 8, groups = 0, dropout = 3 }"), "architecture[0].options.dropout = 3: must be below 1 (and 1 more)"),
        (mlp("space = { widht = [8] }"), "architecture[0].space.widht: 'mlp' has no such option; did you mean 'width'? (it has width, depth, depths, dropout, norm, groups, bias, ratio)"),
        (mlp("space = { width = [8] }\noptions = { width = 8 }"), "architecture[0].space.width: is in options too; an option is a constant or varies"),
        (mlp("space = { width = { type = 'int', low = 0, high = 8 } }"), "architecture[0].space.width.low = 0: must be at least 1"),
        (mlp("space = { width = { type = 'doubling', low = 8, high = 9000 } }"), "architecture[0].space.width.high = 8192: must be at most 4096"),
        (mlp("space = { dropout = { type = 'float', low = 0, high = 1 } }"), "architecture[0].space.dropout.high = 1.0: must be below 1"),
        (mlp("space = { width = { type = 'float', low = 1.5, high = 8 } }"), "architecture[0].space.width.low = 1.5: must be a whole number"),
        (mlp("space = { norm = ['layer', 'grup'] }"), "architecture[0].space.norm.values[1] = 'grup': must be 'layer', 'batch' or 'none'"),
        (mlp("space = { depths = [[2, 2], [2, 0.5]] }"), "architecture[0].space.depths.values[1][1] = 0.5: must be a whole number"),
        (mlp("constraints = ['width > dept']"), "architecture[0].constraints: 'width > dept' names 'dept': 'mlp' has no such option; did you mean 'depth' or 'depths'?"),
        (mlp("constraints = ['norm > 1']"), "architecture[0]: constraint 'norm > 1': norm is 'layer'; only numbers are compared"),
        (mlp("constraints = ['width > 100']"), "architecture[0].constraints: none of the 1 points of the grid satisfies 'width >= 2 * depth', 'width > 100'"),
        (adam("options = { lr = 0 }"), "optimizer[0].options.lr = 0: must be above 0"),
        (adam("space = { lr = { type = 'float', low = 1e-3, high = 2 } }"), "optimizer[0].space.lr.high = 2.0: must be at most 1"),
        (toml(architecture="[[architecture]]\nname = 'needy'"), "architecture[0].options.size: missing"),
        (toml(architecture="[[architecture]]\nname = 'linear'\nspace = 'default'"), "architecture[0].space = 'default': 'linear' has no default space"),
        (toml(architecture="[[architecture]]\nname = 'linear'\noptions = { a = 1 }"), "architecture[0].options.a: unknown key (it has none)"),
        (toml().replace('"blips"', '"blips"\noptions = { path = "~nobody-xyz/y" }'), "~nobody-xyz/y: no home folder is known for ~nobody-xyz"),
        (toml().replace('"blips"', '"blips"\noptions = { split = "inter_patient" }'), "dataset.options.split = 'inter_patient': must be 'random' or 'inter-patient'; did you mean 'inter-patient'?"),
    ],
)  # fmt: skip
def test_options_and_dimensions_are_checked_against_the_component(text, line):
    with pytest.raises(StudyError) as caught:
        expand(parse_study(text, "s.toml", CATALOG), CATALOG)
    assert str(caught.value).startswith(f"s.toml: {line}")
    assert "\n" not in str(caught.value)


def test_everything_but_empty_grids_is_found_before_anything_is_opened():
    with pytest.raises(StudyError):
        parse_study(mlp("space = { width = [8, 0] }"), "s.toml", CATALOG)
    parse_study(mlp("space = { width = [8, 0] }"), "s.toml")


def test_a_relation_that_a_component_refuses_names_the_point():
    study = parse_study(mlp("space = { width = [8, 9], groups = [2] }"), "s.toml", CATALOG)
    with pytest.raises(StudyError) as caught:
        expand(study, CATALOG)
    assert str(caught.value) == (
        "s.toml: architecture[0]: groups must divide width (at the point {'width': 9, 'groups': 2})"
    )
    mended = mlp("space = { width = [8, 9], groups = [2] }\nconstraints = ['width % groups == 0']")
    assert len(expand(parse_study(mended, "s.toml"), CATALOG).trials) == 2


def test_a_component_s_wrong_constraint_is_the_plugin_s_fault():
    with pytest.raises(
        PluginError, match=r"^s: architecture\[0\]: 'wrong' brings a wrong constraint: 'width': must be"
    ):
        parse_study(toml(architecture="[[architecture]]\nname = 'wrong'"), "s", CATALOG)


def test_required_options_may_vary():
    text = toml(architecture="[[architecture]]\nname = 'needy'\nspace = { size = [1, 2] }")
    assert len(expand(parse_study(text, "s.toml", CATALOG), CATALOG).trials) == 4


def test_the_default_space_loses_the_options_that_are_constant():
    trials = expand(parse_study(mlp("space = 'default'\noptions = { width = 8 }"), "s"), CATALOG).trials
    params = [trial.architecture.params for trial in trials]
    assert {row["width"] for row in params} == {8}
    assert {row["depth"] for row in params} == {1, 2, 3, 4}
    assert {row["norm"] for row in params} == {"layer", "batch"}


def test_a_component_s_own_constraints_always_hold():
    text = mlp("space = { width = [2, 8], depth = [1, 4] }")
    trials = expand(parse_study(text, "s"), CATALOG).trials
    points = {(trial.architecture.params["width"], trial.architecture.params["depth"]) for trial in trials}
    assert points == {(2, 1), (8, 1), (8, 4)}


def test_locations_are_taken_from_the_study_s_folder_and_stay_out_of_identity(tmp_path, monkeypatch):
    def trial_and_path(file, location):
        file.parent.mkdir(exist_ok=True)
        file.write_text(toml().replace('"blips"', f'"blips"\noptions = {{ path = "{location}" }}'))
        found = expand(load_study(file, CATALOG), CATALOG)
        return found.trials[0], found.opened(found.trials[0]).params.path

    first, path = trial_and_path(tmp_path / "a" / "s.toml", "../data")
    assert path == tmp_path / "a" / ".." / "data"
    assert path.is_absolute()
    second, path = trial_and_path(tmp_path / "b" / "s.toml", "/elsewhere")
    assert path == Path("/elsewhere")
    assert first.id == second.id
    assert "path" not in first.dataset.params
    monkeypatch.setenv("HOME", "/home/somebody")
    assert trial_and_path(tmp_path / "s.toml", "~/data")[1] == Path("/home/somebody/data")
    monkeypatch.chdir(tmp_path / "a")
    (tmp_path / "a" / "s.toml").write_text(toml().replace('"blips"', '"blips"\noptions = { path = "d" }'))
    found = expand(load_study("s.toml"), CATALOG)
    assert found.opened(found.trials[0]).params.path == tmp_path / "a" / "d"


def test_an_optional_location_is_a_location():
    params = CATALOG.dataset("blips").params
    assert locations(params) == {"path"}
    assert set(identity_of(params())) == {"n", "split"}
