"""The stores that come with the project have the newest schema; those of an old version open without loss."""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from scalelab.errors import StoreError
from scalelab.params import identity_of
from scalelab.plugins import load_plugins
from scalelab.records import TrainingOptions, Trial
from scalelab.store import open_store
from scalelab.store.schema import VERSION

ROOT = Path(__file__).parents[2]
OLD = "c968a68"
STORES = (
    "examples/mitbih-convnext.duckdb",
    "examples/mitbih-design.duckdb",
    "examples/mitbih-hardware.duckdb",
)
TABLES = ("records", "curve_points", "trials", "study_trials", "studies", "measurements")


def content(path: Path, table: str, columns: list[str] | None = None) -> pd.DataFrame:
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.sql(f"select * from {table}").df()
    names = sorted(found.columns) if columns is None else columns
    return found[names].sort_values(names, ignore_index=True, key=lambda column: column.astype(str))


@pytest.fixture(params=STORES)
def old(request, tmp_path):
    """A store as it was committed then."""
    shown = subprocess.run(
        ["git", "show", f"{OLD}:{request.param}"], cwd=ROOT, capture_output=True, check=False
    )
    if shown.returncode:
        pytest.skip(f"commit {OLD} is not in this clone: {shown.stderr.decode(errors='replace').strip()}")
    path = tmp_path / "old.duckdb"
    path.write_bytes(shown.stdout)
    return path


def test_a_store_of_old_is_migrated_without_losing_a_record(old, scalelab_command):
    before = {table: content(old, table) for table in TABLES}
    assert len(before["records"])
    with pytest.raises(StoreError, match="run: scalelab store migrate"):
        open_store(old)
    code, out, _ = scalelab_command("store", "migrate", "--store", old)
    assert (code, f"is schema {VERSION} now" in out) == (0, True)
    for table, rows in before.items():
        pd.testing.assert_frame_equal(content(old, table, list(rows.columns)), rows, check_dtype=False)
    store = open_store(old)
    assert len(store.runs()) == len(before["study_trials"])
    assert store.runs()["test_loss"].isna().all()
    store.check()


@pytest.mark.parametrize("name", STORES)
def test_a_committed_store_has_the_newest_schema(name):
    with duckdb.connect(str(ROOT / name), read_only=True) as connection:
        assert connection.execute("select max(version) from scalelab_schema").fetchall() == [(VERSION,)]


@pytest.mark.parametrize("name", STORES)
def test_options_that_came_later_change_no_trial_of_before(name):
    with duckdb.connect(str(ROOT / name), read_only=True) as connection:
        rows = connection.execute("select trial_id, content from trials").fetchall()
    trials = {trial_id: Trial.model_validate_json(content) for trial_id, content in rows}
    assert {trial_id: trial.id for trial_id, trial in trials.items()} == {key: key for key in trials}
    catalog = load_plugins()
    for trial in trials.values():
        if trial.architecture.name in catalog.names("architecture"):
            # What a study file asks for today has the options that it had then, and no others.
            model = catalog.architecture(trial.architecture.name).params
            assert identity_of(model(**trial.architecture.params)) == trial.architecture.params
        model = catalog.optimizer(trial.optimizer.name).params
        assert identity_of(model(**trial.optimizer.params)) == trial.optimizer.params
        assert TrainingOptions(**trial.training.model_dump()).model_dump() == trial.training.model_dump()
