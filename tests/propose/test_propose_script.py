"""A study of the run of a command that an advice recommends."""

from __future__ import annotations

import pytest

import scalelab
from scalelab.errors import InputError, StudyError

SCRIPT = """
import json, sys
width, depth, n = map(int, sys.argv[1:])
size = 10 * width * width * depth
loss = 0.5 + 20 * size**-0.4 + 15 * n**-0.45
print(json.dumps({"loss": loss, "n_params": size}))
"""
STUDY = """# the head of the file
name = "mine"

[command]
run = ["{{python}}", "train.py", "{{width}}", "{{depth}}", "{{n}}"]
axes = {{ n_examples = "n"{axes} }}

[command.space]
width = [4, 8, 16]   # kept
depth = [1, 2]
n = [1000, 2000, 4000]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("script")
    (folder / "train.py").write_text(SCRIPT)
    path = folder / "study.toml"
    path.write_text(STUDY.format(axes=""))
    assert scalelab.run_study(path, folder / "x.duckdb", workers=2).complete
    return folder


def advised(folder, budget=1e9):
    runs = scalelab.finished_runs(folder / "x.duckdb")
    return runs, scalelab.advise(runs, budget)


def test_the_parameter_that_raises_the_size_is_followed(made):
    runs, advice = advised(made)
    target = made / "next.toml"
    proposal = scalelab.propose_run(advice, runs, made / "x.duckdb", target, study_file=made / "study.toml")
    params = proposal.trial.architecture.params
    best = advice.families[0]
    size = 10 * params["width"] ** 2 * params["depth"]
    assert size == pytest.approx(best.n_params.value, rel=0.05)
    assert params["n"] == pytest.approx(best.n_examples, rel=1e-3)
    assert proposal.chosen == {"width": params["width"], "n": params["n"]}
    text = target.read_text()
    assert "# the head of the file" not in text
    assert scalelab.run_study(target, made / "x.duckdb").done == 1
    (loss,) = scalelab.open_store(made / "x.duckdb").runs("mine-advised-1e09").loss
    expected = scalelab.expected_loss(advice, proposal)
    assert loss == pytest.approx(expected.value, rel=2e-3)


def test_another_folder_of_the_file_is_another_way_to_the_script(made, tmp_path):
    runs, advice = advised(made)
    proposal = scalelab.propose_run(
        advice, runs, made / "x.duckdb", tmp_path / "next.toml", study_file=made / "study.toml"
    )
    assert (tmp_path / scalelab.load_study(proposal.path).command.folder / "train.py").exists()
    deep = tmp_path / "deep" / "er" / "next.toml"
    scalelab.propose_run(advice, runs, made / "x.duckdb", deep, study_file=made / "study.toml")
    assert scalelab.plan_study(deep).trials
    with pytest.raises(InputError, match=r"command: nothing says when|files|there is no folder|--from"):
        scalelab.propose_run(advice, runs, made / "x.duckdb", tmp_path / "deep" / "next.toml")


def test_a_size_that_no_parameter_raises_is_refused(made, tmp_path):
    text = (made / "study.toml").read_text().replace('"{width}", "{depth}"', '"4", "1"')
    text = text.replace("width = [4, 8, 16]   # kept\ndepth = [1, 2]\n", "").replace('"mine"', '"fixed"')
    runs, advice = advised(made)
    path = tmp_path / "study.toml"
    path.write_text(text)
    (tmp_path / "train.py").write_text(SCRIPT)
    with pytest.raises(StudyError, match="it has no command of the name 'mine'"):
        scalelab.propose_run(advice, runs, made / "x.duckdb", tmp_path / "next.toml", study_file=path)
    assert not (tmp_path / "next.toml").exists()


def test_runs_that_were_logged_have_nothing_to_start_from(tmp_path):
    for width in (8, 16, 32, 64):
        for n in (1000, 2000, 4000):
            params = {"n_params": 50 * width, "n_examples": n}
            with scalelab.run("note", params=params, store=tmp_path / "x.duckdb") as run:
                run.log(loss=0.5 + 20 * (50 * width) ** -0.4 + 15 * n**-0.45)
    runs, advice = advised(tmp_path)
    with pytest.raises(InputError, match=r"logged by their own loop|does not keep the study"):
        scalelab.propose_run(advice, runs, tmp_path / "x.duckdb", tmp_path / "next.toml")


LONG = """
import json, sys
width, n, steps = map(int, sys.argv[1:])
size, seen = 10 * width * width, 32 * steps
print(json.dumps({"loss": 0.5 + 20 * size**-0.4 + 15 * seen**-0.45, "n_params": size, "epochs": seen / n}))
"""


@pytest.mark.parametrize("told", ["its steps", "its passes alone", "nothing"])
def test_a_length_that_is_a_parameter_is_set_and_one_that_nobody_knows_is_refused(tmp_path, told):
    script = LONG if told != "nothing" else LONG.replace(', "epochs": seen / n', "")
    (tmp_path / "train.py").write_text(script)
    path = tmp_path / "study.toml"
    axes = "" if told == "its passes alone" else 'n_steps = "steps", '
    path.write_text(
        'name = "long"\n[command]\nrun = ["{python}", "train.py", "{width}", "{n}", "{steps}"]\n'
        f'axes = {{ {axes}n_examples = "n" }}\n[command.space]\nwidth = [8, 16, 32]\nn = [100000]\n'
        "steps = [100, 300, 900]\n"
    )
    store = tmp_path / "x.duckdb"
    assert scalelab.run_study(path, store, workers=2).complete
    runs = scalelab.finished_runs(store)

    def propose():
        advice = scalelab.advise(runs, 1e9)
        return advice, scalelab.propose_run(advice, runs, store, tmp_path / "next.toml", study_file=path)

    if told != "its steps":
        refused = r"differ in their passes|3 model sizes and 3 lengths"
        with pytest.raises(InputError, match=refused):
            propose()
        assert not (tmp_path / "next.toml").exists()
        return
    advice, proposal = propose()
    params = proposal.trial.architecture.params
    assert proposal.n_seen == pytest.approx(32 * params["steps"])
    assert proposal.passes is None
    assert params["steps"] == pytest.approx(advice.families[0].n_seen.value / 32, rel=0.01)
    assert scalelab.run_study(tmp_path / "next.toml", store).done == 1
    (loss,) = scalelab.open_store(store).runs("long-advised-1e09").loss
    assert loss == pytest.approx(scalelab.expected_loss(advice, proposal).value, rel=5e-3)
