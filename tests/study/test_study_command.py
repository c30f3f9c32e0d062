"""Studies of a command: what is refused, and what names a trial."""

from __future__ import annotations

import pytest

from scalelab.errors import StudyError
from scalelab.plugins import load_plugins
from scalelab.records import Trial
from scalelab.study import expand, load_study, parse_study

HEAD = 'name = "mine"\n[command]\nrun = ["python", "train.py", "--w={width}"]\n'
SPACE = "[command.space]\nwidth = [1, 2]\n"


@pytest.fixture(scope="module")
def catalog():
    return load_plugins()


@pytest.fixture
def expanded(tmp_path, catalog):
    """Expands a study beside a script."""
    (tmp_path / "train.py").write_text("print(1)")

    def of(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return expand(load_study(path, catalog), catalog)

    return of


def test_a_grid_of_parameters_and_seeds(expanded, tmp_path):
    found = expanded(
        "seeds = [0, 1]\n" + HEAD + "options = { opt = 'adam' }\n" + SPACE + "n_examples = [10, 20]\n"
    )
    assert len(found.trials) == 8
    first = found.trials[0]
    assert first.architecture.params == {"opt": "adam", "width": 1, "n_examples": 10}
    assert (first.n_examples, first.dataset.name, first.script.command[0]) == (10, "mine", "python")
    assert (found.place.folder, found.place.program) == (str(tmp_path), "python")


def test_a_trial_reads_back_as_itself(expanded):
    for trial in expanded(HEAD + SPACE).trials:
        content = trial.model_dump(mode="json")
        assert "training" not in content
        assert Trial.model_validate(content).id == trial.id


def test_axes_are_columns_and_the_rest_is_options(expanded):
    axes = "axes = { n_params = 'width', optimizer = 'opt' }\n"
    trial = expanded(HEAD + axes + "options = { opt = 'adam', epochs = 3 }\n" + SPACE).trials[0]
    assert trial.optimizer.name == "adam"
    assert trial.script.axes == {"n_params": "width", "optimizer": "opt", "epochs": "epochs"}


def test_what_names_a_trial_and_what_does_not(expanded, tmp_path):
    def ids(text=HEAD + SPACE):
        return {trial.id for trial in expanded(text).trials}

    first = ids()
    assert ids(HEAD + "time_limit = 5\nenvironment = { A = 'b' }\nstop_seconds = 1\n" + SPACE) == first
    assert ids(HEAD.replace('"python"', '"/usr/bin/python"') + SPACE) == first
    assert not ids(HEAD.replace("--w", "--width") + SPACE) & first
    assert not ids(HEAD + "version = 1\n" + SPACE) & first
    assert not ids(HEAD.replace('"mine"', '"other"') + SPACE) & first
    (tmp_path / "train.py").write_text("print(2)")
    assert not ids() & first
    assert ids(HEAD + "files = ['train.py']\n" + SPACE) == ids()
    (tmp_path / "train.py").write_text("print(1)")
    assert ids() == first
    versioned = ids(HEAD + "version = 'a'\n" + SPACE)
    (tmp_path / "train.py").write_text("print(3)")
    assert ids(HEAD + "version = 'a'\n" + SPACE) == versioned


def test_draws_extend(expanded):
    space = "[command.space]\nlr = { type = 'float', low = 1e-4, high = 1e-1, log = true }\n"
    run = 'name = "mine"\n[command]\nrun = ["python", "train.py", "{lr}"]\n'
    few, more = (
        {trial.id for trial in expanded(run + space + f"[sampling]\nmethod = 'sobol'\nn = {n}\n").trials}
        for n in (4, 9)
    )
    assert len(more) == 9
    assert few < more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD.replace("{width}", "{widht}") + SPACE,
            "command.run[2] = '--w={widht}': no parameter 'widht'; did you mean 'width'?",
        ),
        (
            HEAD.replace("{width}", "{width") + SPACE,
            "command.run[2] = '--w={width': expected '}' before end of string",
        ),
        (
            HEAD.replace("{width}", "{width:d}") + SPACE,
            "a brace holds the name of a parameter and nothing else",
        ),
        (HEAD.replace("{width}", "{}") + SPACE, "a brace holds the name of a parameter and nothing else"),
        (
            HEAD.replace("{width}", "{width.real}") + SPACE,
            "a brace holds the name of a parameter and nothing else",
        ),
        (HEAD + "options = { width = 3 }\n" + SPACE, "command.space.width: is in options too"),
        (
            HEAD + SPACE + "seed = [1]\n",
            "command: the parameter 'seed': each trial has it already; see seeds",
        ),
        (HEAD + SPACE + '"a b" = [1]\n', "command: the parameter 'a b': must be a name such as width"),
        (
            HEAD + "axes = { n_parms = 'width' }\n" + SPACE,
            "command.axes.n_parms: no axis; did you mean 'n_params'",
        ),
        (HEAD + "axes = { n_params = 'w' }\n" + SPACE, "command.axes.n_params = 'w': no parameter"),
        (
            HEAD + "axes = { n_params = 'width' }\n[command.space]\nwidth = [1.5]\n",
            "n_params is width, which is 1.5; must be a whole number",
        ),
        (
            HEAD + "axes = { epochs = 'width' }\n[command.space]\nwidth = [0.0]\n",
            "epochs is width, which is 0.0; must be a number above 0",
        ),
        (HEAD + "axes = { optimizer = 'width' }\n" + SPACE, "optimizer is width, which is 1; must be a text"),
        (HEAD + "space = 'default'\n", "command.space = 'default': a command has none"),
        (
            HEAD + "options = { o = { a = 1 } }\n" + SPACE,
            "command.options.o = {'a': 1}: must be a number, a text or a list",
        ),
        (
            HEAD + "constraints = ['depth < 3']\n" + SPACE,
            "command.constraints: 'depth < 3' names 'depth', which is no parameter",
        ),
        (HEAD + "files = ['gone.py']\n" + SPACE, "command.files[0] = 'gone.py':"),
        (
            HEAD + "folder = '~nobody-xyz/y'\n" + SPACE,
            "command.folder = '~nobody-xyz/y': ~nobody-xyz/y: no home",
        ),
        (HEAD + "folder = 'gone'\n" + SPACE, "command.folder = 'gone': there is no folder"),
        (
            HEAD.replace("train.py", "-m mine") + SPACE,
            "command: nothing says when a changed script makes other trials",
        ),
        (HEAD + "time_limit = 0\n" + SPACE, "command.time_limit = 0: must be above 0"),
        (HEAD + "direction = 'up'\n" + SPACE, "command.direction = 'up': must be 'minimize' or 'maximize'"),
        (HEAD + "runs = 3\n" + SPACE, "command.runs: unknown key; did you mean 'run'?"),
        ('name = "mine"\n[command]\n', "command.run: missing"),
        ('name = "mine"\n[[command]]\n', "command: must be one table, [command]"),
        (HEAD + "metric = 'train_loss'\n" + SPACE, "command.metric = 'train_loss': has a meaning of its own"),
        (HEAD + "environment = { 'A=B' = '1' }\n" + SPACE, "command.environment.'A=B'"),
        (HEAD + 'environment = { A = "a\\u0000" }\n' + SPACE, "command.environment.A"),
        (HEAD + f"folder = '{'x' * 5000}'\n" + SPACE, "command.folder = "),
        (HEAD + "options = { o = [{ a = 1 }] }\n" + SPACE, "must be a number, a text or a list"),
        (HEAD + SPACE + "[dataset]\nname = 'mitbih'\n", "dataset: goes not with [command]"),
        (HEAD + SPACE + "[training]\nbatch_size = 3\n", "training: goes not with [command]"),
        (
            HEAD + SPACE + "[sampling]\nmethod = 'isoflop'\nbudgets = [1e9]\n",
            "the FLOPs of a command are not known before it runs",
        ),
        (
            HEAD + "[command.space]\nwidth = { type = 'int', low = 1, high = 200000 }\n",
            "more than 100,000 trials",
        ),
    ],
)
def test_what_is_wrong_is_one_line(text, message, expanded):
    with pytest.raises(StudyError) as caught:
        expanded(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("study.toml") == 1


def test_a_text_without_a_file_is_a_study_too(catalog):
    study = parse_study(HEAD + "version = 1\n" + SPACE, "mine", catalog)
    assert len(expand(study, catalog).trials) == 2
