"""`scalelab advise --max-latency`: the best network within a limit, as a study file that can be run."""

from __future__ import annotations

import json as json_module
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.cli.context import write_study
from scalelab.errors import InputError, brief
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.latency.advice import LatencyAdvice
    from scalelab.plugins import Catalog
    from scalelab.store import Store

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def seconds_of(text: str) -> float:
    """Returns a duration such as `5ms`, `0.02s` or `800us` in seconds.

    Raises:
        InputError: It is none.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(s|ms|us|µs)\s*", text)
    try:
        value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    except ValueError:
        value = 0.0
    if value <= 0:
        raise InputError(f"--max-latency {brief(text)}: must be a time such as 5ms, 0.02s or 800us")
    return value


def advise_within(
    store: Store,
    runs: pd.DataFrame,
    *,
    limit: str,
    device: str | None,
    batch_size: int,
    write: Path | None,
    source: Path | None,
    catalog: Catalog,
    plain: bool,
    json: bool,
) -> None:
    """Prints the networks within a limit, best first, and writes the study of the best one.

    Raises:
        InputError: The limit or the device is wrong, nothing was measured there, or nothing is fast enough.
    """
    from scalelab.analysis.latency.advice import advise_latency, find_place

    seconds = seconds_of(limit)
    if device is None:
        raise InputError("--max-latency needs --device, such as openvino:CPU:int8")
    latencies = store.latencies()
    target = _target(device, catalog)
    try:
        place = find_place(latencies, target, batch_size, platform.node())
    except InputError as error:
        study = str(runs["study"].iloc[0])
        raise InputError(
            f"{error}; run first: scalelab bench --study {study} --store {store.path} --targets {target}"
            + (f" --batch-sizes {batch_size}" if batch_size != 1 else "")
        ) from None
    new, notes = _new_networks(store, runs, latencies, source, write, catalog)
    advice = advise_latency(latencies, runs, place, seconds, new)
    text = _study_text(advice, store, runs, limit, write, source, catalog) if write is not None else None
    if json:
        written = None if write is None else {"path": str(write), "text": text}
        document = {**json_object(advice), "study": written}
        print(json_module.dumps(document, indent=2))
        return
    from scalelab.report.sections.latency import within_table
    from scalelab.report.terminal import show

    show(within_table(advice, limit, notes), plain=plain)
    if write is not None:
        print(f"next: scalelab plan {write} --store {store.path}")


def _target(device: str, catalog: Catalog) -> str:
    """Returns the target with its precision; no runtime is asked whether the device is here."""
    from scalelab.measure.targets import parse_target

    target = parse_target(device)
    precision = target.precision or catalog.backend(target.backend).precisions[0]
    return f"{target.backend}:{target.device}:{precision}"


def _new_networks(
    store: Store,
    runs: pd.DataFrame,
    latencies: pd.DataFrame,
    source: Path | None,
    write: Path | None,
    catalog: Catalog,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns networks of the study's design space that nobody trained, and why there are none."""
    from scalelab.errors import ScalelabError
    from scalelab.propose.budget import known_run
    from scalelab.propose.latency import untrained

    shaped = latencies[latencies["trial_id"].isin(runs["trial_id"])]
    if shaped.empty:
        return [], []
    row = shaped.iloc[0]
    _, content = store.rows(
        f"select content from measurements where measurement_id = '{row['measurement_id']}'"
    )
    benchmark = json_module.loads(content[0][0])["benchmark"]
    options = latencies["options"].map(
        lambda text: json_module.dumps(json_module.loads(text), sort_keys=True)
    )
    folder = write.absolute().parent if write is not None else Path.cwd()
    try:
        _, study = known_run(store, str(row["trial_id"]), folder, source)
        shape = tuple(benchmark["input_shape"])
        return untrained(study, set(options), shape, benchmark["n_outputs"], catalog), []
    except ScalelabError as error:
        return [], [f"networks that nobody trained are left out: {error}"]


def _study_text(
    advice: LatencyAdvice,
    store: Store,
    runs: pd.DataFrame,
    limit: str,
    path: Path,
    source: Path | None,
    catalog: Catalog,
) -> str:
    """Writes the study of the best network, trained as the best run of its architecture was."""
    from scalelab.propose.budget import known_run
    from scalelab.propose.latency import study_of

    best = advice.candidates.iloc[0]
    own = runs[runs["architecture"] == best["architecture"]]
    ranked = own.sort_values("objective", ascending=advice.direction == "minimize")
    trial_id = best["trial_id"] or ranked["trial_id"].iloc[0]
    start, study = known_run(store, str(trial_id), path.absolute().parent, source)
    text = study_of(
        start,
        study,
        path,
        architecture=str(best["architecture"]),
        options=json_module.loads(best["options"]),
        limit=f"within {limit} on {advice.place.target}",
        catalog=catalog,
    )
    write_study(path, text)
    return text
