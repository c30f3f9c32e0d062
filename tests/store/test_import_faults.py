"""A run of a tracker that cannot be one costs itself; where all are so, the source is refused."""

from __future__ import annotations

import math
import os

import pytest

from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted
from scalelab.store.trackers import known
from scalelab.store.trackers.found import ForeignRun, Opened, Tracker

WHOLE = [ForeignRun(f"w{at}", None, "finished", {"n_params": at + 1}, {"loss": 2.0}) for at in range(3)]


@pytest.fixture
def read(tmp_path, monkeypatch):
    path = tmp_path / "source.x"
    path.write_text("x")

    def reading(*runs, **options):
        tracker = Tracker("fake", "a fake", lambda path: True, lambda path, _: Opened(iter(runs)))
        monkeypatch.setattr(known, "TRACKERS", (tracker,))
        return read_runs(path, Wanted(**options))

    return reading


BAD = [
    ({}, "finished", "it has no scale at all"),
    ({"n_params": 0}, "finished", "n_params = 0 must be above zero"),
    ({"n_params": -3}, "failed", "n_params = -3 must be above zero"),
    ({"n_params": math.nan}, "finished", "n_params = nan must be finite"),
    ({"n_params": "many"}, "finished", "n_params 'many': must be a positive number such as 300k, 10M, 5B, 1"),
    ({"n_params": 7, "seed": "auto"}, "finished", "seed 'auto': must be a number"),
    ({"n_params": 7, "seed": 0.5}, "finished", "seed = 0.5 must be a whole number, zero or more"),
    ({"n_params": 7}, "odd", "status 'odd' is not one of done, diverged, failed, interrupted"),
]


@pytest.mark.parametrize(("params", "state", "told"), BAD)
def test_a_bad_run_is_named_and_left_out(read, params, state, told):
    bad = ForeignRun("k7", "a name", state, params, {"loss": 3.0})
    found = read(WHOLE[0], bad, *WHOLE[1:])
    assert (found.n_runs, found.statuses) == (3, {"done": 3})
    (problem,) = found.problems
    assert problem.startswith(f"k7 (a name): {told}")
    assert problem.endswith("; it was left out")
    assert sum(state.n_runs for state in found.states) == 3
    with pytest.raises(InputError, match=r"^row 1 of source\.x|^source\.x has no scale by a known name"):
        read(bad, ForeignRun("k8", None, state, params, {"loss": 2.0}))


def test_a_run_that_no_fit_looks_at_needs_no_scale(read):
    cut = [
        ForeignRun("f", None, "failed"),
        ForeignRun("r", None, "running"),
        ForeignRun("e", None, "finished"),
    ]
    found = read(*WHOLE, *cut)
    assert (found.problems, found.statuses) == ((), {"done": 3, "failed": 2, "interrupted": 1})


def test_a_folder_that_cannot_be_read_is_one_problem(tmp_path, monkeypatch):
    for name in ("a", "locked", "z/also"):
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,step,val_loss\n0,9,3.0\n")
        (folder / "hparams.yaml").write_text("n_params: 8\n")
    scandir, locked = os.scandir, {str(tmp_path / "logs" / "locked"), str(tmp_path / "logs" / "z" / "also")}

    def refusing(path):
        if str(path) in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = read_runs(tmp_path / "logs", Wanted(kind="lightning"))
    assert (found.n_runs, found.problems) == (
        1,
        tuple(
            f"{name}: this folder cannot be read: Permission denied; runs in it are missing"
            for name in ("locked", "z/also")
        ),
    )
    locked.add(str(tmp_path / "logs"))
    with pytest.raises(InputError, match=r"logs cannot be read: Permission denied$"):
        read_runs(tmp_path / "logs", Wanted(kind="lightning"))
