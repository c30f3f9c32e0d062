import itertools
import warnings

import numpy as np
import pytest
from study_toys import CATALOG

from scalelab.errors import StudyError
from scalelab.study import expand, parse_study
from scalelab.study.sampling import unit_rows

METHODS = pytest.mark.parametrize("method", ["random", "sobol"])


def study_text(method, n=20, seed=0, *, space=None, optimizers="", constraints="[]"):
    space = (
        space
        or "{ width = { type = 'int', low = 8, high = 512 }, depth = { type = 'int', low = 1, high = 60 } }"
    )
    return f"""
name = "drawn"
[dataset]
name = "blips"
[[architecture]]
name = "mlp"
space = {space}
constraints = {constraints}
[[optimizer]]
name = "adam"
space = {{ lr = {{ type = "float", low = 1e-4, high = 1e-2, log = true }} }}
{optimizers}
[sampling]
method = "{method}"
n = {n}
seed = {seed}
"""


def expansion_of(text):
    return expand(parse_study(text, "s.toml", CATALOG), CATALOG)


def designs(trials, optimizer="adam"):
    return [
        (trial.architecture.params["width"], trial.architecture.params["depth"])
        for trial in trials
        if trial.optimizer.name == optimizer
    ]


@METHODS
def test_draws_are_deterministic_and_depend_on_the_seed(method):
    first, again, other = (expansion_of(study_text(method, seed=seed)).trials for seed in (0, 0, 1))
    assert [trial.id for trial in first] == [trial.id for trial in again]
    assert {trial.id for trial in first}.isdisjoint(trial.id for trial in other)
    assert len(first) == 20


@METHODS
def test_optimizers_are_compared_on_the_same_architectures(method):
    more = '[[optimizer]]\nname = "sgd"\nspace = { beta = { type = "float", low = 0, high = 0.9 } }'
    trials = expansion_of(study_text(method, optimizers=more)).trials
    assert len(trials) == 40
    assert designs(trials, "adam") == designs(trials, "sgd")
    assert len({trial.optimizer.params["beta"] for trial in trials if trial.optimizer.name == "sgd"}) == 20


@METHODS
def test_growing_a_study_keeps_its_trials(method):
    """More points, or one more optimizer: what was trained stays part of the study."""
    small = {trial.id for trial in expansion_of(study_text(method, 20)).trials}
    more_points = {trial.id for trial in expansion_of(study_text(method, 50)).trials}
    more = '[[optimizer]]\nname = "sgd"\nspace = { beta = { type = "float", low = 0, high = 0.9 } }'
    more_optimizers = {trial.id for trial in expansion_of(study_text(method, 20, optimizers=more)).trials}
    assert small < more_points
    assert small < more_optimizers


@METHODS
def test_constraints_hold_by_drawing_again(method):
    text = study_text(method, 50, constraints="['width >= 8 * depth', 'width % 2 == 0']")
    found = designs(expansion_of(text).trials)
    assert len(found) == 50
    assert all(width >= 8 * depth and width % 2 == 0 for width, depth in found)


@METHODS
def test_an_impossible_space_is_refused(method):
    for constraint, count in (("width < depth - 60", "0 of"), ("width * 60 == 8 * depth", "[0-9] of")):
        with pytest.raises(
            StudyError, match=rf"^s.toml: architecture\[0\].constraints: {count} .* points drawn"
        ):
            expansion_of(study_text(method, constraints=f"['{constraint}']"))


@METHODS
def test_points_differ_and_a_small_space_gives_all_it_has(method):
    space = "{ width = [8, 16, 32], depth = [1, 2] }"
    text = study_text(method, 50, space=space).replace("space = { lr", "# { lr")
    expansion = expansion_of(text)
    assert set(designs(expansion.trials)) == set(itertools.product((8, 16, 32), (1, 2)))
    assert len(expansion.trials) == 6
    assert expansion.skipped == (
        "s.toml: architecture[0]: sampling.n = 50, but only 6 different points were found",
    )
    assert expansion.merged == 0


@METHODS
def test_without_dimensions_there_is_one_point(method):
    text = study_text(method, 50, space="{}").replace("space = { lr", "# { lr")
    expansion = expansion_of(text)
    assert len(expansion.trials) == 1
    assert expansion.skipped == ()


def test_sobol_fills_the_space_evenly_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = np.array(list(itertools.islice(unit_rows("sobol", 3, 2), 700)))
    cells = np.floor(rows[:256] * 16).astype(int)
    counts = np.bincount(cells[:, 0] * 16 + cells[:, 1], minlength=256)
    assert counts.max() <= 2  # random points put five or more into some cell of 256
    assert np.bincount(np.floor(rows[:256, 0] * 256).astype(int), minlength=256).max() == 1
    assert rows.min() >= 0
    assert rows.max() < 1


def test_wide_spaces_are_drawn_as_well():
    for method in ("random", "sobol"):
        rows = list(itertools.islice(unit_rows(method, 0, 130), 300))
        assert {len(row) for row in rows} == {130}
