"""A smaller space as a study file that expands."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from study_toys import CATALOG, toml

from scalelab.errors import InputError, StudyError
from scalelab.propose.space import Limit, cut_dimension, narrow, stored_study
from scalelab.space import Choice, Doubling, Float, Int
from scalelab.store import open_store
from scalelab.study import expand, parse_study

SPACE = """
[[architecture]]
name = "mlp"
options = { bias = true }
constraints = ["width >= 4 * depth"]
[architecture.space]
width = { type = "doubling", low = 8, high = 64 }
depth = { type = "int", low = 1, high = 12 }
dropout = { type = "float", low = 0.0, high = 0.5 }
norm = ["layer", "batch", "none"]
depths = [[1, 1], [2, 2], [3, 3]]
"""
SAMPLING = '[sampling]\nmethod = "sobol"\nn = 12\n'


def limit(option, low=None, high=None, values=(), component="architecture", owner="mlp"):
    return Limit(component, owner, option, low, high, values)


@given(st.data())
def test_a_cut_dimension_holds_every_value_between_its_limits(data):
    dimension = data.draw(
        st.sampled_from([
            Int(3, 50), Int(32, 128, 8), Int(1, 900, log=True), Float(1.1, 3.0, 0.1), Float(0.0, 0.5),
            Float(1e-5, 1e-1, log=True), Doubling(4, 512), Choice((1, 3, 9, 27)),
        ])
    )  # fmt: skip
    units = st.floats(0, 1, exclude_max=True)
    ends = sorted(dimension.from_unit(data.draw(units)) for _ in range(2))
    new = cut_dimension(dimension, limit("x", *ends))
    between = [v for v in (dimension.from_unit(i / 50) for i in range(50)) if ends[0] <= v <= ends[1]]
    drawn = [new.from_unit(i / 20) for i in range(20)]
    if dimension.continuous:
        assert isinstance(new, type(dimension))
        assert all(new.low <= value <= new.high for value in (*ends, *between))
        assert all(dimension.low <= value <= dimension.high for value in drawn)
    else:
        assert set(new.grid()) >= {*ends, *between}
        assert set(dimension.grid()) >= set(drawn)
    slack = 0 if isinstance(dimension, (Doubling, Choice)) or dimension.step else 0.2 * abs(ends[1])
    assert all(ends[0] - slack - 1e-9 <= value <= ends[1] + slack + 1e-9 for value in drawn)


def test_a_limit_outside_the_dimension_changes_nothing():
    assert cut_dimension(Int(1, 9), limit("x", 20, 30)) == Int(1, 9)
    assert cut_dimension(Doubling(8, 64), limit("x", 9, 15)) == Doubling(8, 64)
    assert cut_dimension(Choice(("a", "b")), limit("x", values=("c",))) == Choice(("a", "b"))


def test_the_study_with_the_smaller_space_expands(tmp_path):
    study = parse_study(toml(SAMPLING, architecture=SPACE), "toy", CATALOG)
    limits = [
        limit("width", 15, 64), limit("depth", 2, 3.5), limit("dropout", 0.123, 0.31),
        limit("norm", values=("layer", "batch")), limit("depths", values=("[1,1]",)),
        limit("lr", 1e-3, 5e-3, component="optimizer", owner="adam"),
    ]  # fmt: skip
    found = narrow(study, limits, tmp_path / "next.toml", CATALOG)
    new = parse_study(found.text, tmp_path / "next.toml", CATALOG)
    assert new.name == "toy-narrowed"
    assert new.architectures[0].space == {
        "width": Doubling(16, 64), "depth": Int(2, 4), "dropout": Float(0.12, 0.31),
        "norm": Choice(("layer", "batch")), "depths": Choice(((1, 1),)),
    }  # fmt: skip
    assert new.architectures[0].constraints == study.architectures[0].constraints
    assert new.architectures[0].options == {"bias": True}
    assert new.sampling == study.sampling
    assert new.optimizers == study.optimizers, "adam has no space in this study"
    trials = expand(new, CATALOG).trials
    assert len(trials) == found.n_trials == 24
    assert all(2 <= trial.architecture.params["depth"] <= 4 for trial in trials)
    assert found.changes[0] == "mlp width: 8 to 64 -> 16 to 64"
    assert found.text.startswith("# mlp width: 8 to 64 -> 16 to 64\n")


def test_a_components_own_space_is_written_out(tmp_path):
    architecture = '[[architecture]]\nname = "mlp"\nspace = "default"\n'
    study = parse_study(toml('[sampling]\nmethod = "grid"\n', architecture=architecture), "toy", CATALOG)
    found = narrow(study, [limit("width", 32, 64)], tmp_path / "next.toml", CATALOG)
    new = parse_study(found.text, tmp_path / "next.toml", CATALOG)
    assert new.architectures[0].space == {
        "width": Doubling(32, 64), "depth": Int(1, 4), "norm": Choice(("layer", "batch"))
    }  # fmt: skip
    assert found.n_trials < len(expand(study, CATALOG).trials)
    listed = parse_study(f'trials = ["{"0" * 16}"]\n{study.text}', "toy", CATALOG)
    assert narrow(listed, [limit("width", 32, 64)], tmp_path / "next.toml", CATALOG) == found


def test_nothing_to_narrow_is_one_line(tmp_path):
    study = parse_study(toml(SAMPLING, architecture=SPACE), "toy", CATALOG)
    for limits in ([], [limit("width", 8, 64)], [limit("width", 32, 64, owner="other")]):
        with pytest.raises(InputError, match="no dimension of the study can be narrowed") as caught:
            narrow(study, limits, tmp_path / "next.toml", CATALOG)
        assert "\n" not in str(caught.value)


def test_a_space_without_a_point_is_refused(tmp_path):
    study = parse_study(toml(SAMPLING, architecture=SPACE), "toy", CATALOG)
    with pytest.raises(StudyError, match="constraints"):
        narrow(study, [limit("width", 8, 8), limit("depth", 9, 12)], tmp_path / "next.toml", CATALOG)


def test_relative_locations_are_kept(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    text = toml(SAMPLING, architecture=SPACE).replace(
        'name = "blips"', 'name = "blips"\noptions = { path = "data" }'
    )
    study = parse_study(text, tmp_path / "old.toml", CATALOG)
    found = narrow(study, [limit("width", 32, 64)], tmp_path / "out" / "next.toml", CATALOG)
    new = parse_study(found.text, tmp_path / "out" / "next.toml", CATALOG)
    assert new.dataset.options == {"path": "../data"}
    lost = parse_study(text, tmp_path / "elsewhere" / "old.toml", CATALOG)
    with pytest.raises(StudyError, match="give the study file itself with --from"):
        narrow(lost, [limit("width", 32, 64)], tmp_path / "next.toml", CATALOG)


def test_the_stored_study_is_found(tmp_path):
    store = open_store(tmp_path / "runs.duckdb", create=True)
    assert stored_study(store, None, tmp_path, None) is None
    text = toml(SAMPLING, architecture=SPACE)
    trials = expand(parse_study(text, "toy", CATALOG), CATALOG).trials
    store.register("toy", text, trials)
    assert stored_study(store, None, tmp_path, None).path == tmp_path / "toy.toml"
    store.register("other", text.replace('"toy"', '"other"'), trials)
    with pytest.raises(InputError, match="has 2 studies: toy, other; choose one with --study"):
        stored_study(store, None, tmp_path, None)
    assert stored_study(store, "other", tmp_path, None).name == "other"
