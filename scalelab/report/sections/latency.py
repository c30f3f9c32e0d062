"""The tables of `scalelab bench`: latencies, what a precision gains and costs, fronts, laws, devices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.latency.law import LatencyLaw
from scalelab.analysis.latency.summary import BOX, LatencyFront, boxes, exactness, fronts, problems
from scalelab.report.names import place_names
from scalelab.report.numbers import percent, plain, short
from scalelab.report.terminal import Table

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.latency.advice import LatencyAdvice
    from scalelab.bench.jobs import DeviceRow

_SHOWN_FRONT = 8
_SHOWN_OF_SEVERAL = 3
_UNITS = {
    "call": "call", "operation": "operation", "layer": "layer", "dense FLOP": "GFLOP",
    "grouped FLOP": "grouped GFLOP", "activation byte": "GB of activations", "weight byte": "GB of weights",
}  # fmt: skip


def bench_tables(latencies: pd.DataFrame, laws: Sequence[LatencyLaw | Refusal]) -> list[Table]:
    """Returns everything that the measurements say, in the order in which a reader wants it."""
    exact = exactness(latencies)
    tables = [
        device_table(latencies),
        exactness_table(exact),
        change_table(exact),
        *front_tables(latencies),
        law_table(laws),
        problem_table(latencies),
    ]
    return [table for table in tables if table.rows or table.notes]


def milliseconds(seconds: float | None) -> str:
    """Returns a time in milliseconds, without the unit."""
    return "" if seconds is None else plain(1e3 * seconds)


def device_table(latencies: pd.DataFrame) -> Table:
    """Returns the spread of latencies over networks, a row for each target."""
    found = boxes(latencies)
    columns = (
        "target", "batch", "threads", "networks", "fastest", "25%", "median", "75%", "slowest",
        "±", "p99/median", "call", "examples/s", "MB", "load s",
    )  # fmt: skip
    rows = tuple(
        (
            _where(row, found),
            str(row["batch_size"]),
            str(int(row["threads"])),
            str(row["n"]),
            *(milliseconds(row[name]) for name in BOX),
            percent(row["width"]),
            plain(row["tail"], 2),
            milliseconds(row["call"]),
            short(row["throughput"]),
            plain(row["megabytes"]),
            plain(row["load"], 2),
        )
        for row in found.to_dict("records")
    )
    notes: tuple[str, ...] = ()
    if rows:
        notes = (
            "±: median half-width of the 95% intervals, differences between rounds included",
            "latencies are by the runtime's own clock where it has one; call: the median as Python sees it",
        )
    optional = ("load s", "MB", "p99/median", "threads", "call", "25%", "75%", "examples/s")
    return Table("Latency in ms", columns, rows, frozenset(columns[1:]), notes, optional)


def _where(row: Mapping[Any, Any], table: pd.DataFrame) -> str:
    """Returns the target, with the machine where there are several."""
    return f"{row['target']} on {row['host']}" if table["host"].nunique() > 1 else str(row["target"])


def exactness_table(found: pd.DataFrame) -> Table:
    """Returns what each precision gains and costs against f32 (`exactness`), a row for each target."""
    columns = ("target", "batch", "speed-up", "relative error", "worst", "same answer")
    rows = tuple(
        (
            _where(row, found),
            str(row["batch_size"]),
            f"{row['speedup']:.2f}×" if row["speedup"] == row["speedup"] else "",
            *(f"{row[name]:.1e}" for name in ("relative_error", "worst_error")),
            f"{100 * row['agreement']:.2f}%",
        )
        for row in found.to_dict("records")
    )
    notes: tuple[str, ...] = ()
    if rows and not found["n_trained"].any():
        notes = (
            "no trained weights were kept, so that a precision's cost in the objective is not known; "
            "scalelab run --keep-weights keeps them",
        )
    numeric = frozenset(columns) - {"target"}
    return Table("Outputs against PyTorch in f32", columns, rows, numeric, notes, ("worst", "batch"))


def change_table(found: pd.DataFrame) -> Table:
    """Returns what each precision does to the metrics of trained networks (`exactness`), a row a target."""
    trained = [row for row in found.to_dict("records") if row["changes"]]
    names = list(dict.fromkeys(one.metric for row in trained for one in row["changes"]))
    columns = ("target", "batch", "networks", *names, *(f"largest, {name}" for name in names))
    rows = []
    for row in trained:
        by_name = {one.metric: one for one in row["changes"]}
        changes = [f"{by_name[name].change:+.4f}" if name in by_name else "" for name in names]
        largest = [f"{by_name[name].largest:+.4f}" if name in by_name else "" for name in names]
        rows.append((_where(row, found), str(row["batch_size"]), str(row["n_trained"]), *changes, *largest))
    notes = []
    if trained:
        means = (f"{one.metric} {plain(one.in_f32, 4)}" for one in trained[0]["changes"])
        notes = [f"mean over trained networks, on the same validation examples; in f32: {', '.join(means)}"]
    optional = ("batch", *(f"largest, {name}" for name in reversed(names[1:])), "networks")
    title = "Change of metrics from PyTorch in f32"
    return Table(title, columns, tuple(rows), frozenset(columns[1:]), tuple(notes), optional)


def front_tables(latencies: pd.DataFrame) -> list[Table]:
    """Returns the Pareto fronts of objective against latency, a table a metric, the best networks first."""
    found = fronts(latencies)
    metrics = dict.fromkeys(front.metric for front in found)
    return [_front_table([front for front in found if front.metric == metric]) for metric in metrics]


def _front_table(found: Sequence[LatencyFront]) -> Table:
    first = found[0]
    name = place_names([front.place for front in found])
    columns = ("target", first.metric, "latency ms", "95% interval", "parameters", "forward", "architecture")
    limit = _SHOWN_FRONT if len(found) == 1 else _SHOWN_OF_SEVERAL
    rows = tuple(
        (
            name(front.place),
            plain(row["outcome"], 4),
            milliseconds(row["latency"]),
            f"[{milliseconds(row['latency_low'])}, {milliseconds(row['latency_high'])}]",
            short(row["n_params"]),
            short(row["forward_flops"], "FLOP"),
            design_text(row["architecture"], row["options"], front.points, front.others),
        )
        for front in found
        for row in front.points.iloc[::-1].head(limit).to_dict("records")
    )
    better = "higher" if first.direction == "maximize" else "lower"
    n_front = sum(len(front.points) for front in found)
    notes = (f"{len(rows)} of {n_front} networks on the fronts shown",) if len(rows) < n_front else ()
    title = f"Pareto fronts of {first.metric} ({better} is better) against latency"
    return Table(title, columns, rows, frozenset(columns[1:6]), notes, ("95% interval", "forward"))


def design_text(name: str, options: str, *tables: pd.DataFrame) -> str:
    """Returns an architecture with those of its options that differ among the networks of some tables."""
    known = [
        json.loads(text)
        for table in tables
        for other, text in zip(table["architecture"], table["options"], strict=True)
        if other == name
    ]
    own = json.loads(options)
    telling = [key for key in own if len({json.dumps(other.get(key)) for other in known}) > 1]
    return f"{name} " + " ".join(f"{key}={_short_json(own[key])}" for key in telling) if telling else name


def _short_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).strip('"')


def law_table(laws: Sequence[LatencyLaw | Refusal]) -> Table:
    """Returns the laws of latency, with what was refused below them."""
    fitted = [law for law in laws if isinstance(law, LatencyLaw)]
    places = [law.subject["place"] if isinstance(law, Refusal) else law.place for law in laws]
    name = place_names(places)
    columns = ("target", "model", "networks", "median error", "90% of errors below", *_models(fitted))
    rows = tuple(
        (
            name(law.place),
            law.fitted.name,
            str(len(law.networks)),
            percent(law.median_error),
            percent(law.p90_error),
            *(percent(law.choices[model]) for model in _models(fitted)),
        )
        for law in fitted
    )
    notes = [
        f"{name(law.place)}: {_prices(law)}"
        for law in fitted
        if law.fitted.name != "trees" and law.fitted.coefficients
    ]
    if fitted:
        notes.insert(0, "errors are relative, on networks that neither the fit nor the choice of model saw")
    refused: dict[str, list[str]] = {}
    for place, law in zip(places, laws, strict=True):
        if isinstance(law, Refusal):
            refused.setdefault(law.reason, []).append(name(place))
    notes += [f"{reason} ({_several(names)})" for reason, names in refused.items()]
    return Table("Laws of latency", columns, rows, frozenset(columns[2:]), tuple(notes), _models(fitted))


def _several(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _models(laws: Sequence[LatencyLaw]) -> tuple[str, ...]:
    return tuple(laws[0].choices) if laws else ()


def _prices(law: LatencyLaw) -> str:
    """Returns what a law's parameters say, in words."""
    if law.fitted.name == "roofline":
        parts = [_price(what, price) for what, price in law.fitted.coefficients.items() if price > 0]
        return "latency = " + " + ".join(parts)
    powers = [
        f"{what}^{power:.2f} [{lower:.2f}, {upper:.2f}]"
        for what, power in law.fitted.coefficients.items()
        if what not in ("constant", "grouped share")
        for lower, upper in [law.fitted.intervals[what]]
    ]
    return "latency ∝ " + " · ".join(powers)


def _price(what: str, seconds: float) -> str:
    scale = 1e9 if what.split()[-1] in ("FLOP", "byte") else 1.0
    return f"{plain(1e3 * scale * seconds)} ms per {_UNITS[what]}"


def within_table(advice: LatencyAdvice, limit: str, notes: Sequence[str] = ()) -> Table:
    """Returns the networks within a latency limit, best first."""
    columns = ("", advice.metric, "latency ms", "interval", "parameters", "forward", "architecture")
    shown = advice.candidates.head(_SHOWN_FRONT)
    rows = tuple(
        (
            "trained" if row["objective_from"] == "measured" else "expected",
            plain(row["objective"], 4),
            f"{milliseconds(row['latency'])}{'' if row['latency_from'] == 'measured' else ' (law)'}",
            f"[{milliseconds(row['lower'])}, {milliseconds(row['upper'])}]",
            short(row["n_params"]),
            short(row["forward_flops"], "FLOP"),
            design_text(row["architecture"], row["options"], advice.candidates),
        )
        for row in shown.to_dict("records")
    )
    found = f"{len(advice.candidates)} of {advice.n_looked_at} networks are within {limit}"
    better = "higher" if advice.direction == "maximize" else "lower"
    said = [f"{found}; {better} {advice.metric} is better", *_law_note(advice), *advice.notes, *notes]
    numeric = frozenset(columns[1:6])
    title = f"Best networks within {limit} on {place_names([advice.place])(advice.place)}"
    return Table(title, columns, rows, numeric, tuple(said), ("forward", "interval"))


def _law_note(advice: LatencyAdvice) -> list[str]:
    law = advice.law
    if isinstance(law, Refusal) or (advice.candidates["latency_from"] == "measured").all():
        return []
    return [
        f"(law): {law.fitted.name}, off by {percent(law.median_error)} in the median on held-out networks"
    ]


def problem_table(latencies: pd.DataFrame) -> Table:
    """Returns what could not be measured, with the reason."""
    columns = ("target", "batch", "status", "networks", "reason")
    rows = tuple(
        (str(row["target"]), str(row["batch_size"]), str(row["status"]), str(row["n"]), str(row["reason"]))
        for row in problems(latencies).to_dict("records")
    )
    return Table("Not measured", columns, rows, frozenset({"batch", "networks"}))


def devices_table(rows: Sequence[DeviceRow]) -> Table:
    """Returns the devices of all backends, those that cannot be used with the reason."""
    columns = ("backend", "device", "usable", "precisions", "what it is, or how to get it")
    cells = tuple(
        (row.backend, row.device, "yes" if row.available else "no", ", ".join(row.precisions), row.detail)
        for row in rows
    )
    return Table("", columns, cells)
