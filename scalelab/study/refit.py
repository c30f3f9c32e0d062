"""The refit: the best design of a cross-validation, trained again with other options of its dataset.

As for sweeps, what is asked for is a function of what the trials gave, and of nothing else. The name is
scikit-learn's (`GridSearchCV(refit=True)`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from scalelab.components import Dataset
from scalelab.errors import StudyError, brief
from scalelab.reached import Reached
from scalelab.records import ComponentRef, Trial, canonical_json
from scalelab.study.messages import first_problem, join_keys, one_line
from scalelab.study.opened import Opened
from scalelab.study.resolve import no_option
from scalelab.study.validate import validated


def check_options(
    options: Mapping[str, Any], dataset: Dataset, others: Mapping[str, Any], source: str
) -> None:
    """Refuses options that a dataset has not, or cannot have beside its others.

    Args:
        options: Those of `refit.dataset`.
        dataset: The dataset.
        others: The options that the study gives it.
        source: Names the study.

    Raises:
        StudyError: The first one that is wrong.
    """
    for name in options:
        if name not in dataset.params.model_fields:
            what = join_keys("refit", "dataset", name)
            raise StudyError(one_line(f"{source}: {what}: {no_option(dataset, name)}"))
    try:
        validated(dataset, {**others, **options})
    except ValidationError as error:
        problem = first_problem(error, dataset.params, lambda path: not path or path[0] in options)
        if problem is not None:
            message = problem.at("refit", "dataset", *problem.path)
            raise StudyError(one_line(f"{source}: {message}")) from error


@dataclass(frozen=True, eq=False)
class Refit:
    """What a study does with its best design.

    A design is everything of a trial but its seed and the options of the dataset that the refit changes: its
    trials differ in their fold and their seed alone.

    Attributes:
        options: Those options, as the refit has them.
        objective: What the best design is best by, the mean over its trials.
        seeds: One new trial each.
        data_seed: `data_seed(seed)`: that of the permutation of a trial's examples.
        target: `target(trial)`: the dataset of a trial with these options, as trials name it.
        opened: `opened(trial)`: the same, open. Until a design is chosen nobody asks for it, so that what
            the refit is tested on is not read before.
    """

    options: Mapping[str, Any]
    objective: str
    seeds: tuple[int, ...]
    data_seed: Callable[[int], int]
    target: Callable[[Trial], ComponentRef]
    opened: Callable[[Trial], Opened]

    def check(self, candidates: Sequence[Trial], varied: Collection[str], source: str) -> None:
        """Refuses trials among which no design can be chosen.

        Args:
            candidates: The trials that choose.
            varied: Options of the dataset that vary among them.
            source: Names the study.

        Raises:
            StudyError: Designs were not all given the same folds, or one of these is that of the refit.
        """
        if len(self._complete(candidates)) < len(self._designs(candidates)):
            raise StudyError(
                f"{source}: refit: designs are not trained on the same folds, so that their means cannot be "
                "compared; no rule or constraint may follow n_examples or the options that refit changes"
            )
        folds = set(self.options) & set(varied) or set(self.options)
        for trial in candidates:
            own, again = trial.dataset.params, self.target(trial).params
            if all(own.get(name) == again.get(name) for name in folds):
                shown = brief({name: self.options[name] for name in sorted(folds)})
                raise StudyError(
                    f"{source}: refit.dataset = {shown}: [dataset] has that already, and what chooses a "
                    "design must not be what it is trained on again"
                )

    def best(self, candidates: Sequence[Trial], reached: Mapping[str, Reached]) -> Trial | None:
        """Returns a trial of the best design, the first of equals; none before all candidates are finished.

        A value that a sweep tried on some of the folds alone has no mean over all, and is never the best.

        Args:
            candidates: The trials that choose.
            reached: What finished trials reached, by id.
        """
        if any(trial.id not in reached for trial in candidates):
            return None
        complete = self._complete(candidates)
        best = min(complete, key=lambda own: self._mean(own, reached), default=None)
        return None if best is None or math.isinf(self._mean(best, reached)) else best[0]

    def trials(self, best: Trial, opened: Opened) -> tuple[Trial, ...]:
        """Returns the trials of a design on another dataset, one for each seed."""
        return tuple(
            Trial(
                dataset=opened.ref,
                fingerprint=opened.data.fingerprint,
                architecture=best.architecture,
                optimizer=best.optimizer,
                n_examples=opened.sizes[0],
                data_seed=self.data_seed(seed),
                training=best.training,
                seed=seed,
                trainer=best.trainer,
            )
            for seed in self.seeds
        )

    def said(self, candidates: Sequence[Trial], reached: Mapping[str, Reached]) -> str:
        """Returns how far the refit is, in a line."""
        designs = self._designs(candidates)
        missing = sum(trial.id not in reached for trial in candidates)
        count = f"{len(designs)} design{'s' * (len(designs) > 1)}"
        changed = ", ".join(f"{name} = {brief(value)}" for name, value in self.options.items())
        if missing:
            n = len(self.seeds)
            return (
                f"refit: after {missing} trial{'s' * (missing > 1)} more, the best of {count} by mean "
                f"{self.objective} is trained again with {changed}: {n} trial{'s' * (n > 1)}"
            )
        complete = self._complete(candidates)
        if len(complete) < len(designs):
            count = f"{len(complete)} of {count} that were trained on every fold"
        best = self.best(candidates, reached)
        if best is None:
            return f"refit: none, for a trial of each of the {count} has no {self.objective}"
        own = designs[self._design(best)]
        mean, n = fmean(float(reached[trial.id].objective or 0.0) for trial in own), len(own)
        return (
            f"refit: the best of {count} by mean {self.objective} ({mean:.4g} over {n} "
            f"trial{'s' * (n > 1)}) is {self._name(best, candidates)}; trained again with {changed}"
        )

    @staticmethod
    def _mean(trials: Sequence[Trial], reached: Mapping[str, Reached]) -> float:
        return fmean(reached[trial.id].score for trial in trials)

    def _designs(self, candidates: Sequence[Trial]) -> dict[str, list[Trial]]:
        found: dict[str, list[Trial]] = {}
        for trial in candidates:
            found.setdefault(self._design(trial), []).append(trial)
        return found

    def _complete(self, candidates: Sequence[Trial]) -> list[list[Trial]]:
        """Returns the designs that were trained on every fold with every seed."""
        every = {self._fold(trial) for trial in candidates}
        designs = self._designs(candidates).values()
        return [own for own in designs if {self._fold(trial) for trial in own} == every]

    def _design(self, trial: Trial) -> str:
        asked = (trial.architecture, trial.optimizer, trial.training, trial.trainer)
        parts = [one.model_dump(mode="json") for one in asked]
        return canonical_json([*parts, self._rest(trial.dataset)])

    def _rest(self, dataset: ComponentRef) -> dict[str, Any]:
        """Returns the options of a dataset that the refit leaves alone."""
        return {name: value for name, value in dataset.params.items() if name not in self.options}

    def _fold(self, trial: Trial) -> str:
        """Returns what tells the trials of a design apart, and where else its dataset has them."""
        params = trial.dataset.params
        return canonical_json([{name: params.get(name) for name in self.options}, trial.seed])

    @staticmethod
    def _name(best: Trial, candidates: Sequence[Trial]) -> str:
        """Names a design by what the candidates differ in."""
        words = []
        for part in ("architecture", "optimizer"):
            own = getattr(best, part)
            others = [getattr(trial, part) for trial in candidates if getattr(trial, part).name == own.name]
            varied = {
                name: value
                for name, value in own.params.items()
                if any(other.params.get(name) != value for other in others)
            }
            options = ", ".join(f"{name} {brief(value)}" for name, value in varied.items())
            words.append(own.name + (f" ({options})" if options else ""))
        return " with ".join(words)
