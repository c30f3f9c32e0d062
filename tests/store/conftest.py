from __future__ import annotations

import multiprocessing

import pytest

from scalelab.store import Store, open_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> bytes:
    return open_store(tmp_path_factory.mktemp("empty") / "x.duckdb", create=True).path.read_bytes()


@pytest.fixture
def store(tmp_path, empty_store) -> Store:
    (tmp_path / "x.duckdb").write_bytes(empty_store)
    return open_store(tmp_path / "x.duckdb", wait=5.0)


@pytest.fixture(scope="session")
def spawn():
    """Starts a process that has the store's modules loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["duckdb", "filelock", "psutil", "scalelab.store", "scalelab.store.ingest"]
    )

    def start(function, *args):
        process = context.Process(target=function, args=args, daemon=True)
        process.start()
        return process

    return start
