"""The refit: the best design of a cross-validation, trained again with other options of its dataset.

As for sweeps, what is asked for is a function of what the trials gave, and of nothing else. The name is
scikit-learn's (`GridSearchCV(refit=True)`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from scalelab.components import Dataset
from scalelab.errors import StudyError, brief, suggest
from scalelab.records import ComponentRef, Reached, Trial, canonical_json
from scalelab.study.messages import first_problem, join_keys, one_line
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
            known = list(dataset.params.model_fields)
            near = suggest(name, known) or f" (it has {', '.join(known) or 'none'})"
            what = join_keys("refit", "dataset", name)
            raise StudyError(one_line(f"{source}: {what}: {dataset.name!r} has no such option{near}"))
    try:
        validated(dataset, {**others, **options})
    except ValidationError as error:
        problem = first_problem(error, dataset.params, lambda path: not path or path[0] in options)
        if problem is not None:
            message = problem.at("refit", "dataset", *problem.path)
            raise StudyError(one_line(f"{source}: {message}")) from error


@dataclass(frozen=True, eq=False)
class Target:
    """A dataset that a design is trained on again.

    Attributes:
        ref: How trials name it.
        fingerprint: Its content.
        n_examples: Training examples.
    """

    ref: ComponentRef
    fingerprint: str
    n_examples: int


@dataclass(frozen=True, eq=False)
class Refit:
    """What a study does with its best design.

    A design is everything of a trial but its seed and the options of the dataset that the refit changes: its
    trials differ in their fold and their seed alone.

    Attributes:
        options: Those options, as the refit has them.
        objective: What the best design is best by, the mean over its trials.
        targets: By the other options of the dataset, what the design is trained on again.
        seeds: One trial each.
    """

    options: Mapping[str, Any]
    objective: str
    targets: Mapping[str, Target]
    seeds: tuple[int, ...]

    def check(self, candidates: Sequence[Trial], source: str) -> None:
        """Refuses trials among which no design can be chosen.

        Args:
            candidates: The trials that choose.
            source: Names the study.

        Raises:
            StudyError: Designs were not all given the same folds, or a trial is one of the refit already.
        """
        folds = [
            sorted(canonical_json([self._fold(trial), trial.seed]) for trial in own)
            for own in self._designs(candidates).values()
        ]
        if any(own != folds[0] for own in folds):
            raise StudyError(
                f"{source}: refit: designs are not trained on the same folds, so that their means cannot be "
                "compared; no rule or constraint may follow n_examples or the options that refit changes"
            )
        known = {trial.id for trial in candidates}
        if any(again.id in known for trial in candidates for again in self._again(trial)):
            raise StudyError(
                f"{source}: refit.dataset = {brief(dict(self.options))}: [dataset] has that already, and "
                "what chooses a design must not be what it is trained on again"
            )

    def trials(self, candidates: Sequence[Trial], reached: Mapping[str, Reached]) -> tuple[Trial, ...]:
        """Returns the trials of the best design, one for each seed; none before all candidates are finished.

        Args:
            candidates: The trials that choose.
            reached: What finished trials reached, by id.
        """
        best = self._best(candidates, reached)
        return () if best is None else self._again(best)

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
        best = self._best(candidates, reached)
        if best is None:
            return f"refit: none, for a trial of each of the {count} has no {self.objective}"
        n = len(candidates) // len(designs)
        mean = fmean(float(reached[trial.id].objective or 0.0) for trial in designs[self._design(best)])
        return (
            f"refit: the best of {count} by mean {self.objective} ({mean:.4g} over {n} "
            f"trial{'s' * (n > 1)}) is {self._name(best, candidates)}; trained again with {changed}"
        )

    def _best(self, candidates: Sequence[Trial], reached: Mapping[str, Reached]) -> Trial | None:
        """Returns a trial of the best design, the first of equals."""
        if any(trial.id not in reached for trial in candidates):
            return None
        best = min(self._designs(candidates).values(), key=lambda own: self._mean(own, reached))
        return None if math.isinf(self._mean(best, reached)) else best[0]

    @staticmethod
    def _mean(trials: Sequence[Trial], reached: Mapping[str, Reached]) -> float:
        return fmean(reached[trial.id].score for trial in trials)

    def _again(self, trial: Trial) -> tuple[Trial, ...]:
        target = self.targets[self.rest(trial.dataset)]
        return tuple(
            Trial(
                dataset=target.ref,
                fingerprint=target.fingerprint,
                architecture=trial.architecture,
                optimizer=trial.optimizer,
                n_examples=target.n_examples,
                data_seed=trial.data_seed,
                training=trial.training,
                seed=seed,
            )
            for seed in self.seeds
        )

    def _designs(self, candidates: Sequence[Trial]) -> dict[str, list[Trial]]:
        found: dict[str, list[Trial]] = {}
        for trial in candidates:
            found.setdefault(self._design(trial), []).append(trial)
        return found

    def _design(self, trial: Trial) -> str:
        parts = [one.model_dump(mode="json") for one in (trial.architecture, trial.optimizer, trial.training)]
        return canonical_json([*parts, self.rest(trial.dataset)])

    def rest(self, dataset: ComponentRef) -> str:
        """Returns the options of a dataset that the refit leaves alone, as a text."""
        return canonical_json({k: v for k, v in dataset.params.items() if k not in self.options})

    def _fold(self, trial: Trial) -> dict[str, Any]:
        return {name: trial.dataset.params.get(name) for name in self.options}

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
