"""A table of candidates says scales, costs and components, or what is wrong with it."""

from __future__ import annotations

import pandas as pd
import pytest

from scalelab.api.candidates import candidate_table, chosen_kinds, kinds_of
from scalelab.errors import InputError
from scalelab.study import parse_study

AXES = ("n_params", "n_examples")
NAMES = {"dataset": ["text"], "architecture": ["A", "B"], "optimizer": ["o1"]}
HEAD = "n_params,n_examples,train_flops"


@pytest.fixture
def table(tmp_path):
    def write(head, *rows):
        path = tmp_path / "more.csv"
        path.write_text("\n".join((head, *rows)), encoding="utf-8")
        return path

    return write


def test_components_of_a_file_are_heard(table):
    path = table(f"{HEAD},architecture", "1e6,1e5,6e11,A", "3e5,1e4,18 GFLOP,B")
    pool = candidate_table(path, AXES, NAMES)
    assert pool["architecture"].tolist() == ["A", "B"]
    assert pool["train_flops"].tolist() == [6e11, 1.8e10]
    assert set(pool["dataset"]) == {"text"}
    assert chosen_kinds(pool, {"architecture": "B"})["n_params"].tolist() == [3e5]


@pytest.mark.parametrize(
    ("head", "row", "says"),
    [
        (
            HEAD,
            "1e6,1e5,6e11",
            "2 architectures \\(A, B\\); give the table .* a column architecture",
        ),
        ("n_params,n_examples", "1e6,1e5", "no column train_flops"),
        (HEAD, "1e6,,6e11", "row 1 of more.csv: n_examples"),
        (HEAD, "-1e6,1e5,6e11", "row 1 of more.csv: n_params"),
        (HEAD, "1e6,inf,6e11", "row 1 of more.csv: n_examples"),
        (HEAD, "some,1e5,6e11", "row 1 of more.csv: n_params"),
    ],
)
def test_what_is_wrong_is_one_line(table, head, row, says):
    with pytest.raises(InputError, match=says) as caught:
        candidate_table(table(head, row), AXES, NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "some"])
def test_a_scale_of_a_frame_is_a_positive_number(value):
    pool = pd.DataFrame({"n_params": [1e6, value], "n_examples": 1e5, "train_flops": 6e11})
    with pytest.raises(InputError, match="row 2 of the candidates: n_params"):
        candidate_table(pool, AXES, {})


def test_an_empty_component_is_refused():
    pool = pd.DataFrame({"n_params": [1e6], "n_examples": 1e5, "train_flops": 6e11, "architecture": [None]})
    with pytest.raises(InputError, match="row 1 of the candidates names no architecture"):
        candidate_table(pool, AXES, {})


def test_a_component_that_no_candidate_has_is_named():
    pool = pd.DataFrame({"architecture": ["A", "B"], "optimizer": ["o1", "o2"]})
    with pytest.raises(InputError, match="no candidate has the architecture 'C'; there are A, B"):
        chosen_kinds(pool, {"architecture": "C"})
    with pytest.raises(InputError, match="no candidate has all of A, o2"):
        chosen_kinds(pool, {"architecture": "A", "optimizer": "o2"})


def test_before_there_are_runs_the_study_says_the_components():
    command = 'name = "sim"\n[command]\nrun = ["true", "{optimizer}"]\nversion = 1\n'
    found = kinds_of(parse_study(command + 'space = { optimizer = ["a", "b"] }\n', "sim.toml"), None)
    assert (found["dataset"], found["optimizer"]) == (["sim"], ["a", "b"])
    assert kinds_of(None, None) == {}
