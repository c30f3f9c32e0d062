"""From a study to its trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scalelab.components import Architecture, OpenDataset, Params, Shape
from scalelab.errors import DataError, InputError, PluginError, ScalelabError, StudyError
from scalelab.records import Complexity, ComponentRef, TrainingOptions, Trial, canonical_json
from scalelab.study.isoflop import Profiles
from scalelab.study.messages import one_line
from scalelab.study.model import MAX_TRIALS, Study
from scalelab.study.resolve import Resolved, ResolvedStudy, resolve
from scalelab.study.sampling import Point, Points, drawn_points, grid_points

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

CostFunction = Callable[[ComponentRef, Shape, int], Complexity]


@dataclass(frozen=True)
class Expansion:
    """The trials of a study.

    Attributes:
        trials: All different, in the order of the study file.
        dataset: The study's dataset, open.
        dataset_params: The options that opened it, locations absolute.
        skipped: What sampling left out, each with the reason.
        merged: How many points were the same trial as an earlier one.
        files: Paths of the files that trials name by the digest of their content, such as pretrained weights.
    """

    trials: tuple[Trial, ...]
    dataset: OpenDataset
    dataset_params: Params
    skipped: tuple[str, ...] = ()
    merged: int = 0
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Model:
    """An architecture and the optimizers that train it, at one point of the design space."""

    architecture: ComponentRef
    optimizers: tuple[ComponentRef, ...]
    n_examples: int
    training: TrainingOptions


def expand(study: Study, catalog: Catalog, *, cost: CostFunction | None = None) -> Expansion:
    """Returns the trials of a study. Opens the dataset, and imports no torch unless `cost` does.

    Args:
        study: The study.
        catalog: The plugins.
        cost: `cost(architecture, input_shape, n_outputs)`: what one example costs; isoFLOP sampling needs it.

    Raises:
        StudyError: Something in the study is wrong, or it has no trials.
        PluginError: A component is unknown, or its plugin is broken.
        DataError: The dataset cannot be opened, or has nothing to train or validate on.
    """
    resolved = resolve(study, catalog)
    dataset = _open(study, resolved)
    sizes = _sizes(study, len(dataset.train))
    skipped: list[str] = []
    plan = _Plan(study, resolved, dataset, sizes, skipped)
    models = plan.isoflop_models(cost) if study.sampling.method == "isoflop" else plan.models()
    trials: dict[str, Trial] = {}
    n_points = 0
    for trial in plan.trials(models):
        n_points += 1
        plan.refuse_too_many(n_points)
        trials.setdefault(trial.id, trial)
    if not trials:
        raise StudyError(one_line(f"{study.source}: no trial is left: {'; '.join(skipped)}"))
    merged = n_points - len(trials)
    files = {
        digest: str(path)
        for components in (resolved.architectures, resolved.optimizers)
        for own in components
        for path, digest in own.files.items()
    }
    return Expansion(tuple(trials.values()), dataset, resolved.dataset_params, tuple(skipped), merged, files)


def _open(study: Study, resolved: ResolvedStudy) -> OpenDataset:
    name = resolved.dataset.name
    try:
        dataset: Any = resolved.dataset.open(resolved.dataset_params)
    except InputError as error:
        raise type(error)(one_line(f"{study.source}: dataset.options: {error}")) from error
    except ScalelabError:
        raise
    except OSError as error:
        raise DataError(one_line(f"{study.source}: dataset {name!r} cannot be opened: {error}")) from error
    except Exception as error:
        what = f"open() of dataset {name!r} raised {type(error).__name__}: {error}"
        raise PluginError(one_line(f"{study.source}: {what}")) from error
    if not isinstance(dataset, OpenDataset):
        got = type(dataset).__name__
        raise PluginError(f"{study.source}: open() of dataset {name!r} returned {got}, expected OpenDataset")
    opened: OpenDataset = dataset
    for split in ("train", "validation"):
        if len(getattr(dataset, split)) == 0:
            raise DataError(f"{study.source}: dataset {name!r} has no {split} examples with these options")
    return opened


def _sizes(study: Study, available: int) -> list[int]:
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
                f"{available} training examples"
            )
    return list(dict.fromkeys(counts))


@dataclass
class _Plan:
    """The state of one expansion; `skipped` grows while the models are listed."""

    study: Study
    resolved: ResolvedStudy
    dataset: OpenDataset
    sizes: list[int]
    skipped: list[str]
    _optimizers: dict[tuple[int, str], ComponentRef] = field(default_factory=dict)

    def models(self) -> Iterator[_Model]:
        """Yields every model of a grid or of draws, at every data size."""
        drawn = [(architecture, self._points(architecture)) for architecture in self.resolved.architectures]
        n_models = sum(len(own) for _, found in drawn for point in found.points for own in point.optimizers)
        self.refuse_too_many(n_models * len(self.sizes) * len(self.study.seeds))
        for architecture, found in drawn:
            self.skipped.extend(found.remarks)
            for point in found.points:
                ref, optimizers = architecture.ref(point.architecture), self._trained_by(point)
                for n_examples in self.sizes:
                    yield _Model(ref, optimizers, n_examples, self.study.training)

    def isoflop_models(self, cost: CostFunction | None) -> Iterator[_Model]:
        """Yields the models of every isoFLOP profile, at every data size."""
        study = self.study
        if cost is None:
            raise StudyError(
                f"{study.source}: sampling.method = 'isoflop': expand() needs its cost argument to know FLOPs"
            )

        task = self.dataset.task
        profiles = Profiles(
            study, lambda ref: cost(ref, tuple(task.input_shape), task.n_outputs), self.skipped
        )
        for architecture in self.resolved.architectures:
            candidates = profiles.candidates(architecture, self.resolved.optimizers)
            for n_examples in self.sizes:
                for candidate, length in profiles.of(architecture, candidates, n_examples):
                    training = study.training.model_copy(update={"length": length})
                    yield _Model(candidate.ref, self._trained_by(candidate.point), n_examples, training)

    def trials(self, models: Iterable[_Model]) -> Iterator[Trial]:
        """Yields the trials of models: one for each optimizer and seed."""
        for model in models:
            for optimizer in model.optimizers:
                for seed in self.study.seeds:
                    yield Trial(
                        dataset=self.resolved.dataset_ref,
                        fingerprint=self.dataset.fingerprint,
                        architecture=model.architecture,
                        optimizer=optimizer,
                        n_examples=model.n_examples,
                        data_seed=self.study.data.seed,
                        training=model.training,
                        seed=seed,
                    )

    def refuse_too_many(self, n_trials: int) -> None:
        """Raises where a study has more trials than anyone can run."""
        if n_trials > MAX_TRIALS:
            raise StudyError(
                f"{self.study.source}: more than {MAX_TRIALS:,} trials; take fewer points, sizes or seeds"
            )

    def _points(self, architecture: Resolved[Architecture]) -> Points:
        sampling, optimizers = self.study.sampling, self.resolved.optimizers
        if sampling.method == "grid":
            return grid_points(architecture, optimizers, sampling.n)
        assert sampling.method != "isoflop", "isoFLOP studies have a way of their own"
        assert sampling.n is not None, "the model of [sampling] sees to it"
        return drawn_points(architecture, optimizers, sampling.method, sampling.n, sampling.seed)

    def _trained_by(self, point: Point) -> tuple[ComponentRef, ...]:
        """Returns the optimizers of a point; the same values are resolved once."""
        refs = []
        for index, choices in enumerate(point.optimizers):
            for values in choices:
                key = (index, canonical_json(values))
                if key not in self._optimizers:
                    self._optimizers[key] = self.resolved.optimizers[index].ref(values)
                refs.append(self._optimizers[key])
        return tuple(refs)
