"""Temporary folders, and what killed processes left of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from scalelab.errors import StoreError
from scalelab.store import open_store, temporary
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

LEAVE = """
import os, signal
from scalelab.store.temporary import temporary
folder = temporary()
open(os.path.join(folder.name, "rows.parquet"), "w").close()
print(folder.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary._tidy.cache_clear()
    yield tmp_path
    temporary._tidy.cache_clear()


def test_what_a_killed_process_left_goes_and_nothing_else_does(folder):
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert left.parent == folder
    assert (left / "rows.parquet").exists()
    others = [folder / "scalelab-mine", folder / f"{left.name[:18]}mine", folder / "x"]
    for other in others:
        other.mkdir()
    own = temporary.temporary()
    assert not left.exists()
    assert all(other.exists() for other in others)
    assert Path(own.name).is_dir()
    own.cleanup()
    assert sorted(folder.iterdir()) == sorted(others)


def test_an_import_leaves_nothing(folder):
    read = read_runs(pd.DataFrame({"N": [1, 2], "loss": [1.0, 2.0]}), Wanted(study="t"))
    assert list(folder.iterdir())
    del read
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_in_one_line(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    with pytest.raises(StoreError, match="TMPDIR"):
        temporary.temporary()


def test_what_duckdb_put_aside_for_a_killed_process_goes(store):
    left = Path(f"{store.path}.tmp", "duckdb_temp_storage-0.tmp")
    built = store.path.with_name(f"{store.path.name}.new-999999-0a1b2c3d.tmp")
    left.parent.mkdir()
    built.mkdir()
    left.write_bytes(b"rows")
    (built / left.name).write_bytes(b"rows")
    with open_store(store.path, create=True).database.write():
        pass
    assert not left.parent.exists()
    assert not built.exists()
