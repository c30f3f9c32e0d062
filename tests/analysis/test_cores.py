"""Pieces of an analysis are the same wherever they are made, and are counted."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest
from joblib import cpu_count

from scalelab.analysis.cores import MANY, each


def drawn(seed, size):
    if seed < 0:
        raise ValueError("a piece that fails")
    return np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("n", [1, MANY - 1, MANY + 3])
def test_results_come_in_their_order_and_are_counted(n):
    told = []
    found = each(partial(drawn, size=5), range(n), "draws", lambda *step: told.append(step))
    assert np.array_equal(np.stack(found), [drawn(seed, 5) for seed in range(n)])
    assert told == [("draws", done, n) for done in range(n + 1)]


def test_heavy_pieces_are_made_on_all_cores_from_two_on(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    found = each(os_process, range(2), "heavy", heavy=True)
    assert os.getpid() not in found
    assert each(os_process, range(2), "light") == (os.getpid(),) * 2


def os_process(_piece):
    return os.getpid()


def test_what_a_piece_raises_is_raised():
    with pytest.raises(ValueError, match="a piece that fails"):
        each(partial(drawn, size=5), [*range(MANY), -1], "draws")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no masks of signals")
def test_processes_do_not_hear_ctrl_c_and_this_one_does():
    """Else each of them would print a traceback while it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert signal.SIGINT not in before
    masks = each(_mask, range(MANY), "masks")
    if cpu_count() > 1:
        assert all(int(signal.SIGINT) in mask for mask in masks)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == before


def _mask(_piece):
    return [int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, set())]
