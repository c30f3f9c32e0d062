"""`scalelab predict`: the loss at a scale, or the scale that reaches a loss."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab.cli.context import DEFAULT_STORE, JsonOption, PluginsDirOption, StoreOption, law_named
from scalelab.cli.finished import (
    ArchitectureOption,
    DatasetOption,
    EstimatorOption,
    LevelOption,
    OptimizerOption,
    StudyOption,
    finished,
)
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalelab.analysis.estimate import Refusal
    from scalelab.analysis.families.prediction import Forecast, Target

AT_HELP = "AXIS=NUMBER, such as n_params=1e9; once for each axis of the law."
REACH_HELP = "The loss to reach: prints the scale that does."
LAW_HELP = "Form to fit; power-offset along one axis and chinchilla on two by default, auto averages forms."


def predict(
    ctx: typer.Context,
    store: StoreOption = DEFAULT_STORE,
    at: Annotated[list[str] | None, typer.Option("--at", help=AT_HELP)] = None,
    reach: Annotated[float | None, typer.Option("--reach", help=REACH_HELP)] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option("--axis", help="With --reach: n_params, n_examples or train_flops (default)."),
    ] = None,
    study: StudyOption = None,
    dataset: DatasetOption = None,
    architecture: ArchitectureOption = None,
    optimizer: OptimizerOption = None,
    law: Annotated[str | None, typer.Option("--law", help=LAW_HELP)] = None,
    estimator: EstimatorOption = "log-huber",
    level: LevelOption = 0.9,
    plugins_dir: PluginsDirOption = None,
    json: JsonOption = False,
) -> None:
    """Predict the loss of a run at a scale, or the scale that reaches a loss, for every family of runs.

    Every line says how far it lies beyond the runs, and how far off the same law was when it foretold the
    larger of them from the smaller ones.
    """
    from scalelab.analysis.families import prediction
    from scalelab.analysis.runs.designs import designs
    from scalelab.errors import InputError

    if bool(at) == (reach is not None):
        raise InputError("give either --at AXIS=NUMBER, such as --at n_params=1e9, or --reach LOSS")
    if axis and reach is None:
        raise InputError("--axis goes with --reach; with --at the axes are those that it names")
    scale = _scale(at or [])
    if reach is None:
        scale = prediction.read_scale(scale)
    options: dict[str, Any] = {
        "law": law_named(ctx, law, plugins_dir),
        "estimator": estimator,
        "level": level,
    }
    only = {"dataset": dataset, "architecture": architecture, "optimizer": optimizer}
    table = designs(finished(ctx.obj.store(store), store, study, only))
    found: Sequence[Forecast | Target | Refusal]
    if reach is None:
        found = prediction.forecast(table, scale, **options)
    else:
        found = prediction.reach(table, reach, axes=axis or ["train_flops"], **options)
    refusals = {one.reason for one in found if isinstance(one, Refusal)}
    if all(isinstance(one, Refusal) for one in found):
        raise InputError(f"the runs support no prediction: {'; '.join(sorted(refusals))}")
    if json:
        print(json_module.dumps(jsonable(found), indent=2))
        return
    _show(found, level, plain=ctx.obj.plain)


def _scale(at: list[str]) -> dict[str, float]:
    """Reads `AXIS=NUMBER` texts.

    Raises:
        InputError: One is not of that form, or an axis stands twice.
    """
    from scalelab.errors import InputError, brief

    scale: dict[str, float] = {}
    for text in at:
        axis, equals, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"--at {brief(text)}: must be AXIS=NUMBER, such as n_params=1e9")
        if axis.strip() in scale:
            raise InputError(f"--at {brief(text)}: {axis.strip()} was given already; one number an axis")
        scale[axis.strip()] = value
    return scale


def _show(found: Sequence[Forecast | Target | Refusal], level: float, *, plain: bool) -> None:
    from scalelab.analysis.families.prediction import Target
    from scalelab.report.sections.predict import forecast_table, target_table
    from scalelab.report.terminal import show

    is_target = any(isinstance(one, Target) for one in found)
    table = target_table(found, level) if is_target else forecast_table(found, level)  # type: ignore[arg-type]
    show(table, plain=plain)
