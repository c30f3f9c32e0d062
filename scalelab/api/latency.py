"""The best network within a latency limit, and its study file."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.api.proposals import new_file
from scalelab.api.source import installed, opened
from scalelab.errors import InputError, ScalelabError
from scalelab.study.write import write_study

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.latency.advice import LatencyAdvice
    from scalelab.plugins import Catalog
    from scalelab.store import Store


def draw_latencies(latencies: pd.DataFrame, folder: Path | str) -> list[Path]:
    """Draws what measurements say, as PNG, SVG and PDF.

    Args:
        latencies: One row per measurement, as `Store.latencies` gives them.
        folder: Where to; made where it is missing.

    Returns:
        The files.

    Raises:
        InputError: The folder cannot be written.
    """
    from scalelab.report.drawing.figure import save
    from scalelab.report.sections.latency_figures import latency_figures

    return save(latency_figures(latencies), Path(folder))


def advise_latency(
    store: Store | Path | str,
    runs: pd.DataFrame,
    seconds: float,
    device: str,
    *,
    batch_size: int = 1,
    folder: Path | None = None,
    study_file: Path | None = None,
    catalog: Catalog | None = None,
) -> LatencyAdvice:
    """Ranks the networks whose calls on a device take no longer than a limit, untrained ones among them.

    Args:
        store: Where latencies were measured into.
        runs: The finished runs to choose for, as `finished_runs` gives them.
        seconds: The limit of a call.
        device: Such as `openvino:CPU:int8`; the backend's default precision by default.
        batch_size: Examples per call.
        folder: Where to look for relative locations of the study; the working folder by default.
        study_file: The study file of these runs, where the store's copy cannot find its dataset.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: The device is wrong, nothing was measured there, or nothing is fast enough.
        StoreError: The store cannot be read.
    """
    from scalelab.analysis.latency import advice

    store, catalog = opened(store), catalog or installed()
    latencies = store.latencies()
    target = _target(device, catalog)
    try:
        place = advice.find_place(latencies, target, batch_size, platform.node())
    except InputError as error:
        study = str(runs["study"].iloc[0])
        raise InputError(
            f"{error}; run first: scalelab bench --study {study} --store {store.path} --targets {target}"
            + (f" --batch-sizes {batch_size}" if batch_size != 1 else "")
        ) from None
    new, notes = _untrained(store, runs, latencies, folder or Path.cwd(), study_file, catalog)
    found = advice.advise_latency(latencies, runs, place, seconds, new)
    return replace(found, notes=(*found.notes, *notes))


def _target(device: str, catalog: Catalog) -> str:
    """Returns the target with its precision; no runtime is asked whether the device is here."""
    from scalelab.measure.targets import parse_target

    target = parse_target(device)
    precision = target.precision or catalog.backend(target.backend).precisions[0]
    return f"{target.backend}:{target.device}:{precision}"


def _untrained(
    store: Store,
    runs: pd.DataFrame,
    latencies: pd.DataFrame,
    folder: Path,
    study_file: Path | None,
    catalog: Catalog,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns untrained networks of the study's design space, and why there are none."""
    from scalelab.propose.budget import known_run
    from scalelab.propose.latency import untrained

    shaped = latencies[latencies["trial_id"].isin(runs["trial_id"])]
    if shaped.empty:
        return [], []
    row = shaped.iloc[0]
    measured = store.measurement(str(row["measurement_id"]))
    assert measured is not None, "its row was just read"
    benchmark = measured.benchmark
    options = {json.dumps(json.loads(text), sort_keys=True) for text in latencies["options"]}
    try:
        _, study = known_run(store, str(row["trial_id"]), folder, study_file)
        return untrained(study, options, benchmark.input_shape, benchmark.n_outputs, catalog), []
    except ScalelabError as error:
        return [], [f"untrained networks are left out: {error}"]


def propose_network(
    advice: LatencyAdvice,
    store: Store | Path | str,
    runs: pd.DataFrame,
    path: Path,
    *,
    limit: str,
    study_file: Path | None = None,
    catalog: Catalog | None = None,
) -> str:
    """Writes a study of the best network within a limit, trained as its architecture's best run was.

    Args:
        advice: The networks within the limit.
        store: The store of the runs.
        runs: The finished runs that it chose for.
        path: Where to write; nothing is overwritten.
        limit: The limit as text, such as `5ms`, for the study's description.
        study_file: The study file of these runs, where the store's copy cannot find its dataset.
        catalog: The plugins; the installed ones by default.

    Returns:
        The text of the study.

    Raises:
        InputError: The runs are of no study, or the file exists or cannot be written.
        StudyError: A location of the dataset is not there.
    """
    from scalelab.propose.budget import known_run
    from scalelab.propose.latency import study_of

    new_file(path)
    best = advice.candidates.iloc[0]
    own = runs[runs["architecture"] == best["architecture"]]
    ranked = own.sort_values("objective", ascending=advice.direction == "minimize")
    trial_id = best["trial_id"] or ranked["trial_id"].iloc[0]
    start, study = known_run(opened(store), str(trial_id), path.absolute().parent, study_file)
    text = study_of(
        start,
        study,
        path,
        architecture=str(best["architecture"]),
        options=json.loads(best["options"]),
        limit=f"within {limit} on {advice.place.target}",
        catalog=catalog or installed(),
    )
    write_study(path, text)
    return text
