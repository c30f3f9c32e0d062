"""Files that real libraries wrote: read, updated, and fitted as the numbers that were written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from known_runs import ANOTHER, DONE, N_STEPS, RUNS, KnownRun
from tracked_tools import TOOLS, write

import scalelab
from scalelab.store.trackers.known import tracker_of

PAGE = (Path(__file__).parents[2] / "docs" / "importing-recipes.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(900)
FIRST = [run.name for run in RUNS if run.ending in ("done", "pruned")]


def imported(tool: str, folder: Path, source: str, store: scalelab.Store, **options: Any) -> scalelab.Import:
    return scalelab.import_runs(folder / source, store, study="known", map=TOOLS[tool].map, **options)


def by_width(store: scalelab.Store, tool: str) -> dict[int, pd.Series]:
    """The runs by their width; of a trial that began anew, the one that is done."""
    runs = store.runs("known").sort_values("status", ascending=False)
    column = f"architecture_{TOOLS[tool].width.replace('.', '_')}"
    return {int(row[column]): row for _, row in runs.iterrows()}


def fit_of(runs: pd.DataFrame) -> scalelab.Fit:
    runs = runs[runs["status"] == "done"].sort_values("n_params")
    return scalelab.fit_law("power-offset", runs["n_params"].to_numpy(float), runs["loss"].to_numpy(float))


def known_fit(store: scalelab.Store) -> scalelab.Fit:
    """The law of the numbers themselves, imported as a table."""
    table = pd.DataFrame(
        {"n_params": [run.n_params for run in DONE], "loss": [run.losses[-1] for run in DONE]}
    )
    scalelab.import_runs(table, store, study="numbers")
    return fit_of(store.runs("numbers"))


def reported(store: scalelab.Store, row: pd.Series) -> list[float]:
    curve = store.curves("known")
    return curve[curve["trial_id"] == row["trial_id"]].sort_values("step")["loss"].tolist()


@pytest.mark.parametrize("tool", TOOLS)
def test_runs_are_read_updated_and_fitted(tool: str, tmp_path: Path) -> None:
    told = TOOLS[tool]
    resumed, crashed = "width-64", "width-192"
    folder = tmp_path / told.folder
    folder.mkdir()
    if tool == "ray":
        write(tool, folder, "first", *FIRST, resumed, crashed)
    else:
        write(tool, folder, "first", *FIRST)
        write(tool, folder, "first", resumed)
    stores = {
        source: scalelab.open_store(tmp_path / f"{number}.duckdb", create=True)
        for number, source in enumerate(told.sources)
    }
    for kind, (source, store) in zip(told.kinds, stores.items(), strict=True):
        tracker = tracker_of(folder / source, None)
        assert tracker is not None
        assert tracker.name == kind
        first = imported(tool, folder, source, store)
        assert first.outcome == "imported"
        assert imported(tool, folder, source, store).outcome == "unchanged"
        check_resumed_is_not_whole(tool, store)
    write(tool, folder, "again", resumed)
    if tool != "ray":
        write(tool, folder, "first", crashed)
    if told.another:
        write(tool, folder, "first", ANOTHER.name)
    for source, store in stores.items():
        check_the_end(tool, folder, source, store)
    check_the_recipes(told.heading, folder)


def check_resumed_is_not_whole(tool: str, store: scalelab.Store) -> None:
    row = by_width(store, tool).get(64)
    if TOOLS[tool].statuses:
        assert row is None or row["status"] != "done"
    elif row is not None:
        assert len(reported(store, row)) < N_STEPS


def check_the_end(tool: str, folder: Path, source: str, store: scalelab.Store) -> None:
    told = TOOLS[tool]
    result = imported(tool, folder, source, store)
    assert result.outcome == "updated"
    assert imported(tool, folder, source, store).outcome == "unchanged"
    n_runs = len(RUNS) - told.missing + told.more + told.another
    assert result.n_runs == n_runs
    if told.statuses:
        assert result.statuses == {**told.statuses, "done": told.statuses["done"] + told.another}
    rows = by_width(store, tool)
    for run in (*RUNS, *([ANOTHER] if told.another else [])):
        if run.width in rows:
            check_run(tool, store, run, rows[run.width])
    if told.another:
        assert rows[ANOTHER.width]["loss"] == ANOTHER.losses[-1]
    check_the_law(tool, folder, source, store)


def check_run(tool: str, store: scalelab.Store, run: KnownRun, row: pd.Series) -> None:
    if tool != "transformers":  # it keeps no parameters that are not pickled
        assert row["architecture_lr"] == 0.003
    if run.ending in ("done", "resumed"):
        assert (row["status"], row["loss"], row["n_params"]) == ("done", run.losses[-1], run.n_params)
    elif TOOLS[tool].statuses:
        assert row["status"] in ("interrupted", "failed")
    curve = reported(store, row)
    if tool == "keras-json" and run.ending == "resumed":
        assert curve == run.losses[3:]
    else:
        assert curve == run.reported or (run.ending == "crashed" and curve == run.losses)


def check_the_law(tool: str, folder: Path, source: str, store: scalelab.Store) -> None:
    told = TOOLS[tool]
    width = f'"{told.width}" <> {ANOTHER.width}'
    only = f"{told.whole} and {width}" if told.whole else width
    if tool == "transformers":
        only = f"n_params <> {ANOTHER.n_params}"
    imported(tool, folder, source, store, only=only, replace=True)
    found, wanted = fit_of(store.runs("known")), known_fit(store)
    assert found.params == wanted.params
    assert found.objective == wanted.objective


def check_the_recipes(heading: str, folder: Path) -> None:
    """Runs the commands of a tool's section of the page, where its paths are."""
    if not heading:
        return
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    commands = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    assert commands
    for command in commands:
        name, verb, source, *options = shlex.split(command)
        assert (name, verb) == ("scalelab", "import")
        where = folder if (folder / source).exists() else folder.parent
        done = subprocess.run(
            [sys.executable, "-m", "scalelab.cli", verb, source, *options],
            cwd=where, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "runs imported in experiments.duckdb" in done.stdout
