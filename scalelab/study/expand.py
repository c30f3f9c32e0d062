"""From a study to its trials."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scalelab.components import Architecture, OpenDataset, Optimizer, Shape
from scalelab.errors import (
    DataError,
    InputError,
    PluginError,
    ScalelabError,
    StudyError,
    brief,
    in_words,
)
from scalelab.measurements import Complexity
from scalelab.params import Params
from scalelab.records import DEFAULT_TRAINER, ComponentRef, TrainingOptions, Trial, canonical_json
from scalelab.study.command import expand_command
from scalelab.study.expansion import Expansion, ReachedFunction, grown_from, meant
from scalelab.study.isoflop import Profiles
from scalelab.study.messages import join_keys, one_line
from scalelab.study.model import MAX_TRIALS, Study
from scalelab.study.opened import Opened, dataset_key, verify_opened
from scalelab.study.refit import Refit, check_options
from scalelab.study.resolve import resolve
from scalelab.study.resolved import Resolved, ResolvedStudy, Values
from scalelab.study.rules import followed
from scalelab.study.sampling import Point, Points, drawn_points, grid_points, own_grid
from scalelab.study.sweeps import Sweep
from scalelab.subsets import drawn_an_epoch

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

CostFunction = Callable[[ComponentRef, Shape, int], Complexity]

MAX_DATASETS = 64
"""Points of a dataset's space; each is prepared and kept on disk."""


@dataclass(frozen=True)
class _Model:
    """An architecture at one point of the design space, and the optimizers that train it there."""

    opened: Opened
    architecture: ComponentRef
    point: Point
    n_examples: int
    training: TrainingOptions


def expand(
    study: Study,
    catalog: Catalog,
    *,
    cost: CostFunction | None = None,
    reached: ReachedFunction | None = None,
) -> Expansion:
    """Returns the trials of a study. Opens its datasets, and imports no torch unless `cost` does.

    Args:
        study: The study.
        catalog: The plugins.
        cost: `cost(architecture, input_shape, n_outputs)`: what one example costs; isoFLOP sampling needs it,
            and rules that follow `n_params` do.
        reached: `reached(trial_ids)`: what those that are finished reached. With it sweeps and the refit are
            as far as their trials are; without they are at their beginning.

    Raises:
        StudyError: Something in the study is wrong, or it has no trials.
        PluginError: A component is unknown, or its plugin is broken.
        DataError: The dataset cannot be opened, or has nothing to train or validate on.
    """
    if study.command is not None:
        return expand_command(study)
    plan = _Plan(study, resolve(study, catalog), cost)
    models = plan.isoflop_models() if study.sampling.method == "isoflop" else plan.models()
    trials: dict[str, Trial] = {}
    n_points = 0
    for trial in plan.trials(models):
        n_points += 1
        plan.refuse_too_many(n_points)
        trials.setdefault(trial.id, trial)
    if not trials:
        reasons = "; ".join(one.removeprefix(f"{study.source}: ") for one in plan.skipped)
        raise StudyError(one_line(f"{study.source}: no trial is left: {reasons}"))
    merged = n_points - len(trials)
    files = {digest: str(path) for own in plan.resolved.with_files for path, digest in own.files.items()}
    refit = plan.refit(tuple(trials.values()))
    datasets = {dataset_key(opened.ref): opened for opened in plan.opened.values()}
    rest = (tuple(plan.skipped), merged, files, tuple(plan.sweeps), refit)
    return grown_from(meant(study, Expansion(tuple(trials.values()), datasets, *rest)), reached)


def _open(study: Study, resolved: ResolvedStudy, params: Params) -> OpenDataset:
    name = resolved.dataset.component.name
    try:
        with redirect_stdout(sys.stderr):  # results alone go to standard output
            dataset: Any = resolved.dataset.component.open(params)
    except InputError as error:
        raise type(error)(one_line(f"{study.source}: dataset.options: {error}")) from error
    except ScalelabError:
        raise
    except OSError as error:
        raise DataError(one_line(f"{study.source}: dataset {name!r} cannot be opened: {error}")) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = f"open() of dataset {name!r} raised {in_words(error)}"
        raise PluginError(one_line(f"{study.source}: {what}")) from error
    if not isinstance(dataset, OpenDataset):
        got = type(dataset).__name__
        raise PluginError(f"{study.source}: open() of dataset {name!r} returned {got}, expected OpenDataset")
    opened: OpenDataset = dataset
    try:
        verify_opened(opened)
    except DataError as error:
        raise DataError(one_line(f"{study.source}: dataset {name!r}: {error}")) from error
    except Exception as error:  # what is foreign may raise whatever is asked of it
        what = f"what open() of dataset {name!r} returned cannot be looked at: {in_words(error)}"
        raise PluginError(one_line(f"{study.source}: {what}")) from error
    for split in ("train", "validation"):
        if len(getattr(dataset, split)) == 0:
            raise DataError(f"{study.source}: dataset {name!r} has no {split} examples with these options")
    return opened


def _sizes(study: Study, available: int, at: Values) -> tuple[int, ...]:
    """Returns the study's data sizes as counts, the same count once."""
    counts = []
    for index, size in enumerate(study.data.sizes):
        if size == "all":
            counts.append(available)
        elif isinstance(size, float):
            counts.append(max(1, round(size * available)))
        elif size <= available:
            counts.append(size)
        else:
            raise StudyError(
                f"{study.source}: data.sizes[{index}] = {size}: dataset {study.dataset.name!r} has only "
                f"{available} training examples{f' at {brief(at, 200)}' if at else ''}"
            )
    return tuple(dict.fromkeys(counts))


def _cost_at(cost: CostFunction, shape: Shape, n_outputs: int, ref: ComponentRef) -> Complexity:
    return cost(ref, shape, n_outputs)


@dataclass
class _Plan:
    """The state of one expansion; `skipped`, `opened` and `sweeps` grow while the trials are listed."""

    study: Study
    resolved: ResolvedStudy
    cost: CostFunction | None
    skipped: list[str] = field(default_factory=list)
    opened: dict[str, Opened] = field(default_factory=dict)
    points: dict[str, Values] = field(default_factory=dict)
    sweeps: list[Sweep] = field(default_factory=list)
    _chosen: dict[str, ComponentRef] = field(default_factory=dict)

    def models(self) -> Iterator[_Model]:
        """Yields every model of a grid or of draws, at every data size."""
        drawn = [(architecture, self._points(architecture)) for architecture in self.resolved.architectures]
        n_models = sum(len(own) for _, found in drawn for point in found.points for own in point.optimizers)
        self.refuse_too_many(n_models * len(self.study.data.sizes) * len(self.study.seeds))
        for architecture, found in drawn:
            self.skipped.extend(found.remarks)
            for point in found.points:
                opened = self.dataset(point.dataset)
                for n_examples in opened.sizes:
                    ref = architecture.ref(point.architecture, self._known(opened, n_examples))
                    yield _Model(opened, ref, point, n_examples, self.study.training)

    def isoflop_models(self) -> Iterator[_Model]:
        """Yields the models of every isoFLOP profile, on every dataset at every data size."""
        study, cost = self.study, self.cost
        if cost is None:
            raise StudyError(
                f"{study.source}: sampling.method = 'isoflop': expand() needs its cost argument to know FLOPs"
            )
        for values in self._datasets():
            opened, fixed = self.dataset(values), self.resolved.dataset.at(values)
            shape, n_outputs = tuple(opened.data.task.input_shape), opened.data.task.n_outputs
            for architecture in self.resolved.architectures:
                profiles = Profiles(study, partial(_cost_at, cost, shape, n_outputs), self.skipped)
                candidates = profiles.candidates(fixed, architecture, self.resolved.optimizers)
                for n_examples in opened.sizes:
                    an_epoch = drawn_an_epoch(opened.data, n_examples, study.data.seed_of(study.seeds[0]))
                    for candidate, length in profiles.of(architecture, candidates, n_examples, an_epoch):
                        training = study.training.model_copy(update={"length": length})
                        yield _Model(opened, candidate.ref, candidate.point, n_examples, training)

    def trials(self, models: Iterable[_Model]) -> Iterator[Trial]:
        """Yields the trials of models: one for each optimizer, first value of its sweep and seed."""
        for model in models:
            known = self._known(model.opened, model.n_examples, model.architecture)
            for optimizer, choices in zip(self.resolved.optimizers, model.point.optimizers, strict=True):
                own = self.study.optimizers[int(optimizer.key[1])].own_training
                trained = replace(model, training=model.training.model_copy(update=own))
                for values in choices:
                    if not optimizer.tune:
                        yield from self._seeds(trained, self._ref(optimizer, values, known))
                        continue
                    sweep = self._sweep(trained, optimizer, values, known)
                    self.sweeps.append(sweep)
                    for step in sweep.steps({})[0]:
                        yield from sweep.trials(step)

    def _sweep(self, model: _Model, optimizer: Resolved[Optimizer], values: Values, known: Values) -> Sweep:
        ((option, tune),) = optimizer.tune.items()
        where = f"{optimizer.where}.{join_keys('tune', option)}.start"
        start = tune.start
        if not isinstance(start, float):
            start = float(followed(start, {**known, **optimizer.known(values)}, where, whole=False))

        def trials_at(value: float) -> tuple[Trial, ...]:
            return tuple(self._seeds(model, self._ref(optimizer, {**values, option: value}, known)))

        trials_at(start)  # a start that the optimizer refuses is an error, not the end of a sweep
        sweep = Sweep(option, tune, start, trials_at)
        possible = len(sweep.steps({})[0])
        if possible < tune.first:
            tuned = where.removesuffix(".start")
            raise StudyError(
                f"{tuned}: only {possible} of its first {tune.first} values are possible "
                f"(factors of {tune.factor:g} around {start:g}); take another start, or a smaller factor"
            )
        return sweep

    def _seeds(self, model: _Model, optimizer: ComponentRef) -> Iterator[Trial]:
        trainer = DEFAULT_TRAINER
        if self.resolved.trainer is not None:
            known = self._known(model.opened, model.n_examples, model.architecture)
            trainer = self._ref(self.resolved.trainer, {}, known)
        for seed in self.study.seeds:
            yield Trial(
                dataset=model.opened.ref,
                fingerprint=model.opened.data.fingerprint,
                architecture=model.architecture,
                optimizer=optimizer,
                n_examples=model.n_examples,
                data_seed=self.study.data.seed_of(seed),
                training=model.training,
                seed=seed,
                trainer=trainer,
            )

    def refuse_too_many(self, n_trials: int) -> None:
        """Raises where a study has more trials than anyone can run."""
        if n_trials > MAX_TRIALS:
            raise StudyError(
                f"{self.study.source}: more than {MAX_TRIALS:,} trials; take fewer points, sizes or seeds"
            )

    def dataset(self, values: Values) -> Opened:
        """Opens the dataset at a point of its space, once."""
        key = canonical_json(values)
        if key not in self.opened:
            if len(self.opened) == MAX_DATASETS:
                raise StudyError(
                    f"{self.study.source}: dataset.space: more than {MAX_DATASETS} different datasets, each "
                    "prepared and kept on disk; give a few values as a list"
                )
            params = self.resolved.dataset.params(values)
            data = _open(self.study, self.resolved, params)
            sizes = _sizes(self.study, len(data.train), values)
            ref = self.resolved.dataset.ref(values)
            self.opened[key] = Opened(ref, params, data, sizes, params.model_dump())
            self.points[dataset_key(ref)] = values
        return self.opened[key]

    def refit(self, candidates: tuple[Trial, ...]) -> Refit | None:
        """Returns what is done with the best design, once every option of it is known to be right."""
        asked = self.study.refit
        if asked is None:
            return None
        own = self.resolved.dataset
        point = next(iter(self.points.values()))
        check_options(asked.dataset, own.component, {**own.options, **point}, self.study.source)
        task = next(iter(self.opened.values())).data.task
        objective = self.study.training.objective or task.objective

        def values_of(trial: Trial) -> Values:
            return {**self.points[dataset_key(trial.dataset)], **asked.dataset}

        refit = Refit(
            asked.dataset,
            objective,
            asked.seeds or self.study.seeds,
            self.study.data.seed_of,
            target=lambda trial: own.ref(values_of(trial)),
            opened=lambda trial: self.dataset(values_of(trial)),
        )
        refit.check(candidates, own.space, self.study.source)
        return refit

    def _datasets(self) -> list[Values]:
        """Returns the points of the dataset's own grid."""
        grid = own_grid(self.resolved.dataset, self.study.sampling.n)
        self.skipped.extend(grid.remarks)
        return grid.allowed

    def _points(self, architecture: Resolved[Architecture]) -> Points:
        sampling, parts = self.study.sampling, (self.resolved.dataset, architecture, self.resolved.optimizers)
        if sampling.method == "grid":
            return grid_points(*parts, sampling.n)
        assert sampling.method != "isoflop", "isoFLOP studies have a way of their own"
        assert sampling.n is not None, "the model of [sampling] sees to it"
        return drawn_points(*parts, sampling.method, sampling.n, sampling.seed)

    def _known(self, opened: Opened, n_examples: int, architecture: ComponentRef | None = None) -> Values:
        """Returns what rules may follow; with an architecture its options too, and `n_params` if need be."""
        counts: Values = {"n_examples": n_examples, "batch_size": self.study.training.batch_size}
        known = {**opened.numbers, **counts}
        if architecture is None:
            return known
        asking: list[Resolved[Any]] = [*self.resolved.optimizers, *filter(None, [self.resolved.trainer])]
        rules = [rule for one in asking for rule in (*one.rules.values(), *one.start_rules)]
        if any(rule.scale == "n_params" for rule in rules):
            if self.cost is None:
                raise StudyError(
                    f"{self.study.source}: a rule follows n_params: expand() needs its cost argument"
                )
            task = opened.data.task
            known["n_params"] = self.cost(architecture, tuple(task.input_shape), task.n_outputs).n_params
        return {**known, **architecture.params}

    def _ref(self, own: Resolved[Any], values: Values, known: Values) -> ComponentRef:
        """Returns an optimizer or the trainer at a point; the same values are resolved once."""
        followed_here = {rule.scale: known.get(rule.scale) for rule in own.rules.values()}
        key = canonical_json([own.key, values, {name: str(one) for name, one in followed_here.items()}])
        if key not in self._chosen:
            self._chosen[key] = own.ref(values, known)
        return self._chosen[key]
