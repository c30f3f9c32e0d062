"""The trials of a study, and how they become more with what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import Field

from scalelab.errors import StudyError
from scalelab.reached import Reached
from scalelab.records import Direction, Frozen, Trial
from scalelab.study.model import MAX_TRIALS, Study
from scalelab.study.opened import Opened, dataset_key
from scalelab.study.refit import Refit
from scalelab.study.sweeps import STATES, Sweep

ReachedFunction = Callable[[Sequence[str]], Mapping[str, Reached]]


class Place(Frozen):
    """Where the command of a study runs, and how it is heard: what is no part of its trials.

    Attributes:
        folder: Its working folder, absolute.
        program: Its first word.
        environment: Variables that it has beside those of the worker.
        time_limit: Seconds that it may take.
        stop_seconds: Seconds that it has to end by itself once it was asked.
        metric: What it reports that counts.
        direction: Which way that is better.
    """

    folder: str
    program: str
    environment: dict[str, str] = Field(default_factory=dict)
    time_limit: float | None = None
    stop_seconds: float = 30.0
    metric: str = "loss"
    direction: Direction = "minimize"


@dataclass(frozen=True)
class Expansion:
    """The trials of a study.

    Attributes:
        trials: All different, in the order of the study file; what sweeps and the refit added is at the end.
        datasets: What they are trained on, by `dataset_key` of the trial's `dataset`.
        skipped: What sampling left out, each with the reason.
        merged: How many points were the same trial as an earlier one.
        files: Paths of the files that trials name by the digest of their content, such as pretrained weights.
        sweeps: What is tuned.
        refit: What is done with the best design, where the study asks for it.
        refitted: The trials that the refit added, those of `trials` that chose nothing.
        place: Where their command runs; `None` where scalelab trains them.
    """

    trials: tuple[Trial, ...]
    datasets: Mapping[str, Opened]
    skipped: tuple[str, ...] = ()
    merged: int = 0
    files: dict[str, str] = field(default_factory=dict)
    sweeps: tuple[Sweep, ...] = ()
    refit: Refit | None = None
    refitted: tuple[Trial, ...] = ()
    place: Place | None = None

    def opened(self, trial: Trial) -> Opened:
        """Returns the dataset of a trial."""
        if len(self.datasets) == 1:
            return next(iter(self.datasets.values()))
        return self.datasets[dataset_key(trial.dataset)]

    @property
    def grows(self) -> bool:
        """Whether what trials give may ask for further ones."""
        return bool(self.sweeps) or (self.refit is not None and not self.refitted)

    def tuned(self, reached: Mapping[str, Reached]) -> dict[str, str]:
        """Returns by trial the option that a sweep varies."""
        return {
            trial.id: sweep.option
            for sweep in self.sweeps
            for step in sweep.steps(reached)[0]
            for trial in sweep.trials(step)
        }

    def grown(self, reached: Mapping[str, Reached]) -> Expansion:
        """Returns the expansion with the trials that sweeps and the refit ask for, after what others gave.

        Args:
            reached: What finished trials reached, by id.

        Raises:
            StudyError: These are more trials than anyone can run.
        """
        if self.refitted:
            return self
        trials = {trial.id: trial for trial in self.trials}
        for sweep in self.sweeps:
            for step in sweep.steps(reached)[0]:
                trials.update({trial.id: trial for trial in sweep.trials(step) if trial.id not in trials})
        if len(trials) > MAX_TRIALS:
            raise StudyError(f"more than {MAX_TRIALS:,} trials; take fewer points, sizes, seeds or values")
        if len(trials) > len(self.trials):
            return replace(self, trials=tuple(trials.values()))
        best = self.refit.best(self.trials, reached) if self.refit else None
        return self if self.refit is None or best is None else self._refitted(self.refit, best)

    def _refitted(self, refit: Refit, best: Trial) -> Expansion:
        """Returns the expansion with the best design's new trials, for which their dataset is opened."""
        opened = refit.opened(best)
        again = refit.trials(best, opened)
        datasets = {**self.datasets, dataset_key(opened.ref): opened}
        return replace(self, trials=(*self.trials, *again), refitted=again, datasets=datasets)

    def sweeping(self, reached: Mapping[str, Reached]) -> str:
        """Returns how far the sweeps are, in a line; empty where nothing is tuned."""
        if not self.sweeps:
            return ""
        found = [sweep.steps(reached) for sweep in self.sweeps]
        more = sum(
            (sweep.tune.most - len(steps)) * len(sweep.trials(steps[0]))
            for sweep, (steps, state) in zip(self.sweeps, found, strict=True)
            if state == "going on"
        )
        counts = {state: sum(own == state for _, own in found) for state in STATES}
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        ahead = f"; up to {more:,} trials more where the best value lies at an end" if more else ""
        return f"{len(found):,} sweep{'s' * (len(found) > 1)}: {words}{ahead}"

    def refitting(self, reached: Mapping[str, Reached]) -> str:
        """Returns how far the refit is, in a line; empty where the study has none."""
        candidates = self.trials[: len(self.trials) - len(self.refitted)]
        return self.refit.said(candidates, reached) if self.refit else ""


def meant(study: Study, expansion: Expansion) -> Expansion:
    """Returns the trials that a study lists, in that order; all that its space gives where it lists none.

    Args:
        study: The study.
        expansion: What its space gives.

    Raises:
        StudyError: It lists one that its space does not give.
    """
    if study.trials is None:
        return expansion
    there = {trial.id: trial for trial in expansion.trials}
    lost = [name for name in study.trials if name not in there]
    if lost:
        more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
        changed = "the file, its data or a component changed since they were listed"
        if study.command is not None and study.command.name == study.name:
            changed = (
                "the file or its command changed since they were listed, or its name, which is in the ids "
                "unless [command] has a name"
            )
        raise StudyError(
            f"{study.source}: trials: its space does not give {lost[0]!r}{more}: {changed}; choose them again"
        )
    trials = tuple(there[name] for name in study.trials)
    used = {dataset_key(trial.dataset) for trial in trials}
    datasets = {key: opened for key, opened in expansion.datasets.items() if key in used}
    return replace(expansion, trials=trials, datasets=datasets, skipped=(), merged=0)


def grown_from(expansion: Expansion, reached: ReachedFunction | None) -> Expansion:
    """Returns an expansion as far as its sweeps and its refit got.

    Args:
        expansion: At its beginning.
        reached: Returns what finished trials reached; without it nothing grows.
    """
    while reached is not None and expansion.grows:
        larger = expansion.grown(reached([trial.id for trial in expansion.trials]))
        if larger is expansion:
            break
        expansion = larger
    return expansion
