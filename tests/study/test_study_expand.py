# ruff: noqa: E501 - a case a line
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from study_toys import CATALOG, toml

from scalelab.errors import DataError, PluginError, StudyError
from scalelab.records import Length
from scalelab.study import expand, parse_study

GRID = """
name = "grid"
seeds = [0, 1]
[dataset]
name = "blips"
[data]
sizes = [0.1, 500, "all"]
seed = 9
[[architecture]]
name = "mlp"
options = { depth = 1 }
space = { width = [8, 16], dropout = { type = "float", low = 0, high = 0.5 } }
[[architecture]]
name = "linear"
[[optimizer]]
name = "adam"
space = { lr = { type = "float", low = 1e-4, high = 1e-2, log = true } }
[[optimizer]]
name = "sgd"
[training]
length = { steps = 7 }
[sampling]
n = 3
"""


def trials_of(text):
    return expand(parse_study(text, "s.toml", CATALOG), CATALOG).trials


def test_a_grid_is_the_product_of_everything():
    trials = trials_of(GRID)
    found = {
        (
            trial.architecture.name,
            trial.architecture.params.get("width"),
            trial.architecture.params.get("dropout"),
            trial.optimizer.name,
            trial.optimizer.params["lr"],
            trial.n_examples,
            trial.seed,
        )
        for trial in trials
    }
    architectures = [("mlp", *point) for point in itertools.product((8, 16), (0.0, 0.25, 0.5))]
    architectures.append(("linear", None, None))
    optimizers = [("adam", 1e-4), ("adam", 1e-3), ("adam", 1e-2), ("sgd", 1e-3)]
    product = itertools.product(architectures, optimizers, (100, 500, 1000), (0, 1))
    assert found == {(*a, *o, n, seed) for a, o, n, seed in product}
    assert len(trials) == len(found) == 7 * 4 * 3 * 2
    assert all(trial.data_seed == 9 and trial.training.length == Length(steps=7) for trial in trials)


def test_each_run_may_draw_examples_of_its_own():
    assert "seed = 9" in GRID
    fixed, own = trials_of(GRID), trials_of(GRID.replace("seed = 9", 'seed = "run"'))
    assert [trial.model_copy(update={"data_seed": 9}) for trial in own] == list(fixed)
    assert {(trial.seed, trial.data_seed) for trial in own} == {(0, 0), (1, 1)}


@pytest.mark.parametrize("seed", ['"runs"', "-1", "0.5", "true"])
def test_other_seeds_of_the_permutation_are_refused(seed):
    with pytest.raises(StudyError, match=r"data\.seed"):
        trials_of(GRID.replace("seed = 9", f"seed = {seed}"))


def test_a_trial_is_fully_resolved():
    trial = trials_of(GRID)[0]
    assert trial.architecture.params == {
        "width": 8, "depth": 1, "depths": [2, 2], "dropout": 0.0, "norm": "layer", "groups": 1, "bias": True,
        "ratio": None,
    }  # fmt: skip
    assert trial.architecture.version == 3
    assert trial.optimizer.params == {"lr": 1e-4, "beta": 0.9}
    assert trial.dataset.params == {"n": 1000, "split": "random"}
    assert trial.fingerprint == "blips-1000"


def test_optimizers_may_have_schedules_of_their_own():
    own = 'name = "sgd"\ntraining = { schedule = "constant", warmup = 0, clip_norm = 2.5 }'
    trials = trials_of(GRID.replace('name = "sgd"', own))
    schedules = {
        (trial.optimizer.name, trial.training.schedule, trial.training.warmup, trial.training.clip_norm)
        for trial in trials
    }
    assert schedules == {("adam", "cosine", 0.05, 1.0), ("sgd", "constant", 0.0, 2.5)}
    assert {trial.training.length for trial in trials} == {Length(steps=7)}
    before = {trial.id for trial in trials_of(GRID) if trial.optimizer.name == "adam"}
    assert before == {trial.id for trial in trials if trial.optimizer.name == "adam"}


def test_one_optimizer_may_stand_with_two_schedules():
    twice = 'name = "sgd"\n[[optimizer]]\nname = "sgd"\ntraining = { schedule = "constant" }'
    trials = trials_of(GRID.replace('name = "sgd"', twice))
    assert {t.training.schedule for t in trials if t.optimizer.name == "sgd"} == {"cosine", "constant"}


def test_expanding_twice_gives_the_same_trials_in_the_same_order():
    assert [trial.id for trial in trials_of(GRID)] == [trial.id for trial in trials_of(GRID)]


def test_writing_a_default_or_a_comment_changes_no_identity():
    plain = trials_of(toml())
    spelled = trials_of(
        toml("# hello\n[training]\nbatch_size = 64").replace('"sgd"', '"sgd"\noptions = { lr = 0.001 }')
    )
    assert [trial.id for trial in plain] == [trial.id for trial in spelled]


def test_a_copy_of_a_trial_has_the_id_of_its_own_content():
    first, other = trials_of(toml())[0], 7
    assert first.model_copy(update={"seed": other}).id != first.id
    assert first.model_copy(update={"seed": other}).model_copy(update={"seed": first.seed}).id == first.id


def test_the_same_trial_from_two_points_is_one():
    text = toml('[data]\nsizes = [0.5, 500, "all", 1000]').replace('"sgd"', '"adam"\noptions = { lr = 1e-3 }')
    expansion = expand(parse_study(text, "s.toml"), CATALOG)
    assert sorted(trial.n_examples for trial in expansion.trials) == [500, 1000]
    assert expansion.merged == 2


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        (toml("[data]\nsizes = [5, 2000]"), StudyError, "data.sizes[1] = 2000: dataset 'blips' has only 1000 training examples"),
        (toml().replace('"blips"', '"blips"\noptions = { n = 0 }'), DataError, "dataset 'blips' has no train examples with these options"),
        (toml().replace('"blips"', '"broken"'), PluginError, "open() of dataset 'broken' raised ZeroDivisionError: division by zero"),
        (toml().replace('"blips"', '"missing"'), DataError, "dataset 'missing' cannot be opened: [Errno 2] No such file or directory: '/no/such'"),
        (toml().replace('"blips"', '"wrong"'), PluginError, "open() of dataset 'wrong' returned list, expected OpenDataset"),
        (toml().replace('"adam"', '"adam"\nspace = "default"'), StudyError, "sampling.n: missing; optimizer[0].space.lr is continuous, and a grid must know how many points to take of it"),
        (toml(architecture="[[architecture]]\nname='mlp'\nspace = { width = { type='int', low=1, high=4096 }, depth = { type='int', low=1, high=64 }, groups = { type='int', low=1, high=9 } }"), StudyError, "architecture[0].space: its grid has 2,359,296 points, 1,000,000 at most"),
        (toml(head='name="x"\nseeds = [' + ",".join(map(str, range(9000))) + "]", body="[data]\nsizes = [1,2,3,4,5,6]"), StudyError, "more than 100,000 trials; take fewer points, sizes or seeds"),
        (toml("[sampling]\nmethod = 'isoflop'\nbudgets = [1e9]"), StudyError, "sampling.method = 'isoflop': expand() needs its cost argument to know FLOPs"),
    ],
)  # fmt: skip
def test_what_cannot_be_expanded_gets_one_line(text, error, line):
    with pytest.raises(error) as caught:
        trials_of(text)
    assert str(caught.value).startswith(f"s.toml: {line}")


def test_a_tiny_fraction_is_one_example():
    trials = trials_of(toml("[data]\nsizes = [1e-9, 0.9999999]"))
    assert {trial.n_examples for trial in trials} == {1, 1000}


def test_a_grid_of_a_thousand_trials_is_as_large_as_its_factors_say():
    text = GRID.replace("seeds = [0, 1]", "seeds = [0, 1, 2, 3, 4, 5]")
    assert len(trials_of(text)) == 504
    text = text.replace("[8, 16]", "[8, 16, 32, 64]")
    assert len(trials_of(text)) == 936


def test_expanding_imports_no_torch():
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r}); from study_toys import *; "
        "from scalelab.study import expand, parse_study; expand(parse_study(toml(), 's'), CATALOG);"
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
