"""A study for a size that was never run: the search, the file, and what cannot be."""

from __future__ import annotations

import math

import pytest
from pydantic import Field, model_validator

import scalelab
from scalelab.errors import InputError, StudyError
from scalelab.measurements import Complexity
from scalelab.propose.budget import known_run, propose
from scalelab.propose.size import nearest
from scalelab.store import open_store
from scalelab.study import expand, parse_study
from scalelab.study.resolve import resolve

STUDY = """
name = "small"
[dataset]
name = "specks"
options = { folder = "specks" }
[data]
sizes = [20]
[[architecture]]
name = "stack"
options = { depth = 2 }
space = { width = { type = "doubling", low = 4, high = 16 } }
[[optimizer]]
name = "sgdx"
options = { lr = 0.2 }
[training]
length = { steps = 3 }
batch_size = 8
"""


class SpecksParams(scalelab.Params):
    folder: scalelab.Location


def open_specks(params):
    import numpy as np

    rng = np.random.default_rng(0)
    split = scalelab.Split(rng.normal(size=(32, 1, 16)).astype("float32"), np.arange(32) % 2)
    task = scalelab.Task(input_shape=(1, 16), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=split, fingerprint="specks")


class StackParams(scalelab.Params):
    width: int = Field(4, ge=1, le=300)
    depth: float = Field(1.0, gt=0, le=8)

    @model_validator(mode="after")
    def _narrow(self):
        if self.width == 77:
            raise ValueError("77 is unlucky")
        return self


def build_stack(params, input_shape, n_outputs):
    from torch import nn

    blocks = [nn.Linear(params.width, params.width) for _ in range(max(1, round(params.depth)))]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, params.width), *blocks, nn.Linear(params.width, n_outputs)
    )


class SgdxParams(scalelab.Params):
    lr: float = 0.1


def build_sgdx(params, module):
    import torch

    return torch.optim.SGD(module.parameters(), lr=params.lr)


def n_params(width, depth=2):
    return 17 * width + depth * width * (width + 1) + 2 * (width + 1)


@pytest.fixture(scope="module")
def catalog():
    return scalelab.load_plugins(select="").with_components(
        scalelab.Dataset(name="specks", summary="s", open=open_specks, params=SpecksParams),
        scalelab.Architecture(
            name="stack",
            summary="s",
            build=build_stack,
            params=StackParams,
            space={"width": scalelab.Doubling(4, 64)},
        ),
        scalelab.Optimizer(name="sgdx", summary="s", build=build_sgdx, params=SgdxParams),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "specks").mkdir()
    return tmp_path


@pytest.fixture
def study(folder):
    return parse_study(STUDY, folder / "small.toml")


def test_the_proposal_has_the_nearest_size_and_keeps_the_budget(study, folder, catalog):
    start = expand(study, catalog).trials[-1]
    target, path = n_params(50), folder / "sub" / "next.toml"
    found = propose(start, study, path, n_params=target, n_examples=25.4, budget=1e7, catalog=catalog)
    assert found.trial.architecture.params["width"] == 50
    assert found.cost.n_params == target
    assert found.trial.n_examples == 26
    assert found.trial.optimizer.params == {"lr": 0.2}
    assert found.train_flops == pytest.approx(1e7, rel=8 * found.cost.train_flops_per_example / 1e7)
    path.parent.mkdir()
    path.write_text(found.text)
    again = scalelab.load_study(path, catalog)
    trials = expand(again, catalog).trials
    assert trials[1] == found.trial
    assert [one.optimizer.params["lr"] for one in trials] == [0.1, 0.2, 0.4]
    assert again.dataset.options["folder"] == "../specks"


def test_examples_that_each_seed_draws_for_itself_stay_so(folder, catalog):
    text = STUDY.replace("sizes = [20]", 'sizes = [20]\nseed = "run"').replace(
        "[dataset]", "seeds = [3]\n[dataset]"
    )
    study = parse_study(text, folder / "small.toml")
    start = expand(study, catalog).trials[-1]
    path = folder / "next.toml"
    found = propose(start, study, path, n_params=n_params(50), n_examples=20, budget=1e7, catalog=catalog)
    assert parse_study(found.text, path).data.seed == "run"
    assert (found.trial.seed, found.trial.data_seed) == (3, 3)


def test_comments_stay_but_for_the_heading_of_the_other_study(folder, catalog):
    text = "# Why small?\n# Because.\n\n" + STUDY.replace("lr = 0.2 }", "lr = 0.2 } # found by hand")
    study = parse_study(text, folder / "small.toml")
    start, path = expand(study, catalog).trials[0], folder / "next.toml"
    found = propose(start, study, path, n_params=500, n_examples=25, budget=1e7, catalog=catalog)
    assert found.text.startswith("name = ")
    assert "# found by hand" in found.text


def test_all_examples_that_there_are_may_be_taken_and_no_more(study, folder, catalog):
    start = expand(study, catalog).trials[0]
    how = {"n_params": 500, "budget": 1e7, "catalog": catalog}
    found = propose(start, study, folder / "next.toml", n_examples=32.0 + 1e-9, **how)
    assert found.trial.n_examples == found.available == 32
    with pytest.raises(
        InputError, match="specks has 32 training examples, and the advice asks for 1,000,000"
    ):
        propose(start, study, folder / "next.toml", n_examples=1e6, **how)


def test_a_budget_below_one_step_is_refused(study, folder, catalog):
    start = expand(study, catalog).trials[0]
    with pytest.raises(InputError, match="does not pay for one step"):
        propose(start, study, folder / "n.toml", n_params=500, n_examples=9, budget=10.0, catalog=catalog)


def test_a_dataset_that_is_not_there_asks_for_the_study(study, folder, catalog):
    start = expand(study, catalog).trials[0]
    (folder / "specks").rmdir()
    missing = r"dataset.options.folder = 'specks' of study small does not exist.*--from"
    with pytest.raises(StudyError, match=missing):
        propose(start, study, folder / "n.toml", n_params=500, n_examples=9, budget=1e7, catalog=catalog)


def test_a_study_of_something_else_is_refused(study, folder, catalog):
    start = expand(study, catalog).trials[0]
    other = start.model_copy(update={"architecture": start.architecture.model_copy(update={"name": "net"})})
    with pytest.raises(StudyError, match=r"has no architecture 'net' on dataset 'specks'"):
        propose(other, study, folder / "n.toml", n_params=500, n_examples=9, budget=1e7, catalog=catalog)


@pytest.fixture
def architecture(study, catalog):
    return resolve(study, catalog).architectures[0]


def exact(options):
    width = StackParams(width=options.get("width", 16)).width
    return Complexity(n_params=n_params(width), forward_flops=1.0, train_flops_per_example=3.0)


def counted(architecture, target):
    calls = []

    def cost(options):
        calls.append(options)
        try:
            return exact(options)
        except ValueError as error:
            raise InputError(str(error)) from None

    return *nearest(target, {"width": 16}, architecture, cost), len(calls)


@pytest.mark.parametrize("width", [1, 3, 50, 76, 128, 290])
def test_a_width_is_found_in_a_few_tries(architecture, width):
    options, cost, tries = counted(architecture, n_params(width))
    assert options == {"width": width}
    assert cost.n_params == n_params(width)
    assert tries <= 12


def test_a_width_that_is_refused_gives_way_to_its_neighbor(architecture):
    options, _, _ = counted(architecture, n_params(77))
    assert options["width"] in (76, 78)


def test_bounds_of_the_component_hold(architecture):
    options, cost, _ = counted(architecture, n_params(360))
    assert options["width"] <= 300
    assert cost.n_params > n_params(200)
    with pytest.raises(StudyError, match="no value of width gives about"):
        counted(architecture, n_params(3000))


def test_a_giant_is_refused_before_it_is_built(architecture):
    with pytest.raises(InputError, match="does not fit into the"):
        counted(architecture, 1e15)


def test_a_size_that_nothing_changes_is_refused(study, catalog, folder):
    from dataclasses import replace

    text = STUDY.replace("space = { width", "#").replace('name = "stack"', 'name = "rigid"')
    rigid = replace(catalog.architecture("stack"), name="rigid", space={"width": scalelab.Choice(["a"])})
    architecture = resolve(
        parse_study(text, folder / "s.toml"), catalog.with_components(rigid)
    ).architectures[0]
    with pytest.raises(StudyError, match="no numeric option varies"):
        counted(architecture, 500)


@pytest.mark.parametrize(
    "space",
    [
        'width = { type = "choice", values = [4, 8] }',
        "width = [4, 8]",
        'depth = { type = "float", low = 1.0, high = 1.2 }',
        "depth = [1.0, 1.2]\nwidth = 4",
    ],
)
def test_a_list_and_a_constant_can_be_varied(catalog, folder, space):
    table, _, constant = space.partition("\n")
    text = STUDY.replace('width = { type = "doubling", low = 4, high = 16 }', table)
    text = text.replace("{ depth = 2 }", f"{{ {constant} }}" if "depth" in table else "{ depth = 2 }")
    architecture = resolve(parse_study(text, folder / "s.toml"), catalog).architectures[0]
    options, cost, _ = counted(architecture, n_params(50))
    assert options == {"width": 50}
    assert cost.n_params == n_params(50)


def test_a_fraction_is_found(study, catalog, folder):
    text = STUDY.replace("options = { depth = 2 }\n", "").replace(
        'width = { type = "doubling", low = 4, high = 16 }',
        'depth = { type = "float", low = 0.5, high = 4.0 }',
    )
    architecture = resolve(parse_study(text, folder / "s.toml"), catalog).architectures[0]

    def cost(options):
        return Complexity(
            n_params=round(1000 * options["depth"]), forward_flops=1.0, train_flops_per_example=3.0
        )

    options, found = nearest(5300, {"depth": 1.0}, architecture, cost)
    assert math.isclose(options["depth"], 5.3, rel_tol=0.02)
    assert abs(found.n_params - 5300) < 120


def test_a_run_is_found_with_its_study(study, folder, catalog):
    store = open_store(folder / "s.duckdb", create=True)
    trials = expand(study, catalog).trials
    store.register("small", STUDY, trials)
    trial, known = known_run(store, trials[0].id, folder, None)
    assert trial == trials[0]
    assert known.name == "small"
    assert known.path.parent == folder
    (folder / "other.toml").write_text(STUDY.replace('"small"', '"other"'))
    assert known_run(store, trials[0].id, folder, folder / "other.toml")[1].name == "other"
    with pytest.raises(InputError, match="was imported"):
        known_run(store, "none", folder, None)


@pytest.mark.filterwarnings("error")
def test_the_rule_and_the_sweep_of_a_run_are_copied_not_its_values(tmp_path):
    from scalelab import load_plugins
    from scalelab.propose.budget import run_values, written
    from scalelab.study import expand, parse_study

    catalog = load_plugins()
    text = """
name = "tuned"
[dataset]
name = "synthetic-ecg"
options = { n_train = 50, n_validation = 20, n_test = 0 }
[[architecture]]
name = "convnext1d"
space = { width = [4, 8] }
[[optimizer]]
name = "adamw"
options = { weight_decay = { at = 0.1, scale = "width", power = -1 } }
tune = { lr = { start = 4e-3, factor = 3, most = 5 } }
[[optimizer]]
name = "sgd"
tune = { lr = { start = { at = 0.4, scale = "width", power = -0.5 } } }
[training]
length = { steps = 5 }
"""
    study = parse_study(text, tmp_path / "tuned.toml", catalog)
    trials = expand(study, catalog).trials
    adamw = next(one for one in trials if one.optimizer.params["lr"] == 0.012)
    values = run_values(adamw, study, tmp_path / "next.toml", catalog)
    (entry,) = values["optimizer"]
    assert entry["tune"] == {"lr": {"start": 0.012, "factor": 3.0, "most": 5}}
    assert entry["options"]["weight_decay"] == {"at": 0.1, "scale": "width", "power": -1}
    assert "lr" not in entry["options"]
    _, expansion = written(values, study, tmp_path / "next.toml", catalog)
    assert [one.optimizer.params["lr"] for one in expansion.trials] == [0.004, 0.012, 0.036]
    assert {one.training.warmup for one in expansion.trials} == {0.2}
    sgd = next(one for one in trials if one.optimizer.name == "sgd")
    values = run_values(sgd, study, tmp_path / "next.toml", catalog)
    rule = {"at": 0.4, "scale": "width", "power": -0.5}
    assert values["optimizer"][0]["tune"]["lr"]["start"] == rule
    assert expand(parse_study(written(values, study, tmp_path / "n.toml", catalog)[0]), catalog).sweeps
