"""A study of one run that was never made: a known run's settings, another size, another length.

Which sizes an architecture can have only its plugin knows, so that the search builds models and counts
their parameters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalelab.errors import InputError, StudyError
from scalelab.measure.costs import Costs
from scalelab.measure.models import params_of
from scalelab.measurements import Complexity
from scalelab.params import locations
from scalelab.records import DEFAULT_TRAINER, ComponentRef, Trial
from scalelab.space import Doubling, Float, Int
from scalelab.study import Expansion, Study, expand, load_study, parse_study
from scalelab.study.model import TrainerEntry
from scalelab.study.resolve import resolve
from scalelab.study.resolved import Resolved
from scalelab.study.rules import rule_of
from scalelab.study.write import advised_head, study_text, without_heading
from scalelab.subsets import drawn_an_epoch

if TYPE_CHECKING:
    from scalelab.plugins import Catalog
    from scalelab.store import Store

CLOSE = 0.02
"""A size this near (in its logarithm) is near enough."""

_TRIES = 24
_EXACT = 1e-4
_STRIDE = math.log(64.0)
_BYTES = 12
"""Bytes a parameter that building and counting take at most."""


@dataclass(frozen=True)
class Proposal:
    """A study file for one run.

    Attributes:
        text: The file.
        path: Where it is to stand; relative locations in it are taken from there.
        trial: The one trial of the study; where it tunes an option, the one of the middle value.
        cost: What one example costs its model.
        n_seen: Examples that the training sees, repeats counted.
        an_epoch: What an epoch draws: the examples, or all of their windows.
        available: Training examples that the dataset has.
        tuned: The option that the study tunes, as that of the run did; `None` where it tunes none.
        n_trials: How many trials it begins with, each of the budget.
        gradients: Gradients that a step evaluates at most.
    """

    text: str
    path: Path
    trial: Trial
    cost: Complexity
    n_seen: int
    an_epoch: int
    available: int
    tuned: str | None
    n_trials: int
    gradients: int
    json_fields: ClassVar = (
        "path", "text", "n_params", "n_examples=trial.n_examples", "examples_seen=n_seen",
        "examples_available=available", "train_flops", "tuned", "n_trials",
    )  # fmt: skip

    @property
    def n_params(self) -> int:
        """Parameters of its model."""
        return self.cost.n_params

    @property
    def train_flops(self) -> float:
        """FLOPs of the training, at most."""
        return self.n_seen * self.gradients * self.cost.train_flops_at(self.trial.training.batch_size)


def known_run(store: Store, trial_id: str, folder: Path, source: Path | None) -> tuple[Trial, Study]:
    """Returns a run's trial and the study that it belongs to.

    Args:
        store: Where both are kept.
        trial_id: The run.
        folder: Where to look for relative locations of the study, for a store keeps its text alone.
        source: The study file itself, where the user gave it.

    Raises:
        InputError: The run was imported, or the study cannot be read.
    """
    trial = store.trial(trial_id)
    if trial is None:
        raise InputError(
            f"run {trial_id} was imported: no study says how to train such a model, so --write has nothing "
            "to start from"
        )
    if source is not None:
        return trial, load_study(source)
    studies = store.stored_studies(trial_id=trial_id)
    if not studies or not studies[-1].text:
        raise InputError(
            f"{store.path} does not keep the study of these runs; give it with --from STUDY.toml"
        )
    return trial, parse_study(studies[-1].text, folder / f"{studies[-1].name}.toml")


def propose(
    start: Trial,
    study: Study,
    path: Path,
    *,
    n_params: float,
    n_examples: float,
    budget: float,
    catalog: Catalog,
) -> Proposal:
    """Returns a study file that trains a model of about a size with a budget.

    Args:
        start: The run to take all other settings from.
        study: Its study, for the locations of the dataset and for which options may vary.
        path: Where the file will stand.
        n_params: The size to come near.
        n_examples: Different training examples to use; all there are, where the dataset has fewer.
        budget: Training FLOPs.
        catalog: The plugins.

    Raises:
        StudyError: The study does not name the run's components, or the size cannot be reached.
        InputError: The dataset or a component is wrong, or the budget is too small for one step.
    """
    study = _of_run(start, study)
    own = resolve(study, catalog).architectures
    values = run_values(start, study, path, catalog)
    values |= advised_head(study.name, budget)
    values["data"]["sizes"] = ["all"]
    values["training"]["length"] = {"flops": float(budget)}
    _, draft = written(values, study, path, catalog)
    data = draft.opened(draft.trials[0]).data
    task, available = data.task, len(data.train)
    measure = Costs(catalog)

    def cost(options: Mapping[str, Any]) -> Complexity:
        ref = own[0].ref({**start.architecture.params, **options})
        return measure(ref, task.input_shape, task.n_outputs)

    options, found = nearest(n_params, start.architecture.params, own[0], cost)
    values["architecture"][0]["options"] = {**start.architecture.params, **options}
    values["data"]["sizes"] = [max(1, min(available, math.ceil(n_examples)))]
    text, expansion = written(values, study, path, catalog)
    trial = expansion.trials[len(expansion.trials) // 2]  # of a sweep the middle
    batch = trial.training.batch_size
    optimizer = catalog.optimizer(trial.optimizer.name)
    gradients = optimizer.gradients(params_of(optimizer, trial.optimizer.params))
    steps = round(budget / (gradients * found.step_flops(batch)))
    _refuse_no_step(steps, budget, found, batch)
    tuned = next(iter(values["optimizer"][0].get("tune", ())), None)
    an_epoch = drawn_an_epoch(expansion.opened(trial).data, trial.n_examples, trial.data_seed)
    return Proposal(
        text, path, trial, found, steps * batch, an_epoch, available, tuned, len(expansion.trials), gradients
    )


def nearest(
    target: float,
    start: Mapping[str, Any],
    architecture: Resolved[Any],
    cost: Callable[[Mapping[str, Any]], Complexity],
) -> tuple[dict[str, Any], Complexity]:
    """Returns the change of one option that brings a model's parameters nearest to a number, and its cost.

    Numeric options are tried that vary in the study (in the component's own space, where none does), also
    beyond the values that the study gave them, as far as component and constraints allow.

    Raises:
        StudyError: No such option, or none of them comes near.
        InputError: So large a model cannot be built on this machine.
    """
    _refuse_giant(target)
    space = architecture.space or architecture.component.space
    dimensions = {name: one for name, one in space.items() if isinstance(one, (Int, Doubling, Float))}
    if not dimensions:
        raise StudyError(
            f"{architecture.where}: no numeric option varies, so its size is fixed; add one to its space, "
            "such as a width"
        )
    found: list[tuple[float, dict[str, Any], Complexity]] = []
    for name, dimension in dimensions.items():
        begin = start.get(name)
        if isinstance(begin, bool) or not isinstance(begin, (int, float)) or begin <= 0:
            begin = dimension.from_unit(0.5)

        def size_of(value: float, name: str = name) -> Complexity | None:
            """Returns what a value costs; `None` where component or constraints refuse it."""
            if architecture.breaks({name: value}):
                return None
            try:
                size = cost({name: value})
            except InputError:
                return None
            return size if size.n_params > 0 else None

        found += [
            (abs(math.log(size.n_params / target)), {name: value}, size)
            for value, size in _towards(target, begin, not isinstance(dimension, Float), size_of).items()
        ]
        if any(distance < CLOSE for distance, _, _ in found):
            break
    distance, options, size = min(found, key=lambda one: one[0], default=(math.inf, {}, None))
    if size is None or distance > math.log(2.0):
        got = f"; the nearest has {size.n_params:,}" if size else ""
        raise StudyError(
            f"{architecture.where}: no value of {', '.join(dimensions)} gives about {target:,.0f} "
            f"parameters{got}"
        )
    return options, size


def _towards(
    target: float, start: float, whole: bool, size_of: Callable[[float], Complexity | None]
) -> dict[float, Complexity]:
    """Returns the values of an option that were tried on the way to a number of parameters, with their costs.

    Between two values the number of parameters is taken as a power of the option, which is what it nearly is
    of a width or a depth.

    Args:
        target: The number of parameters.
        start: The value to begin with.
        whole: Whether values are whole numbers.
        size_of: What a model with a value costs; `None` where the value is refused.
    """

    def rounded(value: float) -> float:
        return max(1, round(value)) if whole else float(f"{value:.6g}")

    tried: dict[float, Complexity] = {}
    value, refused = start, 0
    while len(tried) + refused < _TRIES and value not in tried:
        size = size_of(value)
        if size is not None:
            tried[value] = size
            near, *others = sorted(tried, key=lambda one: abs(math.log(tried[one].n_params / target)))
            missing = math.log(target / tried[near].n_params)
            if abs(missing) < (CLOSE / 10 if whole else _EXACT):
                break
            power = 2.0
            if others:
                risen = math.log(tried[near].n_params / tried[others[0]].n_params)
                power = risen / math.log(near / others[0]) or power
            value = rounded(near * math.exp(min(max(missing / power, -_STRIDE), _STRIDE)))
            if whole and value == near:
                value = max(1, near + (1 if missing * power > 0 else -1))
        elif tried:
            refused += 1
            known = min(tried, key=lambda other: abs(math.log(other / value)))
            value = rounded(math.sqrt(known * value))
        else:
            break
    return tried


def _refuse_no_step(steps: int, budget: float, found: Complexity, batch: int) -> None:
    if steps < 1:
        raise InputError(
            f"a budget of {budget:g} FLOPs does not pay for one step of {found.n_params:,} parameters on "
            f"{batch} examples; raise the budget or lower batch_size"
        )


def _refuse_giant(n_params: float) -> None:
    """Raises where a model would not fit into this machine's memory to be counted."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_params * _BYTES > memory:
        raise InputError(
            f"a model of {n_params:.3g} parameters does not fit into the {memory / 2**30:.0f} GiB of this "
            "machine, where its parameters must be counted; write the study on a larger one"
        )


def written(values: Mapping[str, Any], study: Study, path: Path, catalog: Catalog) -> tuple[str, Expansion]:
    """Returns the text of a study file that is derived from a study, and its trials.

    The comment that heads the file is about the other study, and goes.

    Raises:
        InputError: It is not a study that can run.
    """
    text = study_text(values, without_heading(study.text))
    return text, expand(parse_study(text, path, catalog), catalog, cost=Costs(catalog))


def run_values(start: Trial, study: Study, path: Path, catalog: Catalog) -> dict[str, Any]:
    """Returns what a study file has to say to train a known run again, for `written`.

    Args:
        start: The run.
        study: Its study.
        path: Where the file will stand.
        catalog: The plugins.

    Raises:
        StudyError: A location of the dataset is not there.
    """
    dataset = {**start.dataset.params, **located(study, path, catalog)}
    return {
        "name": study.name,
        "description": "",
        "seeds": [start.seed],
        "dataset": {"name": start.dataset.name, "options": dataset},
        "data": {"sizes": [start.n_examples], "seed": start.data_seed},
        "architecture": [{"name": start.architecture.name, "options": start.architecture.params}],
        "optimizer": [_trained_by(start, study)],
        "training": start.training.model_dump(exclude_none=True),
        "trainer": _with_rules(start.trainer, study.trainer),
    }


def _of_run(start: Trial, study: Study) -> Study:
    """Returns a study with the components of a run alone: the plugins of others may not be here.

    Raises:
        StudyError: It does not name them.
    """
    names = {one.name for one in study.architectures}
    if study.dataset.name != start.dataset.name or start.architecture.name not in names:
        raise StudyError(
            f"{study.source}: it has no architecture {start.architecture.name!r} on dataset "
            f"{start.dataset.name!r}; give the study of these runs with --from"
        )
    kept = {
        kind: tuple(one for one in getattr(study, kind) if one.name == name)
        for kind, name in (("architectures", start.architecture.name), ("optimizers", start.optimizer.name))
    }
    return study.model_copy(update=kept)


def _trained_by(start: Trial, study: Study) -> dict[str, Any]:
    """Returns the optimizer of a run as its study says it: with the rules and the sweep that made the run.

    A sweep begins at the run's own value, where no rule says where it begins.
    """
    options = dict(start.optimizer.params)
    entry: dict[str, Any] = {"name": start.optimizer.name, "options": options}
    for own in study.optimizers:
        rules = {name: value for name, value in own.options.items() if rule_of(value, name) is not None}
        fixed = own.options.keys() - rules.keys()
        if own.name != start.optimizer.name or any(options.get(name) != own.options[name] for name in fixed):
            continue
        options |= rules
        for name, tune in own.tune.items():
            said = tune.model_dump(exclude_defaults=True)
            entry["tune"] = {name: {**said, "start": said["start"] if tune.rule else options[name]}}
            del options[name]
        break
    return entry


def _with_rules(trainer: ComponentRef, said: TrainerEntry | None) -> dict[str, Any] | None:
    """Returns the trainer of a run as its study says it; `None` for scalelab's own loop."""
    if trainer == DEFAULT_TRAINER:
        return None
    options = said.options if said is not None and said.name == trainer.name else {}
    rules = {name: value for name, value in options.items() if rule_of(value, name) is not None}
    return {"name": trainer.name, "options": {**trainer.params, **rules}}


def located(study: Study, path: Path, catalog: Catalog) -> dict[str, str]:
    """Returns the dataset's locations as the new file has to name them.

    Raises:
        StudyError: One is relative to a folder that is no longer known.
    """
    out = {}
    params = resolve(study, catalog).dataset.params({})
    for name in sorted(locations(type(params))):
        place = getattr(params, name)
        if place is None:
            continue
        if not place.exists():
            given = study.dataset.options.get(name, place)
            raise StudyError(
                f"{study.source}: dataset.options.{name} = {str(given)!r} does not exist, relative to "
                f"{study.path.parent if study.path else Path.cwd()}; give the study file itself with --from"
            )
        asked = Path(str(study.dataset.options.get(name, place)))
        kept = place if asked.is_absolute() else Path(os.path.relpath(place, path.absolute().parent))
        out[name] = kept.as_posix()
    return out
