"""`scalelab predict` and `verdicts`: the loss at a scale, the scale that reaches a loss, and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from scalelab.amounts import amount
from scalelab.cli import options as opt
from scalelab.cli.context import filters_of, pairs, print_json, tell, warn
from scalelab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.prediction import Forecast, Target
    from scalelab.api.verdicts import Registered


def predict(
    ctx: typer.Context,
    store: opt.Store = opt.DEFAULT_STORE,
    at: opt.At = None,
    rows: opt.Rows = None,
    reach: opt.Reach = None,
    axis: opt.ReachAxes = None,
    study: opt.Studies = None,
    dataset: opt.Dataset = None,
    architecture: opt.Architecture = None,
    optimizer: opt.Optimizer = None,
    where: opt.Where = None,
    law: opt.PredictLaw = None,
    estimator: opt.Estimator = "log-huber",
    level: opt.Level = 0.9,
    on: opt.On = "validation",
    charge: opt.Charge = "last",
    register: opt.Register = False,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Predict the loss of a run at a scale, or the scale that reaches a loss, for every family of runs.

    Every line says how far it lies beyond the runs, and how far off the same law was when it predicted the
    held-out larger runs from the smaller ones.
    """
    import scalelab
    from scalelab.analysis.estimate import Refusal
    from scalelab.report.outcomes import meaning
    from scalelab.report.sections.predict import forecast_table, target_table

    scale = _asked_scale(at, rows, reach, axis, register=register)
    catalog = ctx.obj.catalog(plugins_dir) if plugins_dir else None
    only = filters_of(study, dataset, architecture, optimizer, where, on, charge)
    asked = only | scalelab.AskedOfLaw(law=law, estimator=estimator, level=level, catalog=catalog)
    if register:
        _register(ctx, scalelab.register(store, scale, **asked), level, meaning(on, charge), json=json)
        return
    found: Sequence[Forecast | Target | Refusal]
    if reach is None:
        found = forecasts = scalelab.predict(store, scale, **asked)
        table = forecast_table(forecasts, level, meaning(on, charge))
    else:
        found = targets = scalelab.reach(store, reach, axes=axis, **asked)
        table = target_table(targets, level, meaning(on, charge))
    refusals = {one.reason for one in found if isinstance(one, Refusal)}
    if all(isinstance(one, Refusal) for one in found):
        raise InputError(f"the runs support no prediction: {'; '.join(sorted(refusals))}")
    if json:
        if reach is None:
            print_json("predict", {"forecasts": found})
        else:
            print_json("reach", {"targets": found})
    else:
        ctx.obj.show(table)


def _register(
    ctx: typer.Context, made: Registered, level: float, meant: Iterable[str], *, json: bool
) -> None:
    from scalelab.report.sections.predict import forecast_table, registered_lines

    for one in made.refused:
        warn(f"not registered: {one}")
    if json:
        predictions = [{"id": one.id, **one.model_dump(mode="json")} for one in made.predictions]
        print_json("predict", {"forecasts": made.forecasts, "registered": predictions})
        return
    ctx.obj.show(forecast_table(made.forecasts, level, meant))
    for line in registered_lines(made.predictions):
        tell(line)


def verdicts(ctx: typer.Context, store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """Hold every registered prediction against the runs that came, beside three plainer rules.

    A run answers a prediction when it has the settings that the law's points share, and its scale.
    """
    import scalelab
    from scalelab.report.sections.verdicts import tables

    found = scalelab.verdicts(store)
    if json:
        print_json("verdicts", found)
    else:
        ctx.obj.show(*tables(found))


def _asked_scale(
    at: list[str] | None, rows: Path | None, reach: float | None, axis: list[str] | None, *, register: bool
) -> dict[str, float] | Path:
    """Returns the scale that is asked for, or the table of them; nothing where a loss is to be reached."""
    if [bool(at), rows is not None, reach is not None].count(True) != 1:
        raise InputError("give one of --at AXIS=NUMBER, such as --at n_params=1e9, --rows FILE, --reach LOSS")
    if axis and reach is None:
        raise InputError("--axis goes with --reach; with --at the axes are those that it names")
    if register and reach is not None:
        raise InputError("--register goes with --at or --rows: what is registered is the loss of a run")
    if rows is not None:
        return rows
    form = "AXIS=NUMBER, such as n_params=1e9 or n_params=10M"
    return {axis: amount(number, f"--at {axis}") for axis, number in pairs("--at", at, form).items()}
