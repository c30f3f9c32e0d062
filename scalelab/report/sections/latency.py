"""What `scalelab bench` shows: latencies, what a precision gains and costs, fronts, laws, devices."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.latency.law import LatencyLaw
from scalelab.analysis.latency.summary import BOX, LatencyFront, boxes, exactness, fronts, problems
from scalelab.report.names import grouped, place_names, said_once
from scalelab.report.numbers import percent, plain, short
from scalelab.report.parts import Table
from scalelab.report.sections.fronts import better

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.latency.advice import LatencyAdvice
    from scalelab.bench.jobs import DeviceRow

_SHOWN_FRONT = 8
_SHOWN_OF_SEVERAL = 3
_NAMED_PLACES = 4
_UNITS = {
    "call": "call", "operation": "operation", "layer": "layer", "dense FLOP": "GFLOP",
    "grouped FLOP": "grouped GFLOP", "activation byte": "GB of activations", "weight byte": "GB of weights",
}  # fmt: skip


def bench_tables(latencies: pd.DataFrame, laws: Sequence[LatencyLaw | Refusal]) -> list[Table]:
    """Returns everything that the measurements say, in the order in which a reader wants it."""
    exact = exactness(latencies)
    tables = [
        device_table(latencies),
        _exactness_table(exact),
        _change_table(exact),
        *_front_tables(latencies),
        law_table(laws),
        _problem_table(latencies),
    ]
    return [table for table in tables if table.rows or table.notes]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else plain(1e3 * seconds)


def device_table(latencies: pd.DataFrame) -> Table:
    """Returns the spread of latencies over networks, a row for each target."""
    found = boxes(latencies)
    names = dict(zip(("fastest", "25%", "median", "75%", "slowest"), BOX, strict=True))
    rows = [
        {
            "target": _where(row, found),
            "batch": str(row["batch_size"]),
            "threads": str(int(row["threads"])),
            "networks": str(row["n"]),
            **{head: _milliseconds(row[name]) for head, name in names.items()},
            "±": percent(row["width"]),
            "p99/median": plain(row["tail"], 2),
            "call": _milliseconds(row["call"]),
            "examples/s": short(row["throughput"]),
            "MB": plain(row["megabytes"]),
            "load s": plain(row["load"], 2),
        }
        for row in found.to_dict("records")
    ]
    notes = (
        "±: median half-width of the 95% intervals, differences between rounds included",
        "latencies are by the runtime's own clock where it has one; call: the median as Python sees it",
    )
    optional = ("load s", "MB", "p99/median", "threads", "call", "25%", "75%", "examples/s")
    return Table.of("Latency in ms", rows, notes=notes if rows else (), optional=optional)


def _where(row: Mapping[Any, Any], table: pd.DataFrame) -> str:
    """Returns the target, with the machine where there are several."""
    return f"{row['target']} on {row['host']}" if table["host"].nunique() > 1 else str(row["target"])


def _exactness_table(found: pd.DataFrame) -> Table:
    """Returns what each precision gains and costs against f32 (`exactness`), a row for each target."""
    rows = [
        {
            "target": _where(row, found),
            "batch": str(row["batch_size"]),
            "speed-up": f"{row['speedup']:.2f}×" if row["speedup"] == row["speedup"] else "",
            "relative error": _error(row["relative_error"]),
            "worst": _error(row["worst_error"]),
            "same answer": f"{100 * row['agreement']:.2f}%",
        }
        for row in found.to_dict("records")
    ]
    notes = []
    if rows and not found["n_trained"].any():
        notes = [
            "no trained weights were kept, so that a precision's cost in the objective is not known; "
            "scalelab run --keep-weights keeps them"
        ]
    if rows and found["n_zero"].any():
        n = found["n_zero"].max()
        notes.append(f"no relative error where PyTorch answers 0 to every example: up to {n} networks")
    return Table.of("Outputs against PyTorch in f32", rows, notes=notes, optional=("worst", "batch"))


def _error(value: float) -> str:
    return f"{value:.1e}" if value == value else ""


def _change_table(found: pd.DataFrame) -> Table:
    """Returns what each precision does to the metrics of trained networks (`exactness`), per target."""
    trained = [row for row in found.to_dict("records") if row["changes"]]
    names = list(dict.fromkeys(one.metric for row in trained for one in row["changes"]))
    rows = []
    for row in trained:
        by_name = {one.metric: one for one in row["changes"]}
        known = {name: by_name.get(name) for name in names}
        rows.append(
            {
                "target": _where(row, found),
                "batch": str(row["batch_size"]),
                "networks": str(row["n_trained"]),
                **{name: f"{one.change:+.4f}" if one else "" for name, one in known.items()},
                **{f"largest, {name}": f"{one.largest:+.4f}" if one else "" for name, one in known.items()},
            }
        )
    notes = []
    if trained:
        means = (f"{one.metric} {plain(one.in_f32, 4)}" for one in trained[0]["changes"])
        notes = [f"mean over trained networks, on the same validation examples; in f32: {', '.join(means)}"]
    optional = ("batch", *(f"largest, {name}" for name in reversed(names[1:])), "networks")
    return Table.of("Change of metrics from PyTorch in f32", rows, notes=notes, optional=optional)


def _front_tables(latencies: pd.DataFrame) -> Iterator[Table]:
    """Yields the Pareto fronts of objective against latency, one table per metric, best networks first."""
    for metric, found in grouped(fronts(latencies), lambda front: front.metric).items():
        name = place_names([front.place for front in found])
        limit = _SHOWN_FRONT if len(found) == 1 else _SHOWN_OF_SEVERAL
        rows = [row for front in found for row in _front_rows(front, name(front.place), limit)]
        n_front = sum(len(front.points) for front in found)
        notes = [f"{len(rows)} of {n_front} networks on the fronts shown"] if len(rows) < n_front else []
        title = f"Pareto fronts of {metric} ({better(found[0].direction)} is better) against latency"
        optional = ("95% interval", "forward")
        yield Table.of(title, rows, numbers=slice(1, 6), notes=notes, optional=optional)


def _front_rows(front: LatencyFront, place: str, limit: int) -> Iterator[dict[str, str]]:
    for row in front.points.iloc[::-1].head(limit).to_dict("records"):
        yield {
            "target": place,
            front.metric: plain(row["outcome"], 4),
            "latency ms": _milliseconds(row["latency"]),
            "95% interval": f"[{_milliseconds(row['latency_low'])}, {_milliseconds(row['latency_high'])}]",
            "parameters": short(row["n_params"]),
            "forward": short(row["forward_flops"], "FLOP"),
            "architecture": design_text(row["architecture"], row["options"], front.points, front.others),
        }


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
    return " ".join([name, *(f"{key}={_short_json(own[key])}" for key in telling)])


def _short_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).strip('"')


def law_table(laws: Sequence[LatencyLaw | Refusal]) -> Table:
    """Returns the laws of latency, with what was refused below them."""
    fitted = [law for law in laws if isinstance(law, LatencyLaw)]
    models = tuple(fitted[0].choices) if fitted else ()
    name = place_names([law.subject["place"] if isinstance(law, Refusal) else law.place for law in laws])
    rows = (
        {
            "target": name(law.place),
            "model": law.fitted.name,
            "networks": str(len(law.networks)),
            "median error": percent(law.median_error),
            "90% of errors below": percent(law.p90_error),
            **{model: percent(law.choices[model]) for model in models},
        }
        for law in fitted
    )
    notes = (
        ["errors are relative, on networks that neither the fit nor the choice of model saw"]
        if fitted
        else []
    )
    notes += [
        f"{name(law.place)}: {_coefficients(law)}"
        for law in fitted
        if law.fitted.name != "trees" and law.fitted.coefficients
    ]
    refused = ((name(law.subject["place"]), law.reason) for law in laws if isinstance(law, Refusal))
    notes += said_once(refused, _NAMED_PLACES)
    return Table.of("Laws of latency", rows, numbers=slice(2, None), notes=notes, optional=models)


def _coefficients(law: LatencyLaw) -> str:
    """Returns what a law's parameters say, as text."""
    if law.fitted.name == "roofline":
        parts = [
            _coefficient(what, seconds) for what, seconds in law.fitted.coefficients.items() if seconds > 0
        ]
        return "latency = " + " + ".join(parts)
    powers = [
        f"{what}^{power:.2f} [{lower:.2f}, {upper:.2f}]"
        for what, power in law.fitted.coefficients.items()
        if what not in ("constant", "grouped share")
        for lower, upper in [law.fitted.intervals[what]]
    ]
    return "latency ∝ " + " · ".join(powers)


def _coefficient(what: str, seconds: float) -> str:
    scale = 1e9 if what.split()[-1] in ("FLOP", "byte") else 1.0
    return f"{_milliseconds(scale * seconds)} ms per {_UNITS[what]}"


def within_table(advice: LatencyAdvice, limit: str, notes: Sequence[str] = ()) -> Table:
    """Returns the networks within a latency limit, best first."""
    rows = (
        {
            "": "trained" if row["objective_from"] == "measured" else "expected",
            advice.metric: plain(row["objective"], 4),
            "latency ms": _milliseconds(row["latency"])
            + ("" if row["latency_from"] == "measured" else " (law)"),
            "interval": f"[{_milliseconds(row['lower'])}, {_milliseconds(row['upper'])}]",
            "parameters": short(row["n_params"]),
            "forward": short(row["forward_flops"], "FLOP"),
            "architecture": design_text(row["architecture"], row["options"], advice.candidates),
        }
        for row in advice.candidates.head(_SHOWN_FRONT).to_dict("records")
    )
    found = f"{len(advice.candidates)} of {advice.n_looked_at} networks are within {limit}"
    said = [f"{found}; {better(advice.direction)} {advice.metric} is better"]
    law = advice.law
    if isinstance(law, LatencyLaw) and not (advice.candidates["latency_from"] == "measured").all():
        error = percent(law.median_error)
        said.append(f"(law): {law.fitted.name}, median error of {error} on held-out networks")
    title = f"Best networks within {limit} on {place_names([advice.place])(advice.place)}"
    optional = ("forward", "interval")
    return Table.of(title, rows, numbers=slice(1, 6), notes=[*said, *advice.notes, *notes], optional=optional)


def _problem_table(latencies: pd.DataFrame) -> Table:
    """Returns what could not be measured, with the reason."""
    found = problems(latencies).rename(columns={"batch_size": "batch", "n": "networks"})
    heads = ("target", "batch", "networks", "status", "reason")
    rows = ({head: str(row[head]) for head in heads} for row in found.to_dict("records"))
    return Table.of("Not measured", rows, numbers=slice(1, 3))


def devices_table(rows: Sequence[DeviceRow]) -> Table:
    """Returns the devices of all backends, those that cannot be used with the reason."""
    cells = (
        {
            "backend": row.backend,
            "device": row.device,
            "usable": "yes" if row.available else "no",
            "precisions": ", ".join(row.precisions),
            "what it is, or how to enable it": row.detail,
        }
        for row in rows
    )
    return Table.of("", cells, numbers=slice(0))
