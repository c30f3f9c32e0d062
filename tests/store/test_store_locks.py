"""Locks that a file system refuses or fakes are said at once, and who holds one is named."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from store_samples import a_record

from scalelab.errors import StoreError, StoreLockedError
from scalelab.store import locks, open_store
from scalelab.store.files import locked


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(locks, "_found_good", set())


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL"])
def test_a_file_system_that_refuses_locks_is_named_at_once(tmp_path, monkeypatch, code):
    def refuse(*_args):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    store = open_store(tmp_path / "x.duckdb", create=True)
    monkeypatch.setattr(locks, "_found_good", set())
    monkeypatch.setattr(fcntl, "flock", refuse)
    store.journal.write(a_record())
    began = time.monotonic()
    with pytest.raises(
        StoreError, match=r"x\.duckdb\.journal is on a file system that refuses to lock"
    ) as told:
        store.ingest()
    assert time.monotonic() - began < store.wait
    assert "\n" not in str(told.value)
    assert "local disk" in str(told.value)
    assert told.value.exit_code == 3
    assert list(store.journal.folder.glob(".locks-*")) == []


def test_a_file_system_that_grants_one_lock_twice_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_args: None)
    monkeypatch.setattr(locks, "_granted_to_a_child", lambda _name: True)
    with pytest.raises(StoreError, match="fakes locks"), locked(tmp_path / "a.lock", 1.0, "no"):
        pass


def test_a_second_holder_is_believed_only_if_another_process_gets_the_lock_too(tmp_path, monkeypatch):
    """A real child tries a lock that is really held here, and does not get it."""
    real, calls = fcntl.flock, []

    def lenient(handle, how):
        calls.append(handle)
        return real(handle, how) if len(calls) == 1 else None

    monkeypatch.setattr(fcntl, "flock", lenient)
    locks.check_locks(tmp_path)
    assert len(calls) == 2


def test_the_probe_asks_once_and_leaves_nothing(tmp_path, monkeypatch):
    with locked(tmp_path / "a.lock", 1.0, "no"):
        pass
    monkeypatch.setattr("tempfile.mkstemp", lambda **_options: pytest.fail("asked again"))
    with locked(tmp_path / "a.lock", 1.0, "no"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the kernel does not list locks")
@pytest.mark.parametrize("stopped", [False, True])
def test_who_holds_a_lock_is_named(tmp_path, stopped):
    store = open_store(tmp_path / "x.duckdb", create=True, wait=0.2)
    file = store.journal.folder / "write.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        if stopped:
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        with pytest.raises(StoreLockedError, match=rf"it is held by process {holder.pid} \(python") as told:
            store.rebuild()
        assert (f"kill -CONT {holder.pid}" in str(told.value)) == stopped
        holder.send_signal(signal.SIGCONT)
        holder.stdin.close()
