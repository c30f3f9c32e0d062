from __future__ import annotations

import multiprocessing

import pytest

from scalelab.store import Store, open_store


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(tmp_path / "x.duckdb", create=True, wait=5.0)


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
