"""A study of one run that was never made: a known run's settings, another size, another length."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalelab.constraints import is_number
from scalelab.errors import InputError, StudyError
from scalelab.measure.costs import Costs
from scalelab.measure.models import params_of
from scalelab.measurements import Complexity
from scalelab.params import locations
from scalelab.propose.size import nearest
from scalelab.records import DEFAULT_TRAINER, ComponentRef, Trial
from scalelab.study import Expansion, Study, expand, load_study, parse_study
from scalelab.study.model import TrainerEntry
from scalelab.study.resolve import resolve
from scalelab.study.rules import rule_of
from scalelab.study.write import advised_head, place_from, study_text, without_heading
from scalelab.subsets import drawn_an_epoch

if TYPE_CHECKING:
    from scalelab.plugins import Catalog
    from scalelab.store import Store

RATE = "lr"
"""What bundled optimizers call their learning rate."""


@dataclass(frozen=True)
class Proposal:
    """A study file for one run.

    Attributes:
        text: The file.
        path: Where it is to stand; relative locations in it are taken from there.
        trial: The trial of the study; of several learning rates, or a sweep, the one of the middle value.
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
        n_examples: Different training examples to use.
        budget: Training FLOPs.
        catalog: The plugins.

    Raises:
        StudyError: The study does not name the run's components, or the size cannot be reached.
        InputError: The dataset or a component is wrong or has too few examples, or the budget is too small
            for one step.
    """
    study = _of_run(start, study)
    own = resolve(study, catalog).architectures
    values = run_values(start, study, path, catalog)
    values |= advised_head(study.name, budget)
    values["optimizer"] = [_rates_beside(one, catalog) for one in values["optimizer"]]
    values["data"]["sizes"] = ["all"]
    values["training"]["length"] = {"flops": float(budget)}
    _, draft = written(values, study, path, catalog)
    data = draft.opened(draft.trials[0]).data
    task, available = data.task, len(data.train)
    _refuse_lack(start.dataset.name, available, n_examples)
    measure = Costs(catalog)

    def cost(options: Mapping[str, Any]) -> Complexity:
        ref = own[0].ref({**start.architecture.params, **options})
        return measure(ref, task.input_shape, task.n_outputs)

    options, found = nearest(n_params, start.architecture.params, own[0], cost)
    values["architecture"][0]["options"] = {**start.architecture.params, **options}
    values["data"]["sizes"] = [max(1, min(available, math.ceil(n_examples)))]
    text, expansion = written(values, study, path, catalog)
    trial = expansion.trials[len(expansion.trials) // 2]
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


def _refuse_lack(dataset: str, available: int, n_examples: float) -> None:
    if round(n_examples) > available:
        raise InputError(
            f"{dataset} has {available:,} training examples, and the advice asks for {n_examples:,.0f} of "
            "them, which no study can have: find more data first, or lower the budget"
        )


def _refuse_no_step(steps: int, budget: float, found: Complexity, batch: int) -> None:
    if steps < 1:
        raise InputError(
            f"a budget of {budget:g} FLOPs does not pay for one step of {found.n_params:,} parameters on "
            f"{batch} examples; raise the budget or lower batch_size"
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
    own_data = study.data.seed == "run" and start.data_seed == start.seed
    return {
        "name": study.name,
        "description": "",
        "seeds": [start.seed],
        "dataset": {"name": start.dataset.name, "options": dataset},
        "data": {"sizes": [start.n_examples], "seed": "run" if own_data else start.data_seed},
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


def _rates_beside(entry: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Returns an optimizer with the half and the double of its learning rate beside it.

    Unless the study said how the rate goes with size, by a rule or a sweep, the best one may have moved.
    """
    rate = entry["options"].get(RATE)
    if "tune" in entry or not is_number(rate):
        return entry
    optimizer = catalog.optimizer(entry["name"])
    others = {name: value for name, value in entry["options"].items() if name != RATE}
    rates = [rate]
    for other in (rate / 2, 2 * rate):
        with contextlib.suppress(InputError):
            params_of(optimizer, {**entry["options"], RATE: other})
            rates.append(other)
    return {**entry, "options": others, "space": {RATE: sorted(rates)}}


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
                f"dataset.options.{name} = {str(given)!r} of study {study.name} does not exist, relative to "
                "the new file; give the study file itself with --from"
            )
        asked = Path(str(study.dataset.options.get(name, place)))
        out[name] = place.as_posix() if asked.is_absolute() else place_from(path, place)
    return out
