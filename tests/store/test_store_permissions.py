"""What a group shares keeps the group's permissions; what is private stays private."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from store_samples import a_record, a_trial

from scalelab.permissions import make_folder, share
from scalelab.records import Trial
from scalelab.store import open_store
from scalelab.supervise.log import Log
from scalelab.train.checkpoint import save_weights

CASES = ((0o2770, 0o2775, 0o664), (0o2750, 0o2755, 0o644), (0o2700, 0o2755, 0o644))
GROUP, ONE, TWO, STRANGER = 54_300, 54_301, 54_302, 54_303


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_files_and_folders_get_the_group_bits_of_their_folder(tmp_path, umask):
    for bits, folder_bits, file_bits in CASES:
        shared = tmp_path / oct(bits)
        shared.mkdir()
        shared.chmod(bits)
        make_folder(shared / "a" / "b")
        assert (mode(shared / "a"), mode(shared / "a" / "b")) == (folder_bits, folder_bits)
        file = shared / "a" / "b" / "file"
        file.touch()
        share(file)
        assert mode(file) == file_bits


def test_nothing_changes_in_other_folders(tmp_path, umask):
    os.umask(0o077)
    tmp_path.chmod(0o777)
    make_folder(tmp_path / "a" / "b")
    file = tmp_path / "a" / "b" / "file"
    file.touch()
    share(file)
    assert [mode(path) for path in (tmp_path / "a", tmp_path / "a" / "b", file)] == [0o700, 0o700, 0o600]
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2700)
    file = shared / "file"
    file.touch()
    share(file)
    share(shared / "missing")
    assert mode(file) == 0o600


def test_what_is_no_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            make_folder(path)


def as_user(user: int, group: int, umask: int, work: Callable[[], None]) -> int:
    """Runs a function in a child process of another user; returns its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            os.umask(umask)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder of a group, where this process may become other users."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can become two other users")
    # What is imported late is imported now: the children may not read this checkout.
    work_on(tmp_path / "x.duckdb", 0)
    open_store(tmp_path / "x.duckdb").rebuild()
    folder = Path(tempfile.mkdtemp(prefix="scalelab-shared-"))
    os.chown(folder, ONE, GROUP)
    folder.chmod(0o2770)
    yield folder
    shutil.rmtree(folder)


def work_on(path: Path, seed: int) -> None:
    """Does with a store what a run does: makes it, claims, writes, ingests, keeps checkpoints and prints."""
    store = open_store(path, create=True, wait=5.0)
    trial: Trial = a_trial(seed)
    claim = store.claims.claim(trial.id, "s", 1)
    assert claim is not None
    module = torch.nn.Linear(2, 2)
    save_weights(store.journal.weights("shared"), trial.id, module)
    save_weights(store.journal.checkpoint("shared"), trial.id, module)
    log = Log(store.journal.log("bench-fast"))
    log.write(f"printed by {os.getuid()}\n".encode())
    log.close()
    store.register("s", f"text {seed}", [trial])
    store.journal.write(a_record(trial))
    store.journal.write(a_record(trial, 2, "failed"))
    store.claims.release(claim)
    store.ingest()
    assert store.check().healthy
    assert torch.load(store.journal.weights("shared"), weights_only=True)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_another_member_of_the_group_goes_on_with_a_store(shared, umask):
    path = shared / "project" / "x.duckdb"
    assert as_user(ONE, GROUP, umask, lambda: work_on(path, 1)) == 0
    assert as_user(TWO, GROUP, umask, lambda: work_on(path, 2)) == 0
    assert as_user(TWO, GROUP, umask, lambda: open_store(path).rebuild()) == 0
    assert as_user(ONE, GROUP, umask, lambda: work_on(path, 3)) == 0
    store = open_store(path)
    assert sorted(store.runs().seed) == [1, 2, 3]
    log = store.journal.log("bench-fast").read_text()
    assert log == f"printed by {ONE}\nprinted by {TWO}\nprinted by {ONE}\n"
    for one in shared.rglob("*"):
        assert one.stat().st_gid == GROUP, one
        needed = 0o2070 if one.is_dir() else 0o060
        assert mode(one) & needed == needed, one
        if umask == 0o077:
            assert not mode(one) & 0o007, one


def test_a_stranger_reads_nothing(shared):
    path = shared / "project" / "x.duckdb"
    assert as_user(ONE, GROUP, 0o022, lambda: work_on(path, 1)) == 0
    assert as_user(STRANGER, STRANGER, 0o022, lambda: path.read_bytes() and None) == 1
