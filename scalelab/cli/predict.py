"""`scalelab predict`: the loss at a scale, or the scale that reaches a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import pairs, print_json
from scalelab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.prediction import Forecast, Target


def predict(
    ctx: typer.Context,
    store: opt.Store = opt.DEFAULT_STORE,
    at: opt.At = None,
    reach: opt.Reach = None,
    axis: opt.ReachAxes = None,
    study: opt.Study = None,
    dataset: opt.Dataset = None,
    architecture: opt.Architecture = None,
    optimizer: opt.Optimizer = None,
    law: opt.PredictLaw = None,
    estimator: opt.Estimator = "log-huber",
    level: opt.Level = 0.9,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Predict the loss of a run at a scale, or the scale that reaches a loss, for every family of runs.

    Every line says how far it lies beyond the runs, and how far off the same law was when it predicted the
    held-out larger runs from the smaller ones.
    """
    import scalelab
    from scalelab.analysis.estimate import Refusal

    if bool(at) == (reach is not None):
        raise InputError("give either --at AXIS=NUMBER, such as --at n_params=1e9, or --reach LOSS")
    if axis and reach is None:
        raise InputError("--axis goes with --reach; with --at the axes are those that it names")
    scale = _scale(at)
    catalog = ctx.obj.catalog(plugins_dir) if plugins_dir else None
    found: Sequence[Forecast | Target | Refusal]
    only = scalelab.Filters(study=study, dataset=dataset, architecture=architecture, optimizer=optimizer)
    if reach is None:
        found = scalelab.predict(
            store, scale, law=law, estimator=estimator, level=level, catalog=catalog, **only
        )
    else:
        axes = axis or ["train_flops"]
        found = scalelab.reach(
            store, reach, axes=axes, law=law, estimator=estimator, level=level, catalog=catalog, **only
        )
    refusals = {one.reason for one in found if isinstance(one, Refusal)}
    if all(isinstance(one, Refusal) for one in found):
        raise InputError(f"the runs support no prediction: {'; '.join(sorted(refusals))}")
    if json:
        print_json(found)
        return
    _show(found, level, plain=ctx.obj.plain)


def _scale(at: list[str] | None) -> dict[str, float]:
    form = "AXIS=NUMBER, such as n_params=1e9"
    scale = {}
    for axis, number in pairs("--at", at, form).items():
        try:
            scale[axis] = float(number)
        except ValueError:
            raise InputError(f"--at {axis}={number}: must be {form}") from None
    return scale


def _show(found: Sequence[Forecast | Target | Refusal], level: float, *, plain: bool) -> None:
    from scalelab.analysis.families.prediction import Target
    from scalelab.report.sections.predict import forecast_table, target_table
    from scalelab.report.terminal import show

    is_target = any(isinstance(one, Target) for one in found)
    table = target_table(found, level) if is_target else forecast_table(found, level)  # type: ignore[arg-type]
    show(table, plain=plain)
