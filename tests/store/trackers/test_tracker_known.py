"""Which tracker wrote a source: what is recognized, told apart, or refused in a line that helps."""

from __future__ import annotations

import pytest
from tracked_runs import read, written
from tracker_samples import mlflow_database, mlflow_folder, optuna_database, wandb_folder, wandb_records

from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted
from scalelab.store.trackers.known import tracker_of

METRICS = "epoch,step,val_loss\n0,1,3.5\n1,2,2.5\n"


def wandb(folder, key="k", started="20260101_000000"):
    records = wandb_records(key, {"n_params": 10}, [(1, {"val_loss": 2.0})])
    return wandb_folder(folder, key, records, started)


def optuna(path):
    return optuna_database(path, [("COMPLETE", 1000, [2.0], [])])


def refusal(path, kind=None):
    with pytest.raises(InputError) as error:
        read_runs(path, Wanted(kind=kind))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def project(tmp_path):
    """A folder with runs of several trackers."""
    written(tmp_path, {"lightning_logs/version_0/metrics.csv": METRICS, "train.py": "", ".venv/x": ""})
    wandb(tmp_path / "wandb")
    mlflow_folder(tmp_path / "mlruns", "a" * 32, 3, 1000, [(0, 2.0)])
    optuna(tmp_path / "optuna.db")
    return tmp_path


def test_a_folder_of_several_trackers_is_refused_until_one_is_named(project):
    assert refusal(project) == (
        f"{project} is a folder with lightning_logs (folders of Lightning's CSVLogger), mlruns (a folder of "
        "MLflow), optuna.db (an Optuna database), wandb (a folder of Weights & Biases); import one of these, "
        f"such as {project}/lightning_logs, or say which with --kind mlflow"
    )
    assert [tracker_of(project, kind).name for kind in ("wandb", "mlflow", "lightning")] == [
        "wandb", "mlflow", "lightning",
    ]  # fmt: skip
    assert "name the file in it" in refusal(project, "optuna")


def test_a_folder_with_a_database_alone_names_it(tmp_path):
    path = optuna(tmp_path / "study.db")
    assert f"import one of these, such as {path}" in refusal(tmp_path)


def test_what_a_tracker_keeps_in_its_own_folders_is_its_own(tmp_path):
    state = {"global_step": 2, "max_steps": 2, "log_history": []}
    artifact = mlflow_folder(tmp_path / "mlruns", "a" * 32, 3, 1000, [(0, 2.0)]) / "artifacts"
    written(artifact, {"model/trainer_state.json": state})
    assert tracker_of(tmp_path / "mlruns", None).name == "mlflow"
    files = {"checkpoint-2/trainer_state.json": state, "runs/events.out.tfevents.1.host": b""}
    assert tracker_of(written(tmp_path / "out", files), None).name == "transformers"
    job = {".hydra/config.yaml": "a: 1\n", "lightning_logs/version_0/metrics.csv": METRICS}
    assert tracker_of(written(tmp_path / "job", job), None).name == "hydra"


def test_a_folder_above_is_recognized(project):
    (project / "above").mkdir()
    (project / "mlruns").rename(project / "above" / "mlruns")
    kind, runs, problems = read(project / "above")
    assert (kind, [*runs], problems) == ("mlflow", ["a" * 32], [])


def test_one_start_of_a_run_and_a_log_alone_are_recognized(tmp_path):
    folder = wandb(tmp_path / "wandb")
    (tmp_path / "wandb" / "latest-run").symlink_to(folder)
    for path in (folder, folder / "run-k.wandb", tmp_path / "wandb" / "latest-run"):
        kind, runs, problems = read(path)
        assert (kind, [*runs], problems) == ("wandb", ["k"], [])
    assert [*read((folder / "run-k.wandb").rename(tmp_path / "run-k.wandb"))[1]] == ["k"]


def test_a_run_with_a_line_break_in_its_name_is_imported(tmp_path):
    wandb(tmp_path / "wandb", "a\nb")
    assert [*read(tmp_path / "wandb")[1]] == ["a\nb"]


def test_reports_of_lightning_alone_are_one_run(tmp_path):
    written(tmp_path, {"version_3/metrics.csv": METRICS, "table/metrics.csv": "n_params,loss\n1,2\n"})
    for path in (tmp_path / "version_3", tmp_path / "version_3" / "metrics.csv"):
        kind, runs, problems = read(path)
        assert (kind, [*runs], problems) == ("lightning", ["version_3"], [])
        assert runs["version_3"].curves["val_loss"].values.tolist() == [3.5, 2.5]
    assert tracker_of(tmp_path / "table" / "metrics.csv", None) is None


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ("o.db", "mlflow-sqlite", "o.db is not a database of MLflow, but an Optuna database: --kind optuna"),
        ("m.db", "optuna", "m.db is not an Optuna database, but a database of MLflow: --kind mlflow-sqlite"),
        ("o.db", "table", "o.db is no table, but an Optuna database: --kind optuna, or none"),
        ("o.db", "wandb", "o.db is not a folder of Weights & Biases, but an Optuna database"),
        ("wandb", "mlflow", "wandb is not a folder of MLflow, but a folder of Weights & Biases"),
        ("empty", "optuna", "empty is a folder, not a database; name the file in it"),
        ("empty", "optuna-journal", "empty cannot be read as a journal of Optuna: "),
        ("text.x", "optuna", "text.x cannot be read: file is not a database"),
        ("text.x", "mlflow", "text.x cannot be read as a folder of MLflow: Not a directory"),
        ("text.x", "table", "text.x ends in none of .csv"),
        ("o.db", "mflow", "kind 'mflow'; did you mean 'mlflow'? there are table, optuna"),
        ("o.db", "zzz", "kind 'zzz'; there are table, optuna"),
    ],
)
def test_a_kind_that_is_wrong_says_what_the_source_is(tmp_path, source, kind, says):
    optuna(tmp_path / "o.db")
    mlflow_database(tmp_path / "m.db", [("a", "FINISHED", 1000, [(0, 3.0)])])
    wandb(tmp_path / "wandb")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.x").write_text("hello")
    assert says in refusal(tmp_path / source, kind)
