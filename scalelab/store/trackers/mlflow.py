"""MLflow: the folder `mlruns/` of its file store, or its SQLite database.

Parameters are texts there and become what they say. A metric has its whole history, with times. The formats
are those of MLflow 1.0 to 3.17 (`file_store.py` and `dbmodels/models.py` in `mlflow/store/tracking/`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.regular_files import read_regular
from scalelab.store.trackers.documents import read_yaml
from scalelab.store.trackers.found import (
    Cell,
    Column,
    Curve,
    ForeignRun,
    Opened,
    Tracker,
    WrongRunError,
    cell,
    each,
    picked,
)
from scalelab.store.trackers.sqlite import Database, asked, closing, has_tables, refuse_nameless

WHAT = "MLflow's folder mlruns/"
_STATES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_RUN = re.compile(r"[0-9a-f]{32}")
_LARGEST = 1.7976931348623157e308
"""What the database holds for infinity."""
_META = (
    Column("key", "run_id", str, required=True),
    Column("name", "run_name"),
    Column("state", "status", int, required=True),
    Column("stage", "lifecycle_stage"),
    Column("begun", "start_time", int),
    Column("ended", "end_time", int),
)


def _run(
    told: Mapping[str, Any], params: Mapping[str, Cell], tags: Mapping[str, Cell], curves: Mapping[str, Curve]
) -> ForeignRun:
    """Returns a run; of MLflow's own tags only what it is nested in is a fact."""
    if told["stage"] == "deleted":
        raise WrongRunError("it was deleted in MLflow")
    values = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
    values["parent_run_id"] = tags.get("mlflow.parentRunId")
    if told["begun"] is not None and told["ended"]:
        values["wall_seconds"] = (told["ended"] - told["begun"]) / 1000
    name = told["name"] or tags.get("mlflow.runName")
    return ForeignRun(told["key"], None if name is None else str(name), told["state"], params, values, curves)


def _curve(reports: Sequence[Sequence[Any]], begun: int | None) -> Curve:
    """Returns a curve, given steps, values (`None` for what is no number) and times in milliseconds."""
    steps, values = np.array(reports[0], np.int64), np.array(reports[1], float)
    times = np.array(reports[2], np.int64)
    values[np.abs(values) >= _LARGEST] *= np.inf
    order = slice(None) if np.all(np.diff(steps) > 0) else np.lexsort((times, steps))
    seconds = array("d") if begun is None else array("d", ((times[order] - begun) / 1000).tobytes())
    return Curve(array("q", steps[order].tobytes()), array("d", values[order].tobytes()), seconds)


# SQLite


def _sqlite_experiments(path: Path) -> dict[str, int]:
    query = (
        "select name, (select count(*) from runs r where r.experiment_id = e.experiment_id) "
        "from experiments e where lifecycle_stage <> 'deleted' order by experiment_id"
    )
    found = asked(path, lambda database: database.rows(query))
    refuse_nameless(path, "an experiment", [name for name, _ in found])
    return dict(found)


def _sqlite_read(path: Path, experiment: str | None) -> Opened:
    database = Database(path)
    runs = database.rows(
        "select run_uuid, r.name, status, r.lifecycle_stage, start_time, end_time from runs r "
        "join experiments e on e.experiment_id = r.experiment_id where e.name = ? "
        "order by start_time, run_uuid",
        experiment,
    )
    names = ("key", "name", "state", "stage", "begun", "ended")
    items = ((f"run {row[1] or row[0]}", dict(zip(names, row, strict=True))) for row in runs)
    return Opened(closing(database, each(items, partial(_sqlite_run, database))))


def _sqlite_run(database: Database, told: Mapping[str, Any]) -> ForeignRun:
    params, tags = (
        {name: cell(value or "") for name, value in database.rows(query, told["key"])}
        for query in (
            "select key, value from params where run_uuid = ?",
            "select key, value from tags where run_uuid = ?",
        )
    )
    # As bytes, names are not decoded for every report.
    reports = database.rows(
        "select cast(key as blob), step, case when not is_nan then value end, timestamp from metrics "
        "where run_uuid = ?", told["key"],
    )  # fmt: skip
    found: dict[bytes, list[Any]] = {}
    for row in reports:
        found.setdefault(row[0], []).append(row)
    curves = {
        name.decode("utf-8", "replace"): _curve(list(zip(*rows, strict=True))[1:], told["begun"])
        for name, rows in found.items()
    }
    return _run(told, params, tags, curves)


# The folder


def _experiments(path: Path) -> dict[str, Path]:
    """Returns the folders of the experiments that were not deleted, by name; also of the one above."""
    found = {}
    for folder in sorted((path / "mlruns" if _is_root(path / "mlruns") else path).iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and (folder / "meta.yaml").exists():
            try:
                told = read_yaml(folder / "meta.yaml", WHAT)
            except (OSError, WrongRunError):
                told = {}  # its runs may be whole
            if told.get("lifecycle_stage") != "deleted":
                found[str(told.get("name", folder.name))] = folder
    return found


def _folders(experiment: Path) -> list[Path]:
    """Returns the folders of an experiment's runs, oldest name first."""
    return sorted(
        folder
        for folder in experiment.iterdir()
        if folder.is_dir() and (_RUN.fullmatch(folder.name) or (folder / "meta.yaml").exists())
    )


def _is_root(path: Path) -> bool:
    return path.is_dir() and any(
        (folder / "meta.yaml").is_file() and not (folder / "params").exists() for folder in path.iterdir()
    )


def _folder_read(path: Path, experiment: str | None) -> Opened:
    folder = _experiments(path)[experiment or ""]
    items = ((str(run.relative_to(path)), run) for run in _folders(folder))
    return Opened(each(items, _folder_run))


def _folder_run(folder: Path) -> ForeignRun:
    if not (folder / "meta.yaml").exists():
        raise WrongRunError("it has no meta.yaml; it was not written to its end")
    told = picked(read_yaml(folder / "meta.yaml", WHAT), _META)
    told["state"] = _STATES.get(told["state"], str(told["state"]))
    curves = {name: _read_metric(path, told["begun"]) for name, path in _files(folder / "metrics")}
    params, tags = (
        {name: cell(read_regular(path).decode()) for name, path in _files(folder / kind)}
        for kind in ("params", "tags")
    )
    return _run(told, params, tags, curves)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the files of a folder by name; a name with a slash is one in a folder."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def _read_metric(path: Path, begun: int | None) -> Curve:
    reports = []
    for line in read_regular(path).decode().splitlines():
        time, value, *rest = line.split()
        reports.append((int(rest[0]) if rest else 0, float(value), int(time)))
    if not reports:
        raise WrongRunError(f"metrics/{path.name} is empty; it was not written to its end")
    return _curve(list(zip(*reports, strict=True)), begun)


MLFLOW_SQLITE = Tracker(
    name="mlflow-sqlite",
    title="a database of MLflow",
    recognizes=lambda path: path.is_file() and has_tables(path, "experiments", "runs", "latest_metrics"),
    read=_sqlite_read,
    experiments=_sqlite_experiments,
)
MLFLOW = Tracker(
    name="mlflow",
    title="a folder of MLflow",
    recognizes=lambda path: _is_root(path) or _is_root(path / "mlruns"),
    read=_folder_read,
    experiments=lambda path: {name: len(_folders(folder)) for name, folder in _experiments(path).items()},
)
