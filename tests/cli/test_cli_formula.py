"""Laws from one line of text, from the command line alone: import, analyze, predict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))

from reference_tables import REFERENCE, needs_reference

BENCH = REFERENCE / "scalebench"
PUBLISHED = {
    "moe": (
        "E + A*dense_parameter_count^-alpha*num_experts^-beta",
        {"loss": "loss_validation"},
        0.85,
    ),
    "vocab": (
        "E + A*non_vocab_parameters^-a + B*num_characters^-b + C*vocab_size^c",
        {"loss": "unigram_normalized_loss"},
        0.93,
    ),
    "data_constrained": (
        "auto",
        {"n_params": "params", "n_examples": "unique_tokens", "epochs": "tokens / unique_tokens"},
        0.97,
    ),
    "parallel": ("E + A*(n_params*(1 + k*log(parallel_size)))^-a", {"dataset": '"group"'}, 0.9999),
}


@needs_reference
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_law_of_one_line_predicts_the_costly_runs_of_scalebench(name, scalelab_command, tmp_path):
    law, mapping, at_least = PUBLISHED[name]
    store, train, test = (
        tmp_path / "runs.duckdb",
        BENCH / f"{name}_train.parquet",
        BENCH / f"{name}_test.parquet",
    )
    mapped = [f"--map={column}={expression}" for column, expression in mapping.items()]
    code, _, err = scalelab_command("import", train, "--store", store, *mapped)
    assert code == 0, err
    asked = ("--store", store, "--law", law)
    code, out, err = scalelab_command("analyze", *asked, "--no-trees", "--json")
    assert code == 0, err
    fitted = json.loads(out)["laws"]
    assert fitted
    # `auto` is asked along every axis, and the runs have no law of compute.
    assert law == "auto" or all(one["refusal"] is None for one in fitted)
    rows, axes = (
        test,
        [f"{mapping[axis]} as {axis}" for axis in ("n_params", "n_examples", "epochs") if axis in mapping],
    )
    if axes:
        rows = tmp_path / "rows.parquet"
        duckdb.sql(f"copy (select {', '.join(axes)} from '{test}') to '{rows}'")
    code, out, err = scalelab_command("predict", *asked, "--rows", rows, "--json")
    assert code == 0, err
    table = duckdb.sql(f"select *, '{name}_train' as all_runs from '{test}'").df()
    families = table["group" if "dataset" in mapping else "all_runs"].to_numpy()
    actual = table[mapping.get("loss", "loss")].to_numpy()
    found = json.loads(out)["forecasts"]
    predicted = np.full(len(actual), np.nan)
    for dataset in np.unique(families):
        # Every family answers for every row of the file, in its order.
        own = np.array([one["loss"]["value"] for one in found if one["dataset"] == dataset])
        predicted[families == dataset] = own[families == dataset]
    errors = predicted - actual
    assert 1 - (errors**2).sum() / ((actual - actual.mean()) ** 2).sum() >= at_least


PLUGIN = '''
import numpy as np
import scalelab


class Experts(scalelab.Law):
    """L = A * N^-alpha * X^-beta, X the number of experts."""

    name = "experts-power"
    equation = "L = A * N^-alpha * X^-beta"
    paper = "made for a test"
    axes = ("n_params", "n_experts")
    params = ("A", "alpha", "beta")
    exponents = ("alpha", "beta")
    coefficients = ("A",)

    def value_jac(self, theta, u):
        value = np.exp(theta[:, :1] - theta[:, 1:2] * u[0] - theta[:, 2:3] * u[1])
        return value, np.stack([value, -u[0] * value, -u[1] * value], axis=1)

    def bounds(self, u, y):
        return np.array([-50.0, 0.0, 0.0]), np.array([50.0, 10.0, 10.0])

    def starts(self, u, y):
        return np.array([[0.0, 0.2, 0.1], [0.0, 0.5, 0.5]])

    def public(self, theta, frame):
        c = frame.centers
        height = frame.y_scale * np.exp(theta[..., 0] + theta[..., 1] * c[0] + theta[..., 2] * c[1])
        return np.stack([height, theta[..., 1], theta[..., 2]], axis=-1)


@scalelab.hookimpl
def scalelab_laws():
    return [Experts()]
'''


@pytest.fixture
def store(tmp_path, scalelab_command):
    lines = [f"{n},{k},{40 * n**-0.2 * k**-0.1}" for n in (1e6, 1e7, 1e8, 1e9) for k in (1, 4, 16)]
    (tmp_path / "experts.csv").write_text("\n".join(["n_params,n_experts,loss", *lines]))
    path = tmp_path / "runs.duckdb"
    code, _, err = scalelab_command("import", tmp_path / "experts.csv", "--store", path)
    assert code == 0, err
    return path


def test_a_law_of_a_plugin_may_have_any_axes(store, tmp_path, scalelab_command):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "experts_plugin.py").write_text(PLUGIN)
    asked = ("--store", store, "--plugins-dir", folder, "--law", "experts-power", "--json")
    code, out, err = scalelab_command("analyze", *asked, "--no-trees")
    assert code == 0, err
    (law,) = json.loads(out)["laws"]
    assert law["params"]["beta"]["value"] == pytest.approx(0.1)
    code, out, err = scalelab_command("predict", *asked, "--at", "n_params=1e10", "--at", "n_experts=64")
    assert code == 0, err
    assert json.loads(out)["forecasts"][0]["loss"]["value"] == pytest.approx(40 * 1e10**-0.2 * 64**-0.1)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("E + A*n_params^", "expected a number, a name or a bracket"),
        ("E + A*__class__^-a", "'_' means nothing"),
        ("E + A*width^-a", "names no axis"),
        ("n_params * 2", "has no parameter"),
        ("1 + 2", "is a constant"),
        ("E + A*system(n_params)", "there is no function 'system'"),
        ("E + A*n_params^-a^" + "9^" * 60 + "9", "nested more than"),
    ],
)
def test_a_wrong_formula_is_one_line_and_code_2(store, scalelab_command, law, words):
    for command in (["analyze", "--no-trees"], ["predict", "--at", "n_params=1e9"]):
        code, out, err = scalelab_command(*command, "--store", store, "--law", law)
        assert code == 2
        assert out == ""
        assert err.splitlines()[-1].startswith("error: ")
        assert words in err.splitlines()[-1]


def test_a_law_of_a_plugin_that_fails_is_one_line(store, tmp_path, scalelab_command):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "experts_plugin.py").write_text(PLUGIN.replace("c = frame.centers", "c = frame.centres"))
    asked = ("--store", store, "--plugins-dir", folder, "--law", "experts-power")
    code, _, err = scalelab_command("predict", *asked, "--at", "n_params=1e10", "--at", "n_experts=64")
    assert code == 2
    assert "law 'experts-power' of a plugin fails: AttributeError: " in err.splitlines()[-1]
    assert "Traceback" not in err
