"""What measurements say together: boxes of latencies, what a precision gains and costs, Pareto fronts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scalelab.analysis.latency.law import KEY, measured
from scalelab.analysis.runs.designs import split
from scalelab.analysis.runs.frontier import pareto_mask
from scalelab.records import Direction

if TYPE_CHECKING:
    import pandas as pd

BOX = ("min", "q25", "median", "q75", "max")
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def boxes(latencies: pd.DataFrame) -> pd.DataFrame:
    """Returns the spread of latencies over networks, a row for each place, in the order of their names.

    Args:
        latencies: One row per measurement, as the store's `latencies`.

    Returns:
        The columns `host`, `target`, `batch_size`, `threads`, `n` (networks), those of `BOX` (in
        seconds), `width` (median half-width of the intervals, relative), `tail` (median of p99 over the
        median), `call` (median seconds of the whole call from Python), `throughput` (median examples a
        second, with several calls at once where the runtime can), `megabytes` (median size of a model),
        `load` (median seconds to convert, quantize, compile and load) and `relative_error` (largest).
    """
    rows = _with_defaults(measured(latencies))
    latency = rows["latency"]
    half = np.maximum(rows["latency_high"] - latency, latency - rows["latency_low"])
    steps = rows[["convert_seconds", "quantize_seconds", "compile_seconds", "load_seconds"]].astype(float)
    numbers = rows[list(KEY)].assign(
        width=half / latency,
        tail=rows["p99"] / latency,
        call=rows["call_latency"].astype(float),
        throughput=rows[["throughput", "throughput_async"]].astype(float).max(axis=1),
        megabytes=rows["model_bytes"].astype(float) / 1e6,
        load=steps.fillna(0.0).sum(axis=1),
    )
    places = rows.groupby(list(KEY), sort=True)
    spread = {name: places["latency"].quantile(share) for name, share in zip(BOX, _QUANTILES, strict=True)}
    largest = rows["relative_error"].astype(float).groupby([rows[name] for name in KEY]).max()
    table = numbers.groupby(list(KEY), sort=True).median()
    table = table.assign(n=places.size(), **spread, relative_error=largest).reset_index()
    return table[
        [*KEY, "n", *BOX, "width", "tail", "call", "throughput", "megabytes", "load", "relative_error"]
    ]


def _with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(host=rows["host"].astype(str), target=rows["target"].astype(str))


class MetricChange(NamedTuple):
    """What a precision did to a metric of trained networks, on the same validation examples.

    Attributes:
        metric: Its name.
        in_f32: Mean over networks in PyTorch f32.
        here: Mean over networks on the target.
        change: Mean change.
        largest: The change of the network whose change is the largest in size.
    """

    metric: str
    in_f32: float
    here: float
    change: float
    largest: float


def exactness(latencies: pd.DataFrame) -> pd.DataFrame:
    """Returns what each precision gains and costs, a row for each place.

    Speed-ups compare the same networks on the same device in f32, where both were measured.

    Returns:
        The columns of `KEY`, `speedup` (median; NaN without f32), `relative_error` (median),
        `worst_error`, `n_zero` (networks that have no such error, for all of PyTorch's outputs are zero),
        `agreement` (median), and of the networks with trained weights `n_trained` and `changes`: a
        `MetricChange` for each metric, the objective first.
    """
    import pandas as pd

    rows = _with_defaults(measured(latencies))
    same = ["host", "backend", "device", "batch_size", "threads", "network_id"]
    plain = rows[rows["precision"] == "f32"].set_index(same)["latency"].rename("plain")
    joined = rows.join(plain[~plain.index.duplicated()], on=same)
    found = []
    for key, own in split(joined, list(KEY)):
        trained = own.dropna(subset=["objective_f32", "objective_here", "scores_f32", "scores_here"])
        found.append(
            dict(zip(KEY, key, strict=True))
            | {
                "speedup": float((own["plain"] / own["latency"]).median()),
                "relative_error": float(own["relative_error"].astype(float).median()),
                "worst_error": float(own["relative_error"].astype(float).max()),
                "n_zero": int(own["relative_error"].isna().sum()),
                "agreement": float(own["agreement"].astype(float).median()),
                "n_trained": len(trained),
                "changes": tuple(_changes(trained)),
            }
        )
    return pd.DataFrame(found)


def _changes(trained: pd.DataFrame) -> Iterator[MetricChange]:
    """Yields how metrics of networks changed, the objective first."""
    import pandas as pd

    before, after = (
        pd.DataFrame([json.loads(text) for text in trained[name]], dtype=float)
        for name in ("scores_f32", "scores_here")
    )
    objectives = [name for name in dict.fromkeys(trained["metric"]) if name in before]
    for name in [*objectives, *(name for name in before if name not in objectives)]:
        change = after[name] - before[name]
        if change.notna().any():
            largest = change[change.abs().idxmax()]
            numbers = (before[name].mean(), after[name].mean(), change.mean(), largest)
            yield MetricChange(str(name), *map(float, numbers))


@dataclass(frozen=True, eq=False)
class LatencyFront:
    """The networks of one place that no other beats in both objective and latency.

    Attributes:
        place: Host, target, batch size, threads.
        metric: Name of the objective.
        direction: Whether a lower or a higher objective is better.
        points: Those on the front, fastest first; a row per network, as in the store's `latencies`, with the
            `outcome` that counts: on the target where it was computed there, else that of the run.
        others: The rest.
    """

    place: tuple[str, str, int, int]
    metric: str
    direction: Direction
    points: pd.DataFrame
    others: pd.DataFrame


def fronts(latencies: pd.DataFrame) -> tuple[LatencyFront, ...]:
    """Returns the Pareto front of objective against latency of every place with trained networks."""
    return tuple(_fronts(latencies))


def _fronts(latencies: pd.DataFrame) -> Iterator[LatencyFront]:
    rows = _with_defaults(measured(latencies)).dropna(subset=["objective", "metric"])
    # What the precision changes, at the weights that were kept, is added to the best that the run reached.
    rows = rows.assign(outcome=rows["objective"].astype(float) + objective_changes(rows).fillna(0.0))
    for key, own in split(rows, [*KEY, "metric", "direction"]):
        *place, metric, direction = key
        mask = pareto_mask(own["latency"], own["outcome"], direction)
        points = own[mask].sort_values("latency", ignore_index=True)
        yield LatencyFront(tuple(place), str(metric), direction, points, own[~mask].reset_index(drop=True))


def objective_changes(rows: pd.DataFrame) -> pd.Series:
    """Returns what the target's precision adds to the objective of each row; NaN where not computed."""
    return rows["objective_here"].astype(float) - rows["objective_f32"].astype(float)


def problems(latencies: pd.DataFrame) -> pd.DataFrame:
    """Returns what was not measured, a row for each target, status and reason, with how many networks."""
    wrong = latencies[latencies["status"] != "ok"]
    counted = wrong.groupby(["target", "batch_size", "status", "reason"], dropna=False).size()
    return counted.rename("n").reset_index()
