"""A full disk is called so, wherever it strikes, and nothing is lost by it."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from store_samples import a_record, a_trial

from scalelab.errors import InputError, StoreError
from scalelab.store import open_store
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted
from scalelab.train.checkpoint import save_weights


@pytest.fixture
def small(tmp_path):
    """A file system of nine megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def filled(small, store):
    """A store on a file system of which nothing is left."""
    for seed in range(20):
        store.journal.write(a_record(a_trial(seed, note="x" * 1000), points=20), durable=False)
    store.ingest()
    tight = small / "x.duckdb"
    tight.write_bytes(store.path.read_bytes())
    subprocess.run(["cp", "-r", store.journal.folder, small], check=True)
    with (small / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(b"0" * 4096):
                pass
        except OSError:
            pass
    return open_store(tight)


def test_a_journal_and_a_rebuild_on_a_full_disk(filled):
    with pytest.raises(StoreError, match=r"disk full; free some space"):
        filled.journal.write(a_record(100, points=200))
    with pytest.raises(StoreError, match=r"disk full; free some space"):
        filled.rebuild()
    with pytest.raises(StoreError, match=r"disk full; free some space"):
        filled.journal.add_to_log("a-1", "x" * 10_000)
    assert len(filled.runs()) == 20
    (filled.path.parent / "ballast").unlink()
    assert filled.rebuild().records == 20
    assert filled.check().healthy


def test_an_import_into_a_full_disk(filled, tmp_path):
    rows = "".join(f"{i},{i / 7},{'y' * 50}\n" for i in range(1, 2000))
    (tmp_path / "t.csv").write_text(f"n_params,loss,note\n{rows}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"disk full; free some space"):
        filled.take_import(read_runs(tmp_path / "t.csv", Wanted()))
    (filled.path.parent / "ballast").unlink()
    assert filled.take_import(read_runs(tmp_path / "t.csv", Wanted())).outcome == "imported"


def test_an_export_to_a_full_disk(filled, store):
    with pytest.raises(InputError, match="disk full; choose another one") as told:
        store.export(filled.path.parent / "out")
    assert "\n" not in str(told.value)


def test_weights_and_checkpoints_on_a_full_disk(filled):
    import torch
    from torch import nn

    from scalelab.errors import ScalelabWarning, TrainingError
    from scalelab.train.checkpoint import Checkpoint, Position

    module = nn.Linear(1000, 1000)
    with pytest.raises(TrainingError, match=r"cannot be kept in .*: disk full; free some space"):
        save_weights(filled.journal.weights("a"), "a", module)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    checkpoint = Checkpoint(filled.journal.checkpoint("a"), "a", module, optimizer, torch.Generator())
    with pytest.warns(ScalelabWarning, match=r"could not be written \(disk full\)"):
        checkpoint.save(Position())


LIMITED = """
import resource, sys
from store_samples import a_record
from scalelab.errors import StoreError
from scalelab.store import open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    store.journal.write(a_record(0, points=200))
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
def test_a_limit_on_the_size_of_files_is_called_so(store):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.path)],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert "File too large; raise the limit on files (ulimit -f)" in done.stdout
