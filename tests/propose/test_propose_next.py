"""A study of chosen runs stands wherever it is wanted, and has these runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from study_toys import ARCHITECTURES, CATALOG, MlpParams

from scalelab.components import Architecture
from scalelab.params import Location
from scalelab.propose.next import considered, study_of_runs
from scalelab.study import expand, load_study, parse_study

STUDY = """
# what is said of the study alone
name = "toy"
seeds = [3, 1]

[dataset]
name = "blips"
options = { path = "data" }
space = { n = [600, 700] }
[data]
sizes = [0.5, "all"]

[[architecture]]
name = "started"   # kept
options = { weights = "w.pt" }
space = { width = [8, 16] }
[[architecture]]
name = "linear"

[[optimizer]]
name = "adam"
options = { lr = { at = 1e-3, scale = "n_examples", power = -0.5, reference = 300 } }
[[optimizer]]
name = "sgd"
"""


class StartedParams(MlpParams):
    weights: Location


@pytest.fixture
def study(tmp_path, monkeypatch):
    build = ARCHITECTURES["mlp"].build
    started = Architecture(name="started", summary="with weights", build=build, params=StartedParams)
    monkeypatch.setitem(ARCHITECTURES, "started", started)
    (tmp_path / "of" / "data").mkdir(parents=True)
    (tmp_path / "of" / "w.pt").write_text("1")
    (tmp_path / "of" / "toy.toml").write_text(STUDY)
    (tmp_path / "to").mkdir()
    return load_study(tmp_path / "of" / "toy.toml", CATALOG)


def test_what_is_relative_is_found_from_another_folder(study, tmp_path):
    whole = expand(considered(study), CATALOG).trials
    chosen = [whole[place] for place in (50, 3, 29, 17)]
    path = tmp_path / "to" / "next.toml"
    text = study_of_runs(chosen, study, path, CATALOG)
    batch = parse_study(text, path, CATALOG)
    assert expand(batch, CATALOG).trials == tuple(chosen)
    assert {trial.architecture.name for trial in chosen} == {"started", "linear"}
    assert batch.seeds == tuple(sorted({trial.seed for trial in chosen}))
    assert batch.dataset.options == {"path": "../of/data"}
    assert batch.architectures[0].options == {"weights": "../of/w.pt"}
    assert "# kept" in text
    assert "study alone" not in text
    assert batch.optimizers == study.optimizers


def test_draws_beyond_those_of_the_study_are_in_it(study, tmp_path):
    text = STUDY + '[sampling]\nmethod = "sobol"\nn = 2\n'
    drawn = parse_study(text.replace("[8, 16]", '{ type = "int", low = 2, high = 99 }'), study.path, CATALOG)
    own, wide = (expand(one, CATALOG).trials for one in (drawn, considered(drawn)))
    chosen = [trial for trial in wide if trial not in own][-3:]
    path = tmp_path / "to" / "next.toml"
    batch = parse_study(study_of_runs(chosen, drawn, path, CATALOG), path, CATALOG)
    assert expand(batch, CATALOG).trials == tuple(chosen)
