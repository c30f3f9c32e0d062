"""What a trainer gives back, looked at before it becomes a record: a wrong number would be kept for good."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import nn  # noqa: TID253 - only what trains imports this module

from scalelab.components import OpenDataset, Task
from scalelab.errors import PluginError, brief, plain_line, suggest
from scalelab.reached import objective_at
from scalelab.records import Trial
from scalelab.train.metrics import objective_of, resolve_metrics
from scalelab.trainers import TrainResult

_AMOUNTS = ("train_flops", "epochs", "wall_seconds", "validation_seconds")
_MADE_BY = "return what run.result(status, n_steps) gives"


def refuse_unsound(
    name: str, returned: Any, trial: Trial, data: OpenDataset, module: nn.Module, n_steps: int
) -> TrainResult:
    """Returns what a trainer returned, once it is known to make sense.

    Args:
        name: Of the trainer, for messages.
        returned: What it returned.
        trial: What it trained.
        data: On what.
        module: What it trained, whose weights the best ones must fit.
        n_steps: Optimizer steps that the trial asks for.

    Raises:
        PluginError: A field has the wrong type, is missing, is not finite, or contradicts another one.
    """
    if not isinstance(returned, TrainResult):
        got = type(returned).__name__
        raise PluginError(f"trainer {name!r} returned {got}, expected scalelab.TrainResult; {_MADE_BY}")
    try:
        _fields().model_validate({name: getattr(returned, name) for name in _fields().model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where} = {brief(first['input'])}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise PluginError(f"trainer {name!r} returned a result with {what}; {_MADE_BY}") from error
    chosen = trial.training.objective
    for problem in (*_problems(returned, data.task, chosen, n_steps), *_weight_problems(returned, module)):
        raise PluginError(f"trainer {name!r} returned a result {problem}; {_MADE_BY}")
    said = None if returned.error is None else plain_line(returned.error)
    return dataclasses.replace(returned, error=said)


def whole_number(name: str, what: str, value: Any, most: int) -> int:
    """Returns a number of steps that a trainer names.

    Raises:
        PluginError: It is none from 0 to `most`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise PluginError(f"trainer {name!r}: {what} is {brief(value)}; a whole number from 0 to {most:,}")
    return value


def amount(name: str, what: str, value: Any, otherwise: float) -> float:
    """Returns an amount that a trainer names, or another one where it names none.

    Raises:
        PluginError: It is no number of 0 or more.
    """
    if value is None:
        return otherwise
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or value < 0:
        raise PluginError(f"trainer {name!r}: {what} is {brief(value)}; a number of 0 or more")
    return float(value)


@cache
def _fields() -> type[BaseModel]:
    """Returns a model of a result's fields, which takes each type as it is."""
    hints: Any = get_type_hints(TrainResult, include_extras=True)
    fields: Any = {name: (hint, ...) for name, hint in hints.items()}
    model: type[BaseModel] = create_model("Returned", __config__=ConfigDict(strict=True), **fields)
    return model


def _problems(result: TrainResult, task: Task, chosen: str | None, n_steps: int) -> Iterator[str]:
    for amount in _AMOUNTS:
        value = getattr(result, amount)
        if not (math.isfinite(value) and value >= 0):
            yield f"with {amount} = {value}: it must be a number of 0 or more"
    if not 0 <= result.n_steps <= n_steps:
        yield f"with n_steps = {result.n_steps:,}: the trial asks for {n_steps:,}"
    steps = [point.step for point in result.curve]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        yield f"whose curve has the steps {brief(steps)}: each once, in order"
    if steps and steps[-1] > result.n_steps:
        yield f"whose curve ends at step {steps[-1]:,}, after n_steps = {result.n_steps:,}"
    known = {metric.name for metric in resolve_metrics(task)}
    for where, metrics in (
        ("metrics", result.metrics),
        ("test_metrics", result.test_metrics),
        *((f"the curve's step {point.step}", point.metrics) for point in result.curve),
    ):
        for name in sorted(metrics.keys() - known):
            yield f"with {name!r} in {where}, which is no metric of the task{suggest(name, known)}"
    yield from _best_problems(result, objective_of(task, chosen)[0])


def _best_problems(result: TrainResult, objective: str) -> Iterator[str]:
    """Yields what is wrong with the best step and what is said of it."""
    if result.status == "done":
        for number in ("loss", "loss_last", "best_step"):
            value = getattr(result, number)
            if value is None or not math.isfinite(value):
                yield f"that is done with {number} = {value}"
    if result.best_step is None:
        return
    best = next((point for point in result.curve if point.step == result.best_step), None)
    if best is None:
        yield f"with best_step = {result.best_step}, at which its curve has no point"
    elif objective_at(best, objective) != result.objective:
        found = objective_at(best, objective)
        yield f"with objective = {result.objective}, but {objective} is {found} at step {best.step}"


def _weight_problems(result: TrainResult, module: nn.Module) -> Iterator[str]:
    if result.best_weights is None:
        return
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = _shapes(result.best_weights)
    if given != wanted:
        odd = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        yield f"whose best_weights do not fit the model, at {', '.join(odd[:3])}"


def _shapes(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(getattr(value, "shape", (type(value).__name__,))) for name, value in weights.items()}
